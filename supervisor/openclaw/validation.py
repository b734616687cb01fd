"""Whether a config can start a gateway: what `config validate` says, what it overlooks, and what a mend has cost.

Measured: exit 1 of `config validate --json` is to be trusted, exit 0 is not: it passes a config without `gateway.mode`, and
`bind: lan` without auth, and the gateway refuses both.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from supervisor.openclaw.output import last_object

VALIDATE: Final = ("openclaw", "config", "validate", "--json")
DOCTOR: Final = ("openclaw", "doctor", "--fix", "--yes", "--non-interactive")

_ISSUES = 5
_PHRASE = 200
_OWN = frozenset({"meta", "wizard"})
"""What only OpenClaw writes: no setting of the user's."""

Refusal: TypeAlias = Literal["", "schema", "lock", "unreadable", "disk"]
"""What an exit 78 was about, if not the config: a newer OpenClaw's state, another process, a directory it may not read, a full disk."""

_OTHER_REFUSALS: Final[Mapping[str, Refusal]] = {
    "newer schema version": "schema",
    "uses a newer schema": "schema",
    "are newer than this build": "schema",
    "owns gateway-lifecycle": "lock",
    "state database is unreadable": "unreadable",
    "database or disk is full": "disk",
    "no space left on device": "disk",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`valid` is None where it could not be told; `why` is one line, the issues of an invalid one."""

    valid: bool | None
    why: str = ""


def verdict(code: int | None, output: str) -> Verdict:
    """What `config validate --json` means by its exit code (None: out of time) and its output, which may hold other lines too."""
    told = last_object(output)
    if code is None or told is None:
        return Verdict(None, "config validate ran out of time" if code is None else f"config validate: exit {code}")
    if told.get("valid") is True and code == 0:
        return Verdict(valid=True)
    if told.get("valid") is False and isinstance(error := told.get("error"), dict):
        # It could not even look: with a state of a newer OpenClaw, say, it calls every config invalid.
        return Verdict(None, _line(f"config validate: {error.get('message')}"))
    if told.get("valid") is False:
        issues = told.get("issues")
        said = [_issue(issue) for issue in issues if isinstance(issue, dict)] if isinstance(issues, list) else []
        return Verdict(valid=False, why=_line("; ".join(said[:_ISSUES]) or "config validate finds it invalid"))
    return Verdict(None, f"config validate: exit {code}")


def overlooked(config: Mapping[str, Any]) -> str:
    """What `config validate` passes and a gateway refuses; "" if nothing."""
    gateway = config.get("gateway")
    gateway = gateway if isinstance(gateway, dict) else {}
    mode = gateway.get("mode")
    if mode is None:
        return "gateway.mode is missing"
    if mode != "local":
        return f'gateway.mode is {_line(json.dumps(mode))}, and only "local" starts a gateway'
    auth = gateway.get("auth")
    if gateway.get("bind") == "lan" and isinstance(auth, dict) and auth.get("mode") == "none":
        return 'gateway.bind is "lan" and gateway.auth.mode is "none"'
    return ""


def other_refusal(lines: Iterable[str]) -> str:
    """The line that shows that an exit 78 was not about the config; "" if there is none."""
    return next((_line(line) for line in lines if refusal(line)), "")


def refusal(line: str) -> Refusal:
    """What such a line is about; "" if it is no such line."""
    for sign, about in _OTHER_REFUSALS.items():
        if sign in line:
            return about
    return ""


def lost(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The settings of `before` that are not in `after` any more, by their keys, and what `after` newly switches off.

    What only OpenClaw writes does not count, nor does an order of keys.
    """
    old = {path: value for path, value in _leaves(before, ()) if path[0] not in _OWN}
    new = dict(_leaves(after, ()))
    gone = [path for path, value in old.items() if path not in new or new[path] != value]
    off = [path for path, value in new.items() if path[-1] == "enabled" and value is False and path not in old]
    return [".".join(path) for path in [*gone, *off]]


def is_same_but_meta(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configs differ in nothing but OpenClaw's own `meta`."""
    return {**one, "meta": None} == {**other, "meta": None}


def told(lost_settings: Sequence[str]) -> str:
    """Some of the lost settings, in words."""
    more = f" and {len(lost_settings) - _ISSUES} more" if len(lost_settings) > _ISSUES else ""
    return f"{', '.join(lost_settings[:_ISSUES])}{more}"


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no object with something in it, by the names that lead to it."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif path:
        yield path, value


def _issue(issue: Mapping[str, Any]) -> str:
    where, what = str(issue.get("path") or ""), str(issue.get("message") or "")
    return f"{where}: {what}" if where else what


def _line(text: str) -> str:
    clean = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return clean if len(clean) <= _PHRASE else f"{clean[: _PHRASE - 1]}…"
