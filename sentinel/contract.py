"""Make the contract between gate and street for programs: JSON Schemas of every message, and an AsyncAPI document.

The bodies come from the dataclasses of `sentinel.core.kinds`, the rest from `sync.contract`. Nothing made here is kept
in the repository; `sentinelctl show contract` prints it.
"""

import types
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from sentinel.core import kinds
from sync.contract import GATE, MESSAGES, STREET, WORDS, MessageForm, Schema, events, record, ref, rows
from sync.topics import ROOT

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = "1"  # of the contract, as in the topics
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_SPOOLED: Schema = {"type": "boolean"}  # any body may hold it: the entry came over from the spool file
_PLACE = {"street": "the street office", "site": "the estate or building", "gate": "the gate itself"}


def schemas() -> Schema:
    """Return one JSON Schema (2020-12) whose `$defs` are every message, its user properties and every kind of entry."""
    bodies = {f"{kind.KIND}.v{kind.VERSION}": _body(kind) for kind in kinds.ALL.values()}  # type: ignore[attr-defined]
    messages = {leaf: {"title": form.says, **form.payload} for leaf, form in MESSAGES.items()}
    around = {f"{leaf}-properties": _properties(form) for leaf, form in MESSAGES.items()}
    return {
        "$schema": DIALECT,
        "$id": f"urn:sentinel:contract:{VERSION}",
        "title": "Messages between a sentinel gate and its street",
        "$defs": deepcopy(messages | around | events(bodies)),  # the caller's own: the tables stay as they are
    }


def asyncapi() -> Schema:
    """Return the AsyncAPI 3 document of both ends, with the schemas inside."""
    made = {name: _moved(schema) for name, schema in schemas()["$defs"].items()}
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:sentinel:contract:{VERSION}",
        "info": {
            "title": "Messages between a sentinel gate and its street",
            "version": f"{VERSION}.0.0",
            "description": "The prose is docs/messages.md. MQTT 5, QoS 1, JSON in UTF-8. Ignore what you do not know.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"street": _server()},
        "channels": {leaf: _channel(leaf) for leaf in MESSAGES},
        "operations": dict(_operations()),
        "components": {
            "schemas": made,
            "messages": {leaf: _message(leaf, form) for leaf, form in MESSAGES.items()},
            "parameters": {name: {"description": f"{what}; 1 to 64 characters"} for name, what in _PLACE.items()},
            "securitySchemes": {
                "certificate": {"type": "X509", "description": "a client certificate, TLS 1.2 or newer"},
                "password": {"type": "userPassword", "description": "a name and a password, over TLS"},
            },
        },
    }


# The document's parts


def _server() -> Schema:
    return {
        "host": "{broker}",
        "protocol": "mqtts",
        "protocolVersion": "5",
        "description": "any MQTT 5 broker; its access list binds each client to the topics of its gate",
        "variables": {"broker": {"description": "host and port of the street's broker"}},
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("certificate", "password")],
    }


def _channel(leaf: str) -> Schema:
    return {
        "address": "/".join((ROOT, *(f"{{{name}}}" for name in _PLACE), leaf)),
        "messages": {leaf: {"$ref": f"#/components/messages/{leaf}"}},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in _PLACE},
    }


def _operations() -> Iterator[tuple[str, Schema]]:
    """Yield what each end does with each leaf."""
    for leaf, form in MESSAGES.items():
        for role in (GATE, STREET):
            action = "send" if role == form.sender else "receive"
            yield (
                f"{role}-{action}-{leaf}",
                {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{leaf}"},
                    "messages": [{"$ref": f"#/channels/{leaf}/messages/{leaf}"}],
                    "summary": form.says,
                    "tags": [{"name": role}],
                    "bindings": {"mqtt": {"qos": 1, "retain": form.retained, "bindingVersion": "0.2.0"}},
                },
            )


def _message(leaf: str, form: MessageForm) -> Schema:
    return {
        "name": leaf,
        "summary": form.says,
        "contentType": form.content_type,
        "headers": _moved(ref(f"{leaf}-properties")),  # MQTT 5 calls them user properties
        "payload": _moved(ref(leaf)),
        "bindings": {"mqtt": {"contentType": form.content_type, "bindingVersion": "0.2.0"}},
    }


def _properties(form: MessageForm) -> Schema:
    return record(form.needs, **form.properties)


def _moved(schema: Any) -> Any:
    """Return the schema with its references as they are inside the AsyncAPI document."""
    if isinstance(schema, dict):
        return {
            name: value.replace("#/$defs/", "#/components/schemas/") if name == "$ref" else _moved(value)
            for name, value in schema.items()
        }
    return [_moved(item) for item in schema] if isinstance(schema, list) else schema


# Bodies


def _body(kind: type) -> Schema:
    made = _object(kind, inside=False)
    return made | {"title": _said(kind), "properties": made["properties"] | {"spooled": _SPOOLED}}


def _object(form: type, *, inside: bool) -> Schema:
    """Return the schema of a dataclass or a TypedDict.

    What may be None is left out of a body; inside, and in what has no default, it may be null as well.
    """
    hints = get_type_hints(form, include_extras=True)
    if is_dataclass(form):
        defaults = {one.name: one.default is not MISSING or one.default_factory is not MISSING for one in fields(form)}
    else:
        defaults = dict.fromkeys(form.__required_keys__, False)  # type: ignore[attr-defined]
    properties, needs = {}, []
    for name, has_default in defaults.items():
        optional = type(None) in get_args(hints[name])
        try:
            properties[name] = _schema(hints[name], null=optional and (inside or not has_default))
        except TypeError as error:
            raise TypeError(f"{form.__name__}.{name}: {error}") from error
        if not optional:
            needs.append(name)
    return record(tuple(needs), **properties)


def _schema(hint: Any, *, null: bool = False) -> Schema:
    """Return the schema of one field's type.

    Raises: TypeError when a street could not be told what it is.
    """
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not type(None)]
    if origin in (Union, types.UnionType) and len(parts) == 1:
        made = _schema(parts[0])
        return made | {"type": [made["type"], "null"]} if null else made
    if origin is Annotated:
        return _schema(parts[0]) | {WORDS: [str(word) for word in hint.__metadata__[0]]}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"type": "string", WORDS: [str(word) for word in hint]}
    if origin is tuple and parts[1:] != [...]:
        many = len(parts)
        return {"type": "array", "prefixItems": [_schema(part) for part in parts], "minItems": many, "maxItems": many}
    if origin in (tuple, list):
        return rows(_schema(parts[0]))
    if origin is dict and parts[0] is str:
        return {"type": "object", "additionalProperties": _schema(parts[1])}
    if is_dataclass(hint) or is_typeddict(hint):
        return _object(hint, inside=True)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    raise TypeError(f"{hint} has no form in the contract; use text, numbers, tuples, or a dataclass of them")


def _said(kind: type) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0]
