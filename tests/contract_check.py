"""Ask the contract's JSON Schemas whether a message or a body is as the street was promised.

Stricter than the schemas by one rule: a word that is not among those of its field is a fault of ours, though a street
must take it as text.
"""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from sentinel.contract import schemas
from sync.broker import Message
from sync.contract import WORDS
from sync.entry import Entry
from sync.pack import ENCODING, unpack
from sync.snapshot import DOWN_TYPE, header_of


def _known_word(_validator: Any, words: list[str], value: Any, _schema: Any) -> Iterable[ValidationError]:
    if isinstance(value, str) and value not in words:
        yield ValidationError(f"{value!r} is none of {', '.join(words)}: name it where the field stands")


_Strict = extend(Draft202012Validator, {WORDS: _known_word})
_contract = cache(schemas)


@cache
def validator(name: str, *, strict: bool = True) -> Any:
    """Return the validator of one of the contract's schemas."""
    form = _Strict if strict else Draft202012Validator
    return form(_contract() | {"$ref": f"#/$defs/{name}"})


def faults(name: str, value: Any) -> list[str]:
    """Return what is wrong with a value, by the place in it; nothing when it is as the contract says."""
    found = validator(name).iter_errors(value)
    return [f"{name} {'/'.join(map(str, fault.absolute_path))}: {fault.message[:300]}" for fault in found]


def faults_of_entry(entry: Entry) -> list[str]:
    """Return what is wrong with the body of an entry; a kind that nobody described is wrong."""
    name = f"{entry.kind}.v{entry.version}"
    if name not in _contract()["$defs"]:
        return [f"{name}: has no dataclass in sentinel/core/kinds.py"]
    return faults(name, entry.data)


def faults_of_message(message: Message) -> list[str]:
    """Return what is wrong with a message as it travelled: payload and user properties."""
    leaf, said = message.topic.split("/")[5], dict(message.properties)
    if message.content_type == DOWN_TYPE:
        return faults(leaf, header_of(message.payload)) + faults(f"{leaf}-properties", said)
    payload = unpack(message.payload, said[ENCODING]) if ENCODING in said else message.payload
    return faults(leaf, json.loads(payload)) + faults(f"{leaf}-properties", said)
