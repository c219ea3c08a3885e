import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from recognition import graphs
from recognition.embed import SFace
from recognition.errors import ModelDamaged, ModelMissing
from recognition.models import Role
from recognition.prepare import RECIPE, accept, ensure_prepared, prepared_path
from recognition.runtime import open_session
from recognition.testcard import cosine

pytestmark = pytest.mark.models

SCRIPT = """
import sys
from pathlib import Path
from recognition.models import load_manifest
from recognition.prepare import ensure_prepared
print("ready", flush=True)
sys.stdin.readline()
ensure_prepared(load_manifest().pack("opencv-zoo").embedder, Path(sys.argv[1]))
"""


@pytest.fixture
def sources(models_dir, pack, tmp_path):
    """The files as published, nothing prepared."""
    for file in pack.files:
        shutil.copy(models_dir / file.file, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def plain(models_dir, pack):
    return {file.role: graphs.plain_form(graphs.read_model(models_dir / file.file)) for file in pack.files}


def test_a_model_is_prepared_once(sources, pack):
    path = ensure_prepared(pack.detector, sources)
    assert path.name == f"yunet-2023mar-49f000ec501f-{RECIPE}.onnx"
    first = path.stat()
    assert ensure_prepared(pack.detector, sources).stat().st_mtime_ns == first.st_mtime_ns
    assert [entry.name for entry in path.parent.iterdir()] == [path.name], "no half file is left"


def test_a_prepared_model_needs_neither_source_nor_onnx(prepared_dir, pack, tmp_path):
    (tmp_path / "prepared").mkdir()
    for file in pack.files:
        shutil.copy(prepared_path(file, prepared_dir), tmp_path / "prepared")
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "from pathlib import Path; from recognition.pipeline import Pipeline\n"
        "print(Pipeline.open(Path(sys.argv[1])).model)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sface-2021dec-")


def test_a_source_that_is_missing_or_damaged_is_never_prepared(sources, pack):
    (sources / pack.detector.file).write_bytes(b"rotten")
    (sources / pack.embedder.file).unlink()
    with pytest.raises(ModelDamaged):
        ensure_prepared(pack.detector, sources)
    with pytest.raises(ModelMissing):
        ensure_prepared(pack.embedder, sources)
    assert not (sources / "prepared").exists()


def test_two_processes_that_prepare_at_once_leave_one_whole_file(sources, pack):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(sources)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=50)
        assert worker.returncode == 0
    path = prepared_path(pack.embedder, sources)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert SFace(pack.embedder, path).model


@pytest.mark.parametrize("role", [Role.DETECTOR, Role.EMBEDDER])
def test_a_rewrite_that_changes_a_number_is_not_accepted(role, plain):
    good = graphs.fast_detector(plain[role]) if role is Role.DETECTOR else graphs.fast_embedder(plain[role])[0]
    accept(plain[role], good, role)
    weights = max(good.graph.initializer, key=lambda entry: len(entry.dims) * 10**9 + len(entry.raw_data))
    spoilt = onnx.numpy_helper.to_array(weights).copy()
    spoilt[0] *= 1.5
    weights.CopyFrom(onnx.numpy_helper.from_array(spoilt, weights.name))
    with pytest.raises(ModelDamaged, match="differs from its source"):
        accept(plain[role], good, role)


def test_a_slope_too_near_to_one_keeps_its_exact_activation(plain):
    """The division by 1 - slope would lose digits there."""
    changed = onnx.ModelProto()
    changed.CopyFrom(plain[Role.EMBEDDER])
    slopes = next(entry for entry in changed.graph.initializer if entry.name == "conv_3_relu_gamma")
    near = onnx.numpy_helper.to_array(slopes).copy()
    near[5] = 1.0
    slopes.CopyFrom(onnx.numpy_helper.from_array(near, slopes.name))
    fast, _, _ = graphs.fast_embedder(changed)
    assert sum(node.op_type == "PRelu" for node in fast.graph.node) == 1
    accept(changed, fast, Role.EMBEDDER)


def test_fast_and_plain_agree_on_real_faces(plain, opened, scene):
    """The guard uses drawn faces; here are people."""
    from recognition.align import crop_face
    from recognition.embed import pack_rgb

    slow = open_session(plain[Role.EMBEDDER].SerializeToString())
    for name in ("person_a_1", "person_b_1", "impostor_2"):
        frame = scene(name)
        (face,) = opened.detector.detect(frame)
        crop = crop_face(frame, face.landmarks)
        (expected,) = slow.run(None, {"data": pack_rgb(crop) * 128 + np.float32(127.5)})
        assert cosine(opened.embedder.embed(crop), expected) >= 0.99999


def test_a_network_we_do_not_know_is_refused(plain):
    with pytest.raises(ModelDamaged, match="not the network we know"):
        graphs.fast_embedder(plain[Role.DETECTOR])


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_prepared_file_cut_short_is_refused_at_load(share, prepared_dir, pack, tmp_path):
    data = prepared_path(pack.embedder, prepared_dir).read_bytes()
    (tmp_path / "short.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelDamaged):
        SFace(pack.embedder, tmp_path / "short.onnx")


def test_a_prepared_file_whose_weights_rot_is_refused_at_load(prepared_dir, pack, tmp_path):
    data = bytearray(prepared_path(pack.embedder, prepared_dir).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1_000_000] = bytes(1_000_000)
    (tmp_path / "rotten.onnx").write_bytes(data)
    with pytest.raises(ModelDamaged, match="known vectors"):
        SFace(pack.embedder, tmp_path / "rotten.onnx")
