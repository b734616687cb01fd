"""What new definitions do to the children: taken at once, taken in turn with a new life, or waited for.

A key is live, or needs a new life (definition.applied). Gateways that need one get it one after the other, each only when the
one before is started; the first that does not come up ends the turn, and the others keep what they run by.
"""

from collections.abc import Mapping
from dataclasses import replace

from supervisor.policy import child as one
from supervisor.policy import exits, plan, repair
from supervisor.policy.actions import Action, Report, Unwatch
from supervisor.policy.definition import Definition
from supervisor.policy.events import Reloaded
from supervisor.policy.exits import Step
from supervisor.policy.facts import Obstacle
from supervisor.policy.state import (
    Backoff,
    Blocked,
    Child,
    Degraded,
    Failed,
    Queued,
    Ready,
    Repairing,
    Stopped,
    enter,
    life_of,
)

Children = Mapping[str, Child]


def apply(
    children: Children, event: Reloaded, now: float, *, may_start: bool
) -> tuple[Children, tuple[Child, ...], tuple[Action, ...]]:
    """The children under the new roster, those among them that need a new life for it, and what to do at once."""
    after: dict[str, Child] = {}
    actions: tuple[Action, ...] = ()
    for definition in event.roster.definitions:
        child, more = _defined(children.get(definition.name), definition, now, may_start=may_start)
        after[child.name] = child
        actions += more
    for name, obstacle in event.roster.broken:
        child, more = _broken(children.get(name), name, obstacle, now)
        after[name] = child
        actions += more
    for name, known in children.items():
        if name in after:
            continue
        if life_of(known.state) is None:
            actions += _left(known)[1]
            continue
        child, more = _orphaned(known, now, prune=event.prune)
        after[name] = child
        actions += more
    changed = tuple(child for child in after.values() if child.pending is not None and child.wanted)
    return after, changed, actions


def roll(
    children: Children, rolling: tuple[str, ...], now: float
) -> tuple[Children, tuple[str, ...], tuple[Action, ...]]:
    """The next step of a reload that goes from gateway to gateway; `rolling` loses those that are done."""
    for place, name in enumerate(rolling):
        child = children.get(name)
        if child is None or not child.wanted:
            continue
        if isinstance(child.state, Backoff | Failed | Blocked):
            text = f"did not come up with its new definition; not reloaded: {', '.join(rolling[place + 1 :]) or 'none'}"
            return children, (), (Report(name, text),)
        if child.pending is None and isinstance(child.state, Ready | Degraded):
            continue
        if child.pending is None or life_of(child.state) is None:
            return children, rolling[place:], ()
        after, actions = one.down(child, now, at_once=False)
        return (children if after is child else {**children, name: after}), rolling[place:], actions
    return children, (), ()


def _defined(child: Child | None, definition: Definition, now: float, *, may_start: bool) -> Step:
    if child is not None:
        return _redefined(child, definition, now)
    state = Queued(now) if definition.enabled and may_start else Stopped()
    return Child(definition.name, definition, state, now, wanted=definition.enabled), ()


def _orphaned(child: Child, now: float, *, prune: bool) -> Step:
    """A living child whose definition is gone runs on, unless it is to be pruned."""
    child = replace(child, orphaned=True, broken=None, pending=None)
    return one.down(replace(child, wanted=False), now, at_once=False) if prune else (child, ())


def _living(child: Child, definition: Definition, now: float) -> Step:
    """A living child takes what is live at once, and the rest with its next life."""
    before = child.definition or definition
    taken = plan.with_live(before, definition)
    child = replace(child, definition=taken, pending=definition if taken != definition else None)
    if before.enabled == definition.enabled:
        return child, ()
    child = replace(child, wanted=definition.enabled and not child.held)
    return (child, ()) if child.wanted else one.down(child, now, at_once=False)


def _redefined(child: Child, definition: Definition, now: float) -> Step:
    """A definition that can be read: a living child takes it for its next life, one that is down at once."""
    before = child.definition
    changed = definition != before or child.broken is not None or child.orphaned
    # Pruned it was not wanted; now there is a definition again that wants it.
    returns = child.orphaned and definition.enabled and not child.held
    child = replace(child, broken=None, orphaned=False, wanted=child.wanted or returns)
    if life_of(child.state) is not None:
        return _living(child, definition, now)
    child = replace(child, definition=definition, pending=None)
    if before is None or before.enabled != definition.enabled:
        child = replace(child, wanted=definition.enabled and not child.held)
    if child.closing or not changed:
        return child, ()
    if not child.wanted:
        child, left = _left(child)
        return (child, ()) if isinstance(child.state, Stopped) else (enter(child, Stopped(), now), left)
    match child.state:
        case Repairing() if before is not None and plan.effect_of(before, definition) in ("none", "live"):
            return child, ()
        case Blocked() | Repairing():
            # A ladder that is being climbed is about the old definition, and the new one may be what mends it.
            child, left = _left(child)
            return enter(child, Queued(now), now), left
        case Stopped() | Backoff() | Failed():
            return enter(child, exits.when_allowed(child, now), now), ()
        case _:
            return child, ()


def _broken(child: Child | None, name: str, obstacle: Obstacle, now: float) -> Step:
    """A definition that cannot be read: a living child keeps its last good one, one that is down is blocked."""
    if child is not None and life_of(child.state) is not None:
        return replace(child, broken=obstacle, orphaned=False), ()
    if child is None:
        child = Child(name, None, Stopped(), now)
    child = replace(child, broken=obstacle, orphaned=False)
    if not child.wanted or child.closing or child.state == Blocked(obstacle):
        return child, ()
    child, left = _left(child)
    return enter(child, Blocked(obstacle), now), left


def _left(child: Child) -> Step:
    """A child without a life that leaves its state: nobody watches for it any more, and no ladder is climbed."""
    unwatch = (Unwatch(child.name),) if isinstance(child.state, Blocked) else ()
    child, dropped = repair.dropped(child)
    return child, (*unwatch, *dropped)
