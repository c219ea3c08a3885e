"""Join card, code, face and temperature readings of ONE person into an attempt.

The rule, in the order in which it is applied:

1. *Somebody stands here* as long as vision sees one face: the same track, and never two known people on it. Nobody in
   view, another track, or another known person on the track is a **change of person**; so is a card other than the
   one already shown. What was read on one side of a change is never joined with what was read on the other.
2. A card opens an attempt in every profile; a usable face opens one where faces count. Faces and temperatures of the
   person who stands here, not older than the window, belong to the attempt even when they came before the card. With no
   face in view nothing proves who stood here, so only temperatures taken after the card count.
3. A card waits for its holder. When the person changes while a card's attempt is open, the card stays with the
   readings of its own side, and the newcomer's are left alone, with two exceptions in which the person is proven not to
   have changed: a frame that *is* the card holder's face takes the card over to its side, and a track that returns
   within BLINK_S keeps it. Temperatures are never taken over. (A card shown to an empty camera waits for the first
   face.)
4. An attempt without a card ends without a trace when its face leaves: somebody walked by.
5. Another card closes the open attempt as it is and begins the next.
6. Who was decided on is not decided on again while in view, nor within `repeat_s`, unless a card or a pass is shown.
7. A pass is like a card whose holder has no face, and beside a card it changes nothing; what is no pass is like a card
   that cannot be read. A code that stays before the scanner is one showing, until it was away for `repeat_s`.
8. Who is doubtful when vision has settled is handed to staff at once; more frames would not tell more.
9. Where a face opens it must show life, and near the limit several temperatures must agree; or the window ends.

What it cannot see: two people who change places between two frames of the camera, or with no camera at all.
Vision that died must be told as `see_nobody`, since its track numbers begin again.
"""

import math
from collections import deque

from drivers.readings import CardReading
from recognition.readings import FaceReading
from sentinel.core.liveness import UNASKED, Finding, Rule, Signs
from sentinel.core.measures import Measures
from sentinel.core.model import Attempt, PassProblem, Person, Profile, ShownPass, SkinTemperature
from sentinel.core.policy import is_answered, is_face_of, leaves_holder_doubtful
from sentinel.core.presence import Look, Opened, Presence, is_another, worth

BLINK_S = 0.5  # detectors lose a turning head for a few of their ten frames a second; nobody swaps places so fast
_CLOSED_KEPT = 8  # `due` is asked after every reading, so one waits; the oldest is dropped, and nobody passes by it


