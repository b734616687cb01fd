"""When a verb is done, and whether it went well: read off two status entries of a gateway, before the ask and now. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

Verb: TypeAlias = Literal["start", "stop", "restart", "repair"]
VERBS: Final = frozenset(get_args(Verb))
Entry: TypeAlias = Mapping[str, Any]  # one gateway of INTERFACE.md §5

_UP = frozenset({"ready", "degraded"})
_DOWN = frozenset({"blocked", "failed", "backoff"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verb is done; `why` is empty when it went well."""

    ok: bool
    why: str = ""


def outcome(verb: Verb, before: Entry, now: Entry | None, *, handled: bool) -> Outcome | None:
    """Judge one gateway; None: not done yet, look again at the next change.

    `now` is None when the gateway is no longer defined. Until the ask was `handled`, `now` may still tell of the life before
    it, so only what the verb wanted counts, never a failure.
    """
    if now is None:
        return Outcome(ok=True) if verb == "stop" else Outcome(ok=False, why="it is no longer defined")
    if _reached(verb, before, now):
        return Outcome(ok=True)
    if not handled:
        return None
    if bool(now["wanted"]) == (verb == "stop"):
        return Outcome(ok=False, why="it was started again" if verb == "stop" else "it was stopped again")
    if verb != "stop" and now["state"] in _DOWN:
        return Outcome(ok=False, why=str(now.get("reason") or f"it is {now['state']}"))
    return None


def _reached(verb: Verb, before: Entry, now: Entry) -> bool:
    match verb:
        case "stop":
            return now["state"] == "stopped" and not now["wanted"]
        case "start" | "repair":
            return now["state"] in _UP and bool(now["wanted"])
        case "restart":
            return now["state"] in _UP and bool(now["wanted"]) and life_of(now) != life_of(before)


def life_of(entry: Entry) -> tuple[int | None, int]:
    """Give what tells one life of a gateway from the next: a pid may come back, the count of spawns does not."""
    return entry["pid"], entry["restarts"]


def differs(before: Entry, now: Entry | None) -> bool:
    """Say whether a decision has been taken since, so that the ask was handled; times and memory drift by themselves."""
    decided = ("state", "wanted", "pid", "restarts", "reason")
    return now is None or any(now.get(key) != before.get(key) for key in decided)
