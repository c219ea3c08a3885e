"""Take the photograph for an enrolment from the card that its holder lays on the gate's reader. Nothing of it is kept.

The reader has one owner, so the gate is stopped meanwhile; the decoder is native code, so this is a process of its own.
"""

import threading
import time
from collections.abc import Callable

import numpy as np

from drivers import load as load_dialect
from drivers import ports
from drivers.errors import PortSettingsError
from drivers.photo import HEIGHT, WIDTH, PhotoDecoder
from drivers.reader import SerialReader
from drivers.readings import CardReading, Reading, Trouble
from recognition.cardphoto import photo_face
from recognition.errors import FaceUnusable
from recognition.pipeline import Pipeline, Template
from sentinel import clocks
from sentinel.core.citizen import tidy_number
from sentinel.core.errors import DataError, Unavailable
from sentinel.device_settings import Card
from sentinel.devices import dialect_options
from sentinel.roster import CARD_PHOTO, Member

PATIENCE_S = 60.0  # to find the card in a bag


def decoder_of(card: Card) -> PhotoDecoder:
    """Return the decoder of this gate, before anybody is asked for a card.

    Raises: PortSettingsError when the gate has no reader, or no decoder. PhotoDecoderUnavailable.
    """
    if card.kind == "none":
        raise PortSettingsError("card: this gate has no card reader; use pictures instead")
    if card.photo_decoder is None:
        raise PortSettingsError("card: the photograph cannot be decoded here; name the library in [card] photo_decoder")
    return PhotoDecoder(card.photo_decoder)


def take_photo(
    card: Card,
    number: str,
    decoder: PhotoDecoder,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    open_port: Callable[[str], ports.Port] = ports.open_port,
) -> np.ndarray:
    """Return the photograph of the card that is laid on the reader, when it is the one with this number.

    Shape: uint8[126, 102, 3], BGR.
    Raises: PortLost when the gate has the reader, or it is away. DeviceSilent. Unavailable when no card came in time.
    DataError when it is another person's, is not to be trusted, or has no photograph that can be decoded.
    """
    say(f"lay the card on the reader, within {PATIENCE_S:.0f} s")
    laid = _laid(card, say, clock, open_port)
    if not (laid.number_ok and laid.birth_ok):
        raise DataError("the card's data contradict each other; look whether the card is genuine")
    if tidy_number(laid.number) != number:
        raise DataError("the card on the reader has another number than the line; let its own holder lay it down")
    picture = decoder.decode(laid.photo)
    if not picture:
        raise DataError("the card's photograph cannot be decoded; look at the decoder's licence, or use pictures")
    return np.frombuffer(picture, np.uint8).reshape(HEIGHT, WIDTH, 3)


def _laid(
    card: Card, say: Callable[[str], None], clock: Callable[[], float], open_port: Callable[[str], ports.Port]
) -> CardReading:
    """Return the first card that can be read; a reader that lives says something at least every few seconds."""
    found: list[CardReading] = []
    stop, until = threading.Event(), clock() + PATIENCE_S

    def hear(reading: Reading) -> None:
        if isinstance(reading, CardReading):
            found.append(reading)
        elif isinstance(reading, Trouble):
            say(f"card reader: {reading.detail or reading.symptom}")
        if found or clock() >= until:
            stop.set()

    dialect = load_dialect(card.kind)(**dialect_options(card))
    SerialReader(card.port, dialect, hear, device="card", clock=clock, open_port=open_port).run(stop)
    if not found:
        raise Unavailable(f"no card could be read within {PATIENCE_S:.0f} s; lay it flat on the reader")
    return found[0]


def check_no_better(known: Member | None, model: str) -> None:
    """Refuse to put one small photograph in the place of templates from pictures.

    Raises: DataError when this member has such templates of the model in use.
    """
    used = known.templates if known else ()
    if any(one.model == model and one.source != CARD_PHOTO and one.holds_on(clocks.today()) for one in used):
        raise DataError("this person has templates of better pictures; a card's photograph would take their place")


def photo_template(pixels: np.ndarray, pipeline: Pipeline) -> Template:
    """Return what to enrol of a card's photograph.

    It is small and squeezed: the limits of `recognition/cardphoto.py` hold for it, and not those of pictures.
    Shape: uint8[126, 102, 3], BGR.
    Raises: FaceUnusable when no face is in it.
    """
    found = photo_face(pixels, pipeline.detector, pipeline.embedder)
    if found is None:
        raise FaceUnusable("no face was found in the card's photograph; use pictures, or the camera", None)
    return Template(vector=found.vector, model=pipeline.model, quality=found.quality)
