#!/usr/bin/env python3
"""Make a virtual environment that holds this checkout and what it stands on; run again, do only what is missing.

    python3 scripts/bootstrap.py .venv --extras test,check

Standard library only, and it starts on any Python since 3.6, so that an old one is told so in a sentence. Debian's
python3 has no `ensurepip` unless python3-venv is installed: then pip itself comes from the package index, checked by
its SHA-256. The checkout is installed editable: changed code needs no second run, a changed setup.cfg does and gets it.
"""

import argparse
import configparser
import hashlib
import importlib.util
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
NEEDED = (3, 11)
PIP_WHEEL = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"  # as pypi.org states it, 2026-11-22
PYPI = "https://pypi.org/simple"
STAMP = "sentinel-bootstrap.json"
TRIES = 3


class Failed(Exception):
    """The environment cannot be made; the message says what and, after a semicolon, what to try next."""


def main() -> int:
    """Make or complete the environment; 0 when it is ready, 69 when something it needs is out of reach."""
    parser = argparse.ArgumentParser(description="Make a virtual environment for this checkout.")
    parser.add_argument("venv", type=Path, help="its folder, made when missing")
    parser.add_argument("--extras", default="", help="comma-separated extras of setup.cfg, such as test,check")
    parser.add_argument("--index-pip", action="store_true", help="take pip from the index in any case")
    args = parser.parse_args()
    if sys.version_info < NEEDED:
        have, need = ".".join(map(str, sys.version_info[:3])), ".".join(map(str, NEEDED))
        say(f"this is Python {have} and sentinel needs {need} or newer; run it as: python{need} {sys.argv[0]}")
        return 69
    try:
        prepare(args.venv.absolute(), {extra for extra in args.extras.split(",") if extra}, args.index_pip)
    except Failed as error:
        say(str(error))
        return 69
    return 0


def prepare(venv: Path, extras: set, index_pip: bool) -> None:
    """Bring the environment to the state that setup.cfg asks for."""
    done = read_stamp(venv)
    every = sorted(extras | set(done.get("extras", ())))
    wanted = {"inputs": inputs(), "extras": every}
    if done == wanted and python_of(venv).exists():
        return
    make_venv(venv, index_pip)
    install(venv, every)
    (venv / STAMP).write_text(json.dumps(wanted), encoding="utf-8")
    say(f"ready: {venv}")


