"use strict";
// Keep a page in step with the gate. All words are in the page already; this only shows, hides and fetches.
(function () {
  const SILENT_MS = 15000; // the console repeats itself every 5 s; three misses are a dead console
  const AGAIN_MS = 5000;
  const view = document.body.className;
  let source = null;
  let heard = Date.now();

  function showPanel(state) {
    const panels = Array.from(document.querySelectorAll(".panel"));
    const known = panels.some((panel) => panel.dataset.state === state);
    const wanted = known ? state : "staff"; // a state this page does not know: the way that always works
    for (const panel of panels) {
      panel.hidden = panel.dataset.state !== wanted;
    }
  }

  async function refresh() {
    try {
      const answer = await fetch("/part" + location.search, { cache: "no-store" });
      if (answer.ok) {
        document.getElementById("live").innerHTML = await answer.text(); // written and escaped by our own console
      }
    } catch (error) {
      console.warn("the console does not answer", error); // the silence below tells it to people
    }
  }

  function onStatus(event) {
    heard = Date.now();
    document.body.classList.remove("lost");
    if (view === "screen") {
      showPanel(JSON.parse(event.data).state);
    } else {
      refresh();
    }
  }

  function connect() {
    if (source) {
      source.close();
    }
    source = new EventSource(document.body.dataset.events);
    source.addEventListener("status", onStatus);
  }

  function watch() {
    if (Date.now() - heard > SILENT_MS) {
      document.body.classList.add("lost");
      if (view === "screen") {
        showPanel("staff");
      }
      connect();
    } else if (source.readyState === EventSource.CLOSED) {
      connect();
    }
  }

  connect();
  setInterval(watch, AGAIN_MS);
})();
