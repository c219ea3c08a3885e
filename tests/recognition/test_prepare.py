import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest

from recognition import forms, graphs, ncnn_form
from recognition.align import crop_face
from recognition.choice import keep_choice, read_choice, this_device
from recognition.embed import SFace, pack_rgb
from recognition.errors import ModelDamaged, ModelMissing
from recognition.forms import Form
from recognition.models import Packing, Role
from recognition.prepare import (
    ONNX,
    RECIPE,
    accept_detector,
    accept_embedder,
    choice_path,
    choose,
    embedder_forms,
    ensure_prepared,
    prepared_path,
)
from recognition.runtime import open_network, open_session
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
    # Without the note of who chose it, or with another device's: it is right, only perhaps not the fastest.
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
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, choice_path(pack.embedder, sources).name}
    assert SFace(pack.embedder, path).model


def spoilt(data):
    """A copy whose largest convolution answers a little more in its first channel."""
    copy = onnx.load_from_string(data)
    weights = max(copy.graph.initializer, key=lambda entry: len(entry.dims) * 10**9 + len(entry.raw_data))
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0] *= 1.5
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    return copy


def test_a_detector_rewrite_that_changes_a_number_is_not_accepted(plain):
    good = graphs.fast_detector(plain[Role.DETECTOR])
    accept_detector(plain[Role.DETECTOR], good)
    with pytest.raises(ModelDamaged, match="differs from its source"):
        accept_detector(plain[Role.DETECTOR], spoilt(good.SerializeToString()))


@pytest.fixture(scope="module")
def written(plain, pack):
    return embedder_forms(plain[Role.EMBEDDER], pack.embedder)


def test_every_form_of_the_embedder_gives_the_plain_numbers(plain, pack, written):
    accepted = accept_embedder(plain[Role.EMBEDDER], written, pack.embedder.packing)
    assert {Form.SUM, Form.BLOCKS, Form.PAIR, Form.PRELU} <= set(accepted)
    assert (Form.NCNN in accepted) == (ncnn_form.version() is not None)
    assert all(accepted[form].cosine > 0.9999999 for form in (Form.SUM, Form.PAIR, Form.PRELU))
    assert accepted[Form.BLOCKS].cosine > 0.99999


def test_a_form_that_changes_a_number_is_left_out_and_without_any_other_nothing_is_kept(plain, pack, written):
    source, packing = plain[Role.EMBEDDER], pack.embedder.packing
    both = {Form.SUM: {ONNX: spoilt(written[Form.SUM][ONNX]).SerializeToString()}, Form.PRELU: written[Form.PRELU]}
    assert set(accept_embedder(source, both, packing)) == {Form.PRELU}
    with pytest.raises(ModelDamaged, match="no prepared form"):
        accept_embedder(source, {Form.SUM: both[Form.SUM]}, packing)


def test_a_picture_packed_otherwise_than_the_source_wants_it_fits_no_form(plain, written):
    with pytest.raises(ModelDamaged, match="no prepared form"):
        accept_embedder(plain[Role.EMBEDDER], {Form.SUM: written[Form.SUM]}, Packing(mean=0, scale=1, inside=True))


def test_the_form_that_the_device_runs_fastest_is_kept(plain, pack, written):
    few = {form: written[form] for form in (Form.SUM, Form.PRELU)}
    accepted = accept_embedder(plain[Role.EMBEDDER], few, pack.embedder.packing)
    for first, second in ((Form.SUM, Form.PRELU), (Form.PRELU, Form.SUM)):
        choice, files = choose(accepted, this_device(), measure=lambda runs, f=first, s=second: {f: 1.0, s: 2.0})
        assert choice.form is first
        assert files == accepted[first].files


def test_a_choice_is_made_again_for_another_device(sources, pack):
    path = ensure_prepared(pack.embedder, sources)
    note = choice_path(pack.embedder, sources)
    held = read_choice(note)
    assert held.device == this_device()
    elsewhere = replace(held, device=replace(held.device, cpu="another"))
    keep_choice(elsewhere, note)
    assert ensure_prepared(pack.embedder, sources) == path
    assert read_choice(note).device == this_device()