class Fuser:
    """Gather readings and give attempts. Not thread-safe: one thread decides. See the module for the rule."""

    def __init__(
        self,
        profile: Profile,
        temperature: bool,
        window_s: float = 4.0,
        repeat_s: float = 5.0,
        *,
        limit_celsius: float | None = None,
        margin_celsius: float = 0.0,
        liveness: Rule = UNASKED,
        card_photo: bool = False,
    ) -> None:
        self._profile = profile
        self._card_photo = card_photo  # whether vision can compare with the photograph of a card
        self._temperature = temperature
        self._window_s = window_s
        self._repeat_s = repeat_s
        self._measures = Measures(fresh_s=window_s, limit_celsius=limit_celsius, margin_celsius=margin_celsius)
        self._signs = Signs(liveness)
        self._here = Presence(since_mono=-math.inf)
        self._gone: Presence | None = None  # the face that was here last, while nobody is in view
        self._open: Opened | None = None
        self._closed: deque[Attempt] = deque(maxlen=_CLOSED_KEPT)
        self._decided_at: dict[int | str, float] = {}  # by track and by person
        self._codes: dict[str, float] = {}  # when each code was last before the scanner, by its mark

    def see_card(self, card: CardReading, holder: Person | None, now: float) -> None:
        """Take a card that was read, with the roster's person for its number."""
        shown = (card.kind, card.number)
        before, self._open = self._open, None
        if before is not None and before.card is not None:
            if (before.card.kind, before.card.number) != shown:
                self._close(before, now)
            elif before.presence is self._here:
                self._open = before  # the same card once more
                return
        another = self._here.card not in (None, shown)
        if self._here.decided or another:
            self._begin_side(now, another=another)
        self._here.card = shown
        opened = Opened(started_mono=now, asked_mono=now, presence=self._here, card=card, holder=holder)
        if before is not None and before.card is None:
            if before.presence is self._here:
                opened.started_mono = before.started_mono
                opened.shown = before.shown if before.has_pass else None
            elif before.has_pass:
                self._close(before, now)  # somebody else's, who waits for an answer
        self._open = opened

    def see_card_trouble(self, now: float) -> None:
        """Take notice that a card lies on the reader and cannot be read."""
        self._open_for_trouble(now).trouble = True

    def see_pass(self, shown: ShownPass, now: float) -> None:
        """Take a code that was shown, whatever it turned out to be."""
        another = shown.readable and self._here.code not in (None, shown.mark)
        if self._lies_there(shown.mark, now):
            if another:  # two codes by turns: nobody can say whose temperature comes next
                self._begin_side(now, another=True)
            if shown.readable:
                self._here.code = shown.mark
            return
        if not shown.readable:
            trouble = self._open_for_trouble(now)
            trouble.shown = trouble.shown or shown
            return
        before = self._open
        if before is not None and before.card is not None and before.presence is self._here and not another:
            before.shown, self._here.code = shown, shown.mark
            return
        if before is not None and (before.card is not None or before.has_pass):
            self._close(before, now)
        if self._here.decided or another:
            self._begin_side(now, another=another)
        self._here.code = shown.mark
        self._open = Opened(started_mono=now, asked_mono=now, presence=self._here, shown=shown)
        if before is not None and before.presence is self._here:
            self._open.started_mono = before.started_mono

    def see_face(self, face: FaceReading, person: Person | None, now: float) -> None:
        """Take a face in view, with the roster's person when it was identified."""
        if face.at_mono < self._here.since_mono:
            return  # seen before the last change of person: whoever stands here now, this look says nothing of them
        if self._here.track is None:
            self._appear(face)
        elif is_another(face, self._here):
            self._change_to(face)
        here = self._here
        if face.identified is not None:
            here.known_as = face.identified.person
        here.looks.append(Look(face=face, person=person))
        opened = self._open
        if opened is None:
            if self._may_open(face, now):
                self._open = Opened(started_mono=now, asked_mono=now, presence=here)
        elif opened.presence is not here and self._proves_holder(opened, face):
            opened.presence = here

    def see_nobody(self, now: float) -> None:
        """Take notice that no face is in view, or that vision has died."""
        if self._here.track is None:
            return
        self._here.until_mono = now
        self._gone = self._here
        self._here = Presence(since_mono=now)

    def see_temperature(self, temperature: SkinTemperature, now: float) -> None:
        """Take what the thermal module measured, or why it did not."""
        self._measures.take(temperature)

    def see_life(self, findings: list[Finding]) -> None:
        """Take what layers of liveness say of the face in view."""
        self._signs.take(findings)

    def claim(self, now: float) -> str | None:
        """Return the token of the person vision should look for: the card's holder while a face is awaited."""
        return self._open.holder.token if self._open and self._open.holder and self._awaits_face(self._open) else None

    def claimed_photo(self) -> bytes:
        """Return the photograph of the card whose holder is claimed, where it is all there is to compare with."""
        return self._photo_of(self._open) if self._open else b""

    def due(self, now: float) -> Attempt | None:
        """Return one attempt that is complete or has waited long enough, and forget it."""
        if not self._closed and self._open is not None:
            opened = self._open
            if self._has_left(opened):
                if now - opened.presence.until_mono > BLINK_S:
                    self._open = None
            elif self._is_complete(opened, now) or now >= opened.asked_mono + self._window_s:
                self._open = None
                self._close(opened, now)
        return self._closed.popleft() if self._closed else None

    def deadline(self, now: float) -> float | None:
        """Return when `due` should be asked again if nothing more is seen, or None when only a reading can help."""
        if self._closed:
            return now
        opened = self._open
        if opened is None or self._has_left(opened):
            return None
        return now if self._is_complete(opened, now) else opened.asked_mono + self._window_s

    # Who stands here

    def _appear(self, face: FaceReading) -> None:
        """Let the first face stand where nobody was in view."""
        gone, self._gone = self._gone, None
        opened = self._open
        here = self._here
        if gone is not None and not is_another(face, gone) and 0 <= face.at_mono - gone.until_mono <= BLINK_S:
            self._here = Presence(
                since_mono=face.at_mono,
                track=face.track,
                known_as=gone.known_as,
                card=here.card or gone.card,
                code=here.code or gone.code,
                decided=here.decided or gone.decided,
            )
            if opened is not None and opened.presence in (gone, here):
                opened.presence = self._here
            return
        if opened is not None and opened.presence is here:  # a card was shown to the empty camera
            here.track, here.since_mono = face.track, face.at_mono
            return
        self._change_to(face)
        self._here.card = here.card  # perhaps this person's, already decided on: another card is another person
        self._here.code = here.code

    def _begin_side(self, now: float, *, another: bool) -> None:
        """Join nothing read so far with what is shown next, by another person or by one who was decided on."""
        here = self._here
        here.until_mono = now
        since = max(now, here.since_mono)  # what a decision used up stays used up
        self._here = Presence(since_mono=since, track=here.track, known_as=here.known_as)
        if not another:
            self._here.card, self._here.code = here.card, here.code

    def _change_to(self, face: FaceReading) -> None:
        """Let another person stand here. An attempt without a card ends: its face has left."""
        self._here.until_mono = min(self._here.until_mono, face.at_mono)
        self._here = Presence(since_mono=face.at_mono, track=face.track)
        if self._open is not None and not self._open.shown_something:
            self._open = None

    def _has_left(self, opened: Opened) -> bool:
        return not opened.shown_something and opened.presence is not self._here

    # When to ask for a decision

    def _open_for_trouble(self, now: float) -> Opened:
        """Return the attempt that an unreadable card or code belongs to."""
        if self._open is None or self._has_left(self._open):
            # Who was decided on already is not let in once more by it: such an attempt has nobody's readings.
            presence = Presence(since_mono=now, until_mono=now) if self._here.decided else self._here
            self._open = Opened(started_mono=now, asked_mono=now, presence=presence)
        return self._open

    def _lies_there(self, mark: str, now: float) -> bool:
        """Tell whether this code was before the scanner all the time, and note that it is there now."""
        self._codes = {code: at for code, at in self._codes.items() if now - at < self._repeat_s}
        open_with = self._open is not None and self._open.shown is not None and self._open.shown.mark == mark
        lies_there = mark in self._codes or open_with
        self._codes[mark] = now
        return lies_there

    def _may_open(self, face: FaceReading, now: float) -> bool:
        if self._profile is Profile.CARD or face.problem is not None or self._here.decided:
            return False
        names = (face.track, None if face.identified is None else face.identified.person)
        return not any(
            name is not None and name in self._decided_at and now - self._decided_at[name] < self._repeat_s
            for name in names
        )

    def _awaits_face(self, opened: Opened) -> bool:
        # A holder without a template would wait for nothing.
        return (
            opened.card is not None
            and opened.holder is not None
            and (opened.holder.has_face or self._photo_of(opened) != b"")
            and self._profile is not Profile.CARD
        )

    def _photo_of(self, opened: Opened) -> bytes:
        if not self._card_photo or self._profile is not Profile.CARD_AND_FACE:
            return b""
        without = opened.card is not None and opened.holder is not None and not opened.holder.has_face
        return opened.card.photo if without and opened.card is not None else b""

    def _proves_holder(self, opened: Opened, face: FaceReading | None) -> bool:
        return (
            face is not None
            and opened.holder is not None
            and self._awaits_face(opened)
            and is_face_of(face, opened.holder)
        )

    def _is_complete(self, opened: Opened, now: float) -> bool:
        look = self._best_look(opened)
        if opened.card is not None:
            if opened.holder is None:
                return True  # whatever else is seen, staff must look: no reason to keep the person waiting
            face = look.face if look else None
            if self._awaits_face(opened) and not (self._proves_holder(opened, face) or leaves_holder_doubtful(face)):
                return False
        elif opened.shown is not None and opened.has_pass:
            if isinstance(opened.shown.read, PassProblem):
                return True  # forged or a stranger's: staff must look
        elif self._profile is not Profile.FACE or look is None or not is_answered(look.face, look.person):
            return False
        opens_without_face = self._profile is not Profile.CARD_AND_FACE and (opened.card is not None or opened.has_pass)
        if not (opens_without_face or self._signs.settled(*self._recognised(opened))):
            return False
        return not self._temperature or self._measures.settled(*self._stretch(opened), now) is not None

    # What belongs to the attempt

    def _best_look(self, opened: Opened) -> Look | None:
        if self._profile is Profile.CARD:
            return None
        oldest = opened.asked_mono - self._window_s
        fresh = [look for look in opened.presence.looks if look.face.at_mono >= oldest]
        return max(fresh, key=lambda look: worth(look, opened.holder), default=None)

    def _stretch(self, opened: Opened) -> tuple[float, float]:
        """Return from when on and before when a temperature is this person's."""
        side = opened.presence
        oldest = opened.asked_mono - (self._window_s if side.track is not None else 0.0)
        return max(side.since_mono, oldest), side.until_mono

    def _recognised(self, opened: Opened) -> tuple[float, float]:
        """Return when a sign of life is this face's. One's own, before one lifts a picture, must not lend it life."""
        since, until = self._stretch(opened)
        worths = [(worth(look, opened.holder)[:2], -look.face.at_mono) for look in opened.presence.looks]
        return max(since, -max(worths)[1]) if worths else since, until

    def _close(self, opened: Opened, now: float) -> None:
        look = self._best_look(opened)
        attempt = Attempt(
            started_mono=opened.started_mono,
            closed_mono=now,
            card=opened.card,
            card_trouble=opened.trouble and opened.card is None,
            holder=opened.holder,
            shown=opened.shown,
            face=look.face if look else None,
            face_person=look.person if look else None,
            temperature=self._measures.best(*self._stretch(opened), now) if self._temperature else None,
            liveness=self._signs.weighed(*self._recognised(opened)) if look else None,
        )
        self._closed.append(attempt)
        self._remember(attempt, opened.presence, now)

    def _remember(self, attempt: Attempt, side: Presence, now: float) -> None:
        """Note who was decided on, and use nothing of theirs twice."""
        side.decided = True
        side.since_mono = math.nextafter(now, math.inf)
        side.looks.clear()
        self._decided_at = {name: at for name, at in self._decided_at.items() if now - at < self._repeat_s}
        holder, face = attempt.holder, attempt.face
        if attempt.shown is not None:
            self._codes[attempt.shown.mark] = now
        if side.track is not None:
            self._decided_at[side.track] = now
        if attempt.face_person is not None:
            self._decided_at[attempt.face_person.token] = now
        if holder is not None and (face is None or is_face_of(face, holder)):
            self._decided_at[holder.token] = now
