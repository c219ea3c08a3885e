"""Prepare a model file for this device, once, and keep the result beside it.

A form is accepted only after it gave the same numbers as the plain dequantised one on several pictures; of the accepted
forms of an embedder the fastest on this device is kept (`choice`). The prepared file's name holds the digest of its
source and the version of the recipe, so a new file or a new recipe never meets an old result. It appears by rename: two
processes that prepare at once both write a whole file, and the later one wins; both hold the same numbers.
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recognition import arcface, forms, graphs, ncnn_form
from recognition.choice import Choice, Device, fastest, keep_choice, read_choice, this_device
from recognition.errors import ModelDamaged, RecognitionError
from recognition.forms import Form
from recognition.models import ModelFile, Pack, Packing, Role, check_file, publish
from recognition.runtime import Network, open_network
from recognition.testcard import CARDS, cosine, draw_card

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

RECIPE = 2  # raise it with every change of `graphs`, `forms` or `arcface` that changes what is written
# fp32 rewrites differ by rounding (0.9999999 and more), 8-bit blocks of SFace reach 0.999998. At 0.9999 one wrong
# channel of a thousand would not be noticed.
MIN_COSINE = 0.99999
DETECTOR_PICTURES = ((160, 160), (256, 320))  # rows, columns; multiples of 32, one of them not square

ONNX = ".onnx"
Files = dict[str, bytes]  # a written form by the suffixes of its files
Fastest = Callable[[Mapping[Form, Callable[[], object]]], dict[Form, float]]


def prepared_path(model: ModelFile, models_dir: Path) -> Path:
    """Return where the prepared form of a model file is kept."""
    return models_dir / "prepared" / f"{model.name}-{model.sha256[:12]}-{RECIPE}.onnx"


def choice_path(model: ModelFile, models_dir: Path) -> Path:
    """Return where it is kept which form was chosen, for which device, and what each form took."""
    return prepared_path(model, models_dir).with_suffix(".json")


def ensure_prepared(model: ModelFile, models_dir: Path, *, threads: int = 1, device: Device | None = None) -> Path:
    """Return the prepared form of a model file, making it when it is not there yet or was chosen for another device.

    A prepared file of another device is right, only perhaps not the fastest: it is used where no other can be made.
    Raises: ModelMissing or ModelDamaged when the source file is not what the manifest promises, or when no rewrite
    reproduces it; RecognitionError when the onnx package is needed and missing.
    """
    target = prepared_path(model, models_dir)
    if model.role is Role.DETECTOR:
        if not target.is_file():
            log.info("preparing %s, once", model.name)
            plain = graphs.plain_form(graphs.read_model(check_file(model, models_dir)))
            publish(accept_detector(plain, graphs.fast_detector(plain)), target)
        return target
    device = device or this_device()
    held = read_choice(choice_path(model, models_dir))
    if target.is_file() and held is not None and held.device == device:
        return _path_of(held, target)
    if target.is_file() and not os.access(target.parent, os.W_OK):  # else each start would choose again for nothing
        log.info("%s stays as it was prepared elsewhere: %s cannot be written", model.name, target.parent)
        return target
    try:
        return _path_of(_prepare_embedder(model, models_dir, device, threads), target)
    except RecognitionError as error:
        if not target.is_file():
            raise
        log.warning("%s stays as it was prepared for another processor or runtime: %s", model.name, error)
        return target


def _path_of(choice: Choice, target: Path) -> Path:
    """Return the file of the chosen form; one for ncnn stands beside the best one for onnxruntime."""
    param = target.with_suffix(ncnn_form.PARAM)
    return param if choice.form is Form.NCNN and param.is_file() else target


def _prepare_embedder(model: ModelFile, models_dir: Path, device: Device, threads: int) -> Choice:
    log.info("preparing %s for this device, once", model.name)
    source = graphs.read_model(check_file(model, models_dir))
    plain = graphs.plain_form(source)
    arcface.check_size(source, plain.graph.input[0].name, model)
    exact = accept_embedder(plain, embedder_forms(plain, model), model.packing, threads=threads)
    choice, files = choose(exact, device, threads=threads)
    target = prepared_path(model, models_dir)
    for suffix, data in files.items():
        publish(data, target.with_suffix(suffix))
    keep_choice(choice, choice_path(model, models_dir))
    log.info("%s: form '%s' is the fastest here (%s)", model.name, choice.form, dict(choice.best_ms))
    return choice


def embedder_forms(plain: "onnx.ModelProto", model: ModelFile) -> dict[Form, Files]:
    """Return every form of an embedder that this release can write. Raises: ModelDamaged."""
    try:
        chain = forms.read_chain(plain)
    except ModelDamaged:
        return {form: _files(graph) for form, graph in arcface.rewrite(plain, model).items()}
    arcface.check_packing(chain.mean, chain.factor, model)
    written = {form: _files(forms.write_form(chain, form)) for form in (Form.SUM, Form.BLOCKS, Form.PAIR, Form.PRELU)}
    if ncnn_form.version() is not None:
        written[Form.NCNN] = ncnn_form.write_ncnn(chain)
    return written


def _files(graph: "onnx.ModelProto") -> Files:
    return {ONNX: graph.SerializeToString()}


def _open_form(files: Files, threads: int) -> Network:
    if ONNX in files:
        return open_network(files[ONNX], threads=threads)
    with tempfile.TemporaryDirectory() as folder:
        for suffix, data in files.items():
            (Path(folder) / f"form{suffix}").write_bytes(data)
        return open_network(Path(folder) / f"form{ncnn_form.PARAM}", threads=threads)


def accept_embedder(
    plain: "onnx.ModelProto", written: Mapping[Form, Files], packing: Packing, *, threads: int = 1
) -> dict[Form, "Accepted"]:
    """Return the forms that give the same numbers as the plain one. Raises: ModelDamaged when none does."""
    slow = open_network(plain.SerializeToString())
    raw = [card_planes(packing, variant) for variant in range(CARDS)]
    packed = [(planes - np.float32(packing.mean)) * np.float32(packing.scale) for planes in raw]
    expected = [slow.run(given)[0] for given in (raw if packing.inside else packed)]
    accepted, told = {}, []
    for form, files in written.items():
        try:
            network = _open_form(files, threads)
            worst = min(cosine(left, network.run(right)[0]) for left, right in zip(expected, packed, strict=True))
        except ModelDamaged as error:  # a runtime without that operator; the other forms remain
            log.info("form '%s' cannot be run here: %s", form, error)
            continue
        told.append(f"{form} {worst:.7f}")
        if worst > MIN_COSINE:  # written so that NaN fails
            accepted[form] = Accepted(files, worst, partial(network.run, packed[0]))
    if not accepted.keys() - {Form.NCNN}:  # whatever is chosen, onnxruntime must be able to go on without ncnn
        raise ModelDamaged(
            f"no prepared form gives what its source gives (cosine {', '.join(told)}; required {MIN_COSINE}); "
            "report this with the versions of onnx, numpy and onnxruntime"
        )
    return accepted


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """A form that gives the plain numbers: its files by suffix, how exact it is, and one run of it."""

    files: Files = field(repr=False)
    cosine: float
    run: Callable[[], object]


def choose(
    accepted: Mapping[Form, Accepted], device: Device, *, threads: int = 1, measure: Fastest | None = None
) -> tuple[Choice, Files]:
    """Return the form that is fastest on this device, and what to keep: its files, and the best for onnxruntime."""
    if measure is None:
        # One thread is timed by the processor's own clock: waiting for a busy machine is not counted.
        measure = partial(fastest, stopwatch=time.thread_time if threads == 1 else None)
    times = measure({form: entry.run for form, entry in accepted.items()})
    first = next(iter(times))
    choice = Choice(
        device=device,
        form=first,
        best_ms={str(form): round(value, 3) for form, value in times.items()},
        cosine={str(form): round(entry.cosine, 9) for form, entry in accepted.items()},
    )
    usual = next(form for form in times if form is not Form.NCNN)
    return choice, {**accepted[usual].files, **accepted[first].files}


def card_planes(packing: Packing, variant: int) -> np.ndarray:
    """Return a test card as planes of 0 to 255 in the order of the packing. Shape: float32[1, 3, s, s]."""
    card = draw_card(packing.size, variant)
    planes = (card[..., ::-1] if packing.channels == "rgb" else card).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes, np.float32)


def accept_detector(plain: "onnx.ModelProto", fast: "onnx.ModelProto") -> bytes:
    """Return the bytes of a detector's fast form that gives the same numbers as the plain one. Raises: ModelDamaged."""
    data = fast.SerializeToString()
    slow_network = open_network(graphs.without_sigmoids(plain).SerializeToString())
    fast_network = open_network(data)
    names = [f"{head}_{stride}" for stride in graphs.STRIDES for head in graphs.HEADS]
    cosines: list[float] = []
    for variant in range(CARDS):
        rows, columns = DETECTOR_PICTURES[variant % len(DETECTOR_PICTURES)]
        picture = draw_card(max(rows, columns), variant)[:rows, :columns].transpose(2, 0, 1)[None].astype(np.float32)
        found = [part for merged in fast_network.run(picture) for part in _as_heads(merged)]
        cosines.extend(cosine(left, right) for left, right in zip(slow_network.run(picture, names), found, strict=True))
    worst = min(cosines)
    if not worst >= MIN_COSINE:  # written so that NaN fails
        raise ModelDamaged(
            f"the prepared detector differs from its source (cosine {worst:.7f}, required {MIN_COSINE}); "
            "report this with the versions of onnx, numpy and onnxruntime"
        )
    log.info("prepared detector agrees with its source to a cosine of %.7f", worst)
    return data


def _as_heads(merged: np.ndarray) -> list[np.ndarray]:
    """Return a merged map as the four outputs that the source file has for its stride."""
    return np.split(merged[0].reshape(16, -1).T, (1, 2, 6), axis=1)


def prepare_pack(pack: Pack, models_dir: Path, *, threads: int = 1) -> None:
    """Prepare every model of a pack, so that a gate without write access to the folder finds them ready."""
    for model in pack.files:
        ensure_prepared(model, models_dir, threads=threads)