def inputs() -> str:
    """Return a digest of all that the installation depends on: what setup.cfg asks, where it is, this Python."""
    digest = hashlib.sha256(repr((sys.version, str(HERE))).encode())
    for name in ("setup.cfg", "pyproject.toml"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def read_stamp(venv: Path) -> dict:
    """Return what the last complete run left; nothing after an incomplete one."""
    try:
        return json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def python_of(venv: Path) -> Path:
    """Return the environment's interpreter."""
    return venv / "bin" / "python"


def make_venv(venv: Path, index_pip: bool) -> None:
    """Make the environment and give it a pip; one that works already is kept."""
    (venv / STAMP).unlink(missing_ok=True)
    if works(venv, "import pip"):
        return
    from_index = index_pip or importlib.util.find_spec("ensurepip") is None
    if importlib.util.find_spec("venv") is None:
        raise Failed("this Python has no venv module; on Debian: apt-get install python3 python3-venv")
    say(f"making {venv} for Python {sys.version.split()[0]}")
    if venv.is_dir() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise Failed(f"{venv} holds other files; name a folder that is empty or not there yet")
    options = ["--clear", "--without-pip"] if from_index else ["--clear"]
    run_quietly([sys.executable, "-m", "venv", *options, str(venv)], "is the disk full?")
    if from_index:
        install_pip(venv)


def works(venv: Path, statement: str) -> bool:
    """Tell whether the environment's interpreter runs this statement."""
    if not python_of(venv).exists():
        return False
    command = [str(python_of(venv)), "-c", statement]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def install_pip(venv: Path) -> None:
    """Fetch pip's wheel from the index, check it, and let it install itself."""
    index = setting_of_pip("index-url", PYPI)
    say(f"this Python brings no pip: fetching {PIP_WHEEL} from {index}")
    wheel = fetch(wheel_address(index))
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        raise Failed(f"{PIP_WHEEL} from {index} has the wrong SHA-256; try another index with PIP_INDEX_URL")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PIP_WHEEL
        path.write_bytes(wheel)
        command = [str(python_of(venv)), str(path / "pip"), "install", "--quiet", "--no-index", "--no-deps", str(path)]
        run_quietly(command, "is the disk full?")


def wheel_address(index: str) -> str:
    """Return where this index keeps pip's wheel."""
    page = index.rstrip("/") + "/pip/"
    text = fetch(page, "application/vnd.pypi.simple.v1+json, text/html;q=0.5").decode("utf-8", "replace")
    address = wheel_in(text, page)
    if not address:
        advice = "set PIP_INDEX_URL to an index that has it, or: apt-get install python3-venv"
        raise Failed(f"{page} has no {PIP_WHEEL}; {advice}")
    return address


def wheel_in(text: str, page: str) -> str:
    """Return the wheel's address in an index page, be it JSON or, as most mirrors answer, HTML; "" when not there."""
    found = re.findall(rf"""["']([^"']*{re.escape(PIP_WHEEL)})(?:#[^"']*)?["']""", text)
    # JSON names the file once more without its address: the longer one is the address.
    return urllib.parse.urljoin(page, max(found, key=len)) if found else ""


def fetch(address: str, accept: str = "*/*") -> bytes:
    """Return what is at this address."""
    context = ssl.create_default_context(cafile=setting_of_pip("cert", "") or None)
    request = urllib.request.Request(address, headers={"Accept": accept, "User-Agent": "sentinel-bootstrap"})
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.read()
        except (urllib.error.URLError, OSError) as error:
            if not left:
                advice = "check the network, or set PIP_INDEX_URL or HTTPS_PROXY"
                raise Failed(f"{address} cannot be fetched ({error}); {advice}") from error
            say(f"{error}; trying again")
    raise AssertionError("unreachable: the last try returns or raises")


def setting_of_pip(name: str, default: str) -> str:
    """Return a setting that pip would obey: of the environment, else of the user's file, else of the system's."""
    from_environment = os.environ.get("PIP_" + name.upper().replace("-", "_"))
    if from_environment:
        return from_environment
    home = Path.home()
    user = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user]
    parser = configparser.RawConfigParser()
    parser.read([*files, os.environ.get("PIP_CONFIG_FILE", "")], encoding="utf-8")
    return parser.get("global", name, fallback=default)


def install(venv: Path, extras: list) -> None:
    """Install the checkout, editable, with its extras."""
    what = str(HERE) + (f"[{','.join(extras)}]" if extras else "")
    say(f"installing {what}; the first time this fetches about 150 MB")
    command = [
        str(python_of(venv)),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--progress-bar",
        "off",
        "--disable-pip-version-check",
        "--editable",
        what,
    ]
    said = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace") as pip:
        for line in pip.stdout or ():
            said.append(line)
            tell(line.strip())
    if pip.returncode:
        sys.stderr.writelines(said[-15:])
        raise Failed("pip could not install it, see above; check the network, or set PIP_INDEX_URL to a mirror")


def tell(line: str) -> None:
    """Say those of pip's lines that show it moving."""
    download = re.match(r"Downloading ([A-Za-z0-9_.]+)-(\S+?)-\S+\.whl.* \((.* MB)\)", line)
    if download:
        say("  {} {}, {}".format(*download.groups()))
    elif line.startswith("Installing collected packages"):
        say(f"  unpacking {line.count(',') + 1} packages")


def run_quietly(command: list, advice: str) -> None:
    """Run a command that only speaks when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise Failed(f"{' '.join(command[:4])} failed; {advice}")


def say(line: str) -> None:
    """Tell the person who waits."""
    print(f"bootstrap: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