def test_what_another_device_chose_is_used_where_nothing_can_be_prepared(sources, pack):
    path = ensure_prepared(pack.embedder, sources)
    note = choice_path(pack.embedder, sources)
    keep_choice(replace(read_choice(note), device=replace(this_device(), runtime="onnxruntime 0")), note)
    before = path.read_bytes()
    (sources / pack.embedder.file).unlink()
    assert ensure_prepared(pack.embedder, sources) == path
    assert path.read_bytes() == before


def test_where_ncnn_is_fastest_onnxruntime_can_go_on_without_it(plain, pack, written):
    accepted = accept_embedder(plain[Role.EMBEDDER], {Form.SUM: written[Form.SUM]}, pack.embedder.packing)
    second = replace(accepted[Form.SUM], files=ncnn_form.write_ncnn(forms.read_chain(plain[Role.EMBEDDER])))
    both = {**accepted, Form.NCNN: second}
    choice, files = choose(both, this_device(), measure=lambda runs: {Form.NCNN: 1.0, Form.SUM: 2.0})
    assert choice.form is Form.NCNN
    assert set(files) == {ONNX, ".param", ".bin"}
    _, files = choose(both, this_device(), measure=lambda runs: {Form.SUM: 1.0, Form.NCNN: 2.0})
    assert set(files) == {ONNX}


def test_what_is_written_for_ncnn_holds_each_weight_once(plain):
    """The layout is ncnn's; that it computes the same is asked of ncnn itself wherever it is installed."""
    chain = forms.read_chain(plain[Role.EMBEDDER])
    files = ncnn_form.write_ncnn(chain)
    magic, counts, *layers = files[".param"].decode().splitlines()
    assert (magic, counts) == ("7767517", f"{len(layers)} {len(layers)}")
    assert [line.split()[0] for line in (layers[0], layers[-1])] == ["Input", "InnerProduct"]
    numbers = sum(layer.weight.size + layer.bias.size + layer.slope.size for layer in chain.layers)
    flags = len(chain.layers) + 1
    assert len(files[".bin"]) == 4 * (numbers + chain.matrix.size + chain.bias.size + flags)


@pytest.mark.parametrize("name", ["absent.param", "empty.param"])
def test_a_form_for_ncnn_that_cannot_be_run_is_told(name, tmp_path):
    (tmp_path / "empty.param").write_text("")
    with pytest.raises(ModelDamaged, match="ncnn"):
        open_network(tmp_path / name)


def test_a_slope_too_near_to_one_keeps_its_exact_activation(plain, pack):
    """The division by 1 - slope would lose digits there."""
    changed = onnx.ModelProto()
    changed.CopyFrom(plain[Role.EMBEDDER])
    slopes = next(entry for entry in changed.graph.initializer if entry.name == "conv_3_relu_gamma")
    near = onnx.numpy_helper.to_array(slopes).copy()
    near[5] = 1.0
    slopes.CopyFrom(onnx.numpy_helper.from_array(near, slopes.name))
    fast = forms.write_form(forms.read_chain(changed), Form.SUM)
    assert sum(node.op_type == "PRelu" for node in fast.graph.node) == 1
    assert accept_embedder(changed, {Form.SUM: {ONNX: fast.SerializeToString()}}, pack.embedder.packing)


@pytest.mark.parametrize("form", [Form.SUM, Form.BLOCKS, Form.PAIR, Form.PRELU])
def test_every_form_and_plain_agree_on_real_faces(form, plain, written, opened, scene):
    """The guard uses drawn faces; here are people."""
    slow = open_session(plain[Role.EMBEDDER].SerializeToString())
    fast = open_session(written[form][ONNX])
    for name in ("person_a_1", "person_b_1", "impostor_2"):
        frame = scene(name)
        (face,) = opened.detector.detect(frame)
        packed = pack_rgb(crop_face(frame, face.landmarks))
        (expected,) = slow.run(None, {"data": packed * 128 + np.float32(127.5)})
        assert cosine(fast.run(None, {"data": packed})[0], expected) >= 0.99999


def test_a_network_we_do_not_know_is_refused(plain):
    with pytest.raises(ModelDamaged, match="not the network we know"):
        forms.read_chain(plain[Role.DETECTOR])


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
