"""What pydantic found, said the way an operator would say it: what is wrong, what was expected, did you mean."""

import json
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from supervisor.policy.definition import SECTIONS, Definition
from supervisor.policy.document import Document
from supervisor.policy.fault import Fault

# What a definition has from elsewhere than its file's keys.
NO_KEYS = frozenset({"name", "env_hash"})
DEFINITION_KEYS = frozenset(Definition.model_fields) - NO_KEYS


def faults_of(
    error: ValidationError, document: Document, gateway: str | None, *, table: tuple[str, ...] = ()
) -> tuple[Fault, ...]:
    """One fault an error; `table` is where in the document the definition's keys stand."""
    return tuple(_fault(details, document, gateway, table) for details in error.errors(include_url=False))


def unknown_key(key: str, known: Collection[str], document: Document, gateway: str | None, *table: str) -> Fault:
    """A key that nothing reads."""
    close = closest(key, known)
    homes = [f"[{section}]" for section, model in SECTIONS.items() if key in model.model_fields]
    if close:
        text, mend = f'unknown key; did you mean "{close}"?', f'rename it to "{close}"'
    elif homes:
        text, mend = f"unknown key here; it belongs in {' or '.join(homes)}", f"move it into {' or '.join(homes)}"
    else:
        text, mend = f"unknown key, expected one of {', '.join(sorted(known))}", "remove it"
    return Fault(document.file, document.line(*table, key), _dotted((*table, key)), text, mend, names=_names(gateway))


def closest(word: str, known: Collection[str]) -> str | None:
    """The one word that was probably meant."""
    return next(iter(get_close_matches(word.lower(), sorted(known), n=1)), None)


def _fault(details: ErrorDetails, document: Document, gateway: str | None, table: tuple[str, ...]) -> Fault:
    path: tuple[int | str, ...] = details["loc"]
    if details["type"] == "extra_forbidden":
        *outer, last = map(str, path)
        known = frozenset(SECTIONS[outer[0]].model_fields) if outer else DEFINITION_KEYS
        return unknown_key(last, known, document, gateway, *table, *outer)
    where = (*table, *path)
    line, key = document.line(*where), _dotted(where)
    if details["type"] == "missing":
        text, mend = f"is missing, expected {_expected(path)}", f"add {key} = …"
        return Fault(document.file, line, key, text, mend, names=_names(gateway))
    if details["type"] == "value_error":
        text = str(details.get("ctx", {}).get("error", details["msg"]))
    else:
        text = f"is {_shown(path, details['input'])}, expected {_expected(path)}"
    close = _close_value(details)
    if close:
        text += f'; did you mean "{close}"?'
    mend = f'{key} = "{close}"' if close and not isinstance(path[-1], int) else f"correct {key}"
    return Fault(document.file, line, key, text, mend, names=_names(gateway))


def _expected(path: tuple[str | int, ...]) -> str:
    """The description of the field that a value was meant for."""
    first, *rest = map(str, path)
    field: FieldInfo = Definition.model_fields[first]
    if rest and first in SECTIONS:
        field = SECTIONS[first].model_fields[rest[0]]
    elif rest and first == "env":
        return "a string in quotes"
    return field.description or "another value"


def _close_value(details: ErrorDetails) -> str | None:
    if details["type"] != "literal_error" or not isinstance(details["input"], str):
        return None
    choices = str(details.get("ctx", {}).get("expected", "")).replace(" or ", ", ").split(", ")
    return closest(details["input"], [choice.strip("'") for choice in choices])


def _shown(path: tuple[str | int, ...], value: Any) -> str:
    """The wrong value as TOML would show it; of the environment only its kind, as it may be a secret."""
    if path[0] == "env":
        return {dict: "a table", list: "an array", bool: "a boolean"}.get(type(value), "no string")
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"  # noqa: PLR2004 (what leaves room for the rest of a line)


def _dotted(path: tuple[str | int, ...]) -> str:
    shown = "".join(f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in path)
    return shown.removeprefix(".")


def _printable(key: str) -> str:
    return key if key.isprintable() and key else ascii(key)


def _names(gateway: str | None) -> tuple[str, ...]:
    return () if gateway is None else (gateway,)
