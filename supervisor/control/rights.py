"""What a caller of the control socket may do: everything, what a rescue needs for its patients, or hardly anything. Pure.

This keeps a confused agent from harm; it is no wall against a process of the same user, which could edit every file itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from supervisor.openclaw import diagnostics

LOOKS: Final = frozenset({"logs", "why", "events", "incidents", "history", "show", "diff"})
MENDS: Final = frozenset({"start", "restart", "rollback", "put", "exec", "resolve"})

_CHANGES: Final = frozenset({"start", "restart", "rollback", "put"})
_DOWN: Final = frozenset({"blocked", "failed", "backoff", "repairing", "starting", "hung"})


@dataclass(frozen=True, slots=True)
class Standing:
    """Who calls: an operator, the gateway `name` (or what grew from it), or an observer, of whom nothing can be proved.

    `patients` is not empty for a rescue alone; `why` says what makes an observer one.
    """

    kind: Literal["operator", "gateway", "observer"]
    name: str = ""
    patients: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        return self.name or self.kind


def may(caller: Standing, verb: str, name: str, gateway: Mapping[str, Any] | None, words: Sequence[str] = ()) -> str:
    """Say why this caller may not do that, for a person or an agent; empty: it may.

    `gateway` is the status entry of the gateway `name`, None where there is none; `status` is any look at the status; `words`
    are those of an `exec`.
    """
    if caller.kind == "operator" or verb == "status":
        return ""
    if caller.kind == "observer":
        return f"{caller.why}: it may only see the status"
    if verb == "restart" and name == caller.name:
        return ""
    if not caller.patients:
        return f"{caller.name} is no rescue: it may see the status and restart itself, and not {verb} {name}".rstrip()
    refused = _of_a_rescue(caller, verb, name, gateway)
    if not refused and verb == "exec" and not diagnostics.is_listed(words):
        return (
            f"`{diagnostics.shown(words)}` is not on the list of what runs through the supervisor: {diagnostics.LISTED}"
        )
    return refused


def changes(verb: str, words: Sequence[str]) -> bool:
    """Whether a gateway's agent that does this changes something; `words` are those of an `exec`."""
    return verb in _CHANGES or (verb == "exec" and diagnostics.changes(words))


def _of_a_rescue(caller: Standing, verb: str, name: str, gateway: Mapping[str, Any] | None) -> str:
    if verb in {"events", "incidents"} and not name:
        return ""
    if verb not in LOOKS | MENDS:
        return f"a rescue may not {verb} {name}".rstrip() + ": that is for the operator"
    if name not in caller.patients:
        return f"{name or 'that'} is no patient of {caller.name}, whose patients are {', '.join(caller.patients)}"
    # To say that one is done changes nothing, and comes when the patient is up.
    if verb in LOOKS or verb == "resolve":
        return ""
    if gateway is None or not gateway["wanted"]:
        return f"{name} is stopped because an operator wants it so"
    if gateway["state"] not in _DOWN:
        return f"{name} is {gateway['state']}: a rescue may {verb} only a patient that is down"
    return ""
