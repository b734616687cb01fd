"""A decision as the journal and the state records keep it, and back.

A journal can be replayed: each decision carries its event, the instant, the children it touched as they were before and
after (their definitions stand once, where the roster was read), and the actions. Values of `env` are kept as hashes, so
that no secret reaches the disk twice.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field, TypeAdapter

from supervisor.policy.actions import Action, Probe, Report
from supervisor.policy.definition import Definition
from supervisor.policy.events import Event, Exited, Probed, Reloaded, RepairStepped
from supervisor.policy.facts import Roster
from supervisor.policy.fleet import Fleet, decide
from supervisor.policy.state import Backoff, Blocked, Child, Degraded, Failed, Ready, Starting, Stopped, public

Fields = dict[str, object]

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])
_ACTIONS: TypeAdapter[tuple[Action, ...]] = TypeAdapter(tuple[Action, ...])
_CHILD: TypeAdapter[Child] = TypeAdapter(Child)
_FLEET: TypeAdapter[Fleet] = TypeAdapter(Fleet)
_SCHEMA = 1
_BULKY = {"definition", "pending"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal, before it has a number and a date."""

    event: str
    gateway: str | None
    fields: Fields


def dump_child(child: Child) -> bytes:
    """The child as its state record, secrets of its definition included: for a file that only its owner can read."""
    return json.dumps({"schema": _SCHEMA, "child": _CHILD.dump_python(child, mode="json")}).encode()


def load_child(data: bytes) -> Child:
    """The child of a state record; ValueError (pydantic's ValidationError is one) for anything else, a newer schema too."""
    fields = json.loads(data)
    if not isinstance(fields, dict) or fields.get("schema") != _SCHEMA:
        msg = f"not a state record of schema {_SCHEMA}"
        raise ValueError(msg)
    return _CHILD.validate_json(json.dumps(fields.get("child")))


def beginning(fleet: Fleet) -> Fields:
    """The whole fleet, from which a replay starts."""
    children = {name: _without_secrets(child) for name, child in fleet.children.items()}
    return {"fleet": _FLEET.dump_python(replace(fleet, children=children), mode="json")}


def lines(before: Fleet, event: Event, after: Fleet, actions: Sequence[Action], now: float) -> list[Line]:
    """What the journal says about a decision: the decision itself, then one line for each child that entered a new state.

    Empty for a probe that only leads to the next probe.
    """
    touched = _touched(before, after)
    if not _is_noteworthy(before, event, after, actions, touched):
        return []
    gateway = getattr(event, "name", None)
    changes = {
        name: {"before": _brief(before.children.get(name)), "after": _brief(after.children.get(name))}
        for name in touched
    }
    told = event if not isinstance(event, Reloaded) else replace(event, roster=_hashed(event.roster))
    fields = _EVENT.dump_python(told, mode="json")
    fields = {key: value for key, value in fields.items() if key not in ("name", "kind")}
    if isinstance(event, Exited):
        fields |= _judged(after.children.get(event.name))
    decision = {
        "now": now,
        "changes": changes,
        "fleet_before": _rest(before),
        "actions": _ACTIONS.dump_python(tuple(actions), mode="json"),
    }
    first = Line(event.kind, gateway, {**fields, "decision": decision})
    reports = [Line("reported", action.name, {"text": action.text}) for action in actions if isinstance(action, Report)]
    entered = [line for name in touched for line in _entered(before, after, name, now)]
    mending = [line for name in touched for line in _mending(before, event, after, name)]
    begun = [line for line in mending if line.event == "repair_started"]
    return [first, *begun, *entered, *(line for line in mending if line not in begun), *reports]


def replay(journal: Iterator[Mapping[str, object]]) -> Iterator[str]:
    """Decide everything anew that a journal says was decided; yields one sentence for each difference.

    Starts at the first `supervisor_started`. What the journal leaves out (probes without consequence) is taken from the
    children as each line says they were before it.
    """
    fleet: Fleet | None = None
    for line in journal:
        if line["event"] == "supervisor_started":
            fleet = _FLEET.validate_json(json.dumps(line["fleet"]))
        decision = line.get("decision")
        if fleet is None or not isinstance(decision, Mapping):
            continue
        changes = decision["changes"]
        fleet = _restored(fleet, decision["fleet_before"], {n: c["before"] for n, c in changes.items()})
        fields = {k: v for k, v in line.items() if k not in ("seq", "at", "gateway", "event", "decision", "crc")}
        named = {"name": line["gateway"]} if line["gateway"] is not None else {}
        # Definitions are strict, and only JSON may give them a list for a tuple.
        event = _EVENT.validate_json(json.dumps({**fields, **named, "kind": line["event"]}))
        before = fleet
        fleet, actions = decide(before, event, decision["now"])
        for name in _touched(before, fleet):
            if name not in changes:
                yield f"seq {line['seq']}: {name} became {_brief(fleet.children.get(name))}, the journal says nothing of it"
        for name, change in changes.items():
            if _brief(fleet.children.get(name)) != change["after"]:
                yield f"seq {line['seq']}: {name} became {_brief(fleet.children.get(name))}, the journal says {change['after']}"
        if _ACTIONS.dump_python(actions, mode="json") != decision["actions"]:
            yield f"seq {line['seq']}: the actions are {actions}, the journal says {decision['actions']}"


def _judged(child: Child | None) -> Fields:
    """What policy made of an exit: for the reader of the journal; a replay comes to it by itself."""
    ended = child.last_exit if child is not None else None
    return {} if ended is None else {"cause": str(ended.cause), "ran_s": round(ended.ran_s, 3)}


def _touched(before: Fleet, after: Fleet) -> list[str]:
    """The children that a decision made, changed or removed."""
    changed = [name for name, child in after.children.items() if before.children.get(name) is not child]
    return changed + [name for name in before.children if name not in after.children]


def _is_noteworthy(
    before: Fleet, event: Event, after: Fleet, actions: Sequence[Action], touched: Sequence[str]
) -> bool:
    if not isinstance(event, Probed):
        return bool(touched or actions) or before is not after
    if any(not isinstance(action, Probe) for action in actions):
        return True
    return any(_bare(before.children.get(name)) != _bare(after.children.get(name)) for name in touched)


def _bare(child: Child | None) -> Child | None:
    """The child without what every probe changes."""
    match child:
        case Child(state=Ready() | Degraded() as state):
            return replace(child, state=replace(state, asked=0.0))
        case Child(state=Starting() as state):
            life = replace(state.life, bound=False)
            return replace(child, state=replace(state, life=life, progress=0, progressed=0.0, detail=""))
        case _:
            return child


def _entered(before: Fleet, after: Fleet, name: str, now: float) -> Iterator[Line]:
    old, new = before.children.get(name), after.children.get(name)
    # A child that has just been heard of was never stopped by anybody.
    was = old.state if old is not None else Stopped()
    # To be blocked by something else is news too.
    if new is None or new.state == was or (new.state.kind == was.kind and not isinstance(new.state, Blocked)):
        return
    if isinstance(new.state, Ready | Degraded) and old is not None and isinstance(old.state, Starting):
        yield Line("started", name, {"life": new.state.life.number, "after_s": new.since - new.state.life.begun})
    if new.state.kind in ("queued", "starting"):
        return
    state = _CHILD.dump_python(new, mode="json", include={"state"})["state"]
    told = {key: value for key, value in state.items() if key not in ("kind", "life")}
    if isinstance(new.state, Backoff | Failed):
        told["in_s"] = round(new.state.until - now, 3)
    yield Line(public(new.state), name, told)


def _mending(before: Fleet, event: Event, after: Fleet, name: str) -> Iterator[Line]:
    """What the ladder begins, has put in place, and comes to."""
    old, new = before.children.get(name), after.children.get(name)
    was, now = old.repair if old is not None else None, new.repair if new is not None else None
    if now is not None and was is None:
        yield Line("repair_started", name, {"broken": now.broken, "why": now.obstacle.reason})
    started = isinstance(event, RepairStepped) and (event.name, event.outcome) == (name, "start")
    if isinstance(event, RepairStepped) and started and event.rung.startswith("rollback") and was is not None:
        yield Line("config_rolled_back", name, {"from": was.broken, "to": event.key})
    if was is not None and now is None:
        mended = new is not None and isinstance(new.state, Ready | Degraded)
        tried = [f"{each.rung}: {each.outcome}" for each in was.tried]
        if isinstance(event, RepairStepped) and event.name == name:
            tried.append(f"{event.rung}: {event.outcome}")
        yield Line("repair_ended", name, {"mended": mended, "tried": ", ".join(tried)})


def _brief(child: Child | None) -> object:
    return None if child is None else _CHILD.dump_python(child, mode="json", exclude=_BULKY)


def _rest(fleet: Fleet) -> object:
    return _FLEET.dump_python(fleet, mode="json", exclude={"children"})


def _restored(fleet: Fleet, rest: Mapping[str, object], befores: Mapping[str, object]) -> Fleet:
    children = dict(fleet.children)
    for name, brief in befores.items():
        if not isinstance(brief, dict):
            continue
        known = children.get(name)
        child = _CHILD.validate_python({**brief, "definition": None, "pending": None})
        children[name] = replace(
            child,
            definition=known.definition if known else None,
            pending=known.pending if known else None,
        )
    return replace(_FLEET.validate_python({**rest, "children": {}}), children=children)


def _hashed(roster: Roster) -> Roster:
    return replace(roster, definitions=tuple(_mask(definition) for definition in roster.definitions))


def _without_secrets(child: Child) -> Child:
    return replace(
        child,
        definition=_mask(child.definition) if child.definition else None,
        pending=_mask(child.pending) if child.pending else None,
    )


def _mask(definition: Definition) -> Definition:
    hashes = {key: f"sha256:{hashlib.sha256(value.encode()).hexdigest()[:16]}" for key, value in definition.env.items()}
    return definition.model_copy(update={"env": hashes})
