"""All children: route one event, decide whose turn it is to start or to stop, and tell the next deadline.

The order of starting: the rescue first, and until it is started (or blocked, or 60 s are over) nobody else; then main,
then the rest, never more cold starts at once than the machine has cores, for three at once take each other's minute. The
rescue itself waits for nobody. The order of stopping: all at once, the rescue when the others are down.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from supervisor.policy import child as one
from supervisor.policy import exits, reload, repair
from supervisor.policy.actions import Action, Finish, RepairStep, Report, Watch
from supervisor.policy.definition import RANK
from supervisor.policy.events import (
    Booted,
    ChildEvent,
    Event,
    Reloaded,
    RestartAsked,
    ShutdownAsked,
    StartAsked,
    Ticked,
)
from supervisor.policy.exits import Step
from supervisor.policy.state import Blocked, Child, Queued, Repairing, Starting, Stopped, enter, life_of

RESCUE_FIRST_S = 60.0
# A start that takes longer than this is a slow one (a migration): it no longer keeps others from starting.
COLD_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The whole state of policy.

    `rescue_by` is the instant until which the others wait for the rescue, if they do; `rolling` are the gateways that have yet
    to take a new definition, in the order in which they will. `left` are the lives that gateways had whose names were given up:
    who comes back under one goes on counting, since what is still swept of its last life is known by that life's number.
    """

    children: Mapping[str, Child] = field(default_factory=dict)
    cores: int = 1
    booted: bool = False
    closing: bool = False
    finished: bool = False
    rescue_by: float | None = None
    rolling: tuple[str, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)


Decision = tuple[Fleet, tuple[Action, ...]]


def decide(fleet: Fleet, event: Event, now: float) -> Decision:
    """The fleet after the event, and what to do about it: total, pure, the same for the same arguments."""
    match event:
        case Booted():
            fleet, actions = _booted(fleet, event, now)
        case Reloaded():
            fleet, actions = _reloaded(fleet, event, now)
        case ShutdownAsked():
            fleet, actions = _shutdown(fleet, event, now)
        case Ticked():
            fleet, actions = _ticked(fleet, now)
        case _:
            fleet, actions = _routed(fleet, event, now)
    if not fleet.booted:
        # Booted begins whatever rung a child is at: begun here as well, two would be under way at once.
        actions = tuple(action for action in actions if not isinstance(action, RepairStep))
    if fleet.closing:
        fleet, turn = _stop_turn(fleet, now)
        return fleet, (*actions, *turn)
    fleet, roll = _roll_turn(fleet, now) if fleet.rolling else (fleet, ())
    fleet, turn = _start_turn(fleet, now)
    return fleet, (*actions, *roll, *turn)


def wake_at(fleet: Fleet, now: float) -> float | None:
    """The next instant at which time alone changes something, or None."""
    deadlines = [at for child in fleet.children.values() if (at := one.wake_at(child)) is not None]
    if any(isinstance(child.state, Queued) for child in fleet.children.values()):
        deadlines += [starting.life.begun + COLD_START_S for starting in _cold(fleet, now)]
        deadlines += [fleet.rescue_by] if fleet.rescue_by is not None else []
    return min(deadlines, default=None)


def in_order(children: Iterable[Child]) -> list[Child]:
    """Rescue, mains, extras, each by name; one without a readable definition comes last."""
    return sorted(children, key=lambda child: (RANK[child.definition.role] if child.definition else 3, child.name))


def _routed(fleet: Fleet, event: ChildEvent, now: float) -> Decision:
    child = fleet.children.get(event.name)
    if child is None:
        return fleet, (Report(event.name, f"{event.kind}: no gateway has this name"),)
    if fleet.closing and isinstance(event, RestartAsked):
        # Its end must keep its place in the order of stopping; the new life is the next supervisor's.
        event = StartAsked(event.name)
    after, actions = one.step(child, event, now)
    return _with(fleet, after), actions


def _ticked(fleet: Fleet, now: float) -> Decision:
    actions: tuple[Action, ...] = ()
    for child in fleet.children.values():
        after, more = one.tick(child, now)
        fleet, actions = _with(fleet, after), (*actions, *more)
    return fleet, actions


def _booted(fleet: Fleet, event: Booted, now: float) -> Decision:
    actions: tuple[Action, ...] = ()
    for child in in_order(fleet.children.values()):
        after, more = _begun(child, event, now)
        fleet, actions = _with(fleet, after), (*actions, *more)
    return replace(fleet, booted=True, rescue_by=now + RESCUE_FIRST_S if event.first else None), actions


def _begun(child: Child, event: Booted, now: float) -> Step:
    """A child as a brain finds it: under a new keeper `enabled` counts again, and what is down and wanted starts anew."""
    child = replace(child, closing=False)
    if event.first:
        definition = child.pending or child.definition
        enabled = definition is None or definition.enabled
        wanted = enabled and not child.held and (not child.orphaned or life_of(child.state) is not None)
        child = replace(child, wanted=wanted, spawns=0 if life_of(child.state) is None else 1)
    if life_of(child.state) is not None:
        # What an operator had started although it is not enabled ends with the supervisor, a killed one too.
        return (child, ()) if child.wanted else one.down(child, now, at_once=False)
    if isinstance(child.state, Repairing) and child.wanted and child.broken is None and not event.first:
        return repair.resumed(child, child.state)
    ended: tuple[Action, ...] = ()
    if not child.wanted or child.broken is not None or event.first:
        child, ended = repair.dropped(child)
    if not child.wanted:
        return enter(child, Stopped(), now), ended
    if child.broken is not None:
        return enter(child, Blocked(child.broken), now), ended
    if isinstance(child.state, Blocked) and not event.first:
        return child, (Watch(child.name, child.state.obstacle),)
    if isinstance(child.state, Stopped) or event.first:
        return enter(child, exits.when_allowed(child, now), now), ended
    return child, ()


def _reloaded(fleet: Fleet, event: Reloaded, now: float) -> Decision:
    may_start = fleet.booted and not fleet.closing
    children, changed, actions = reload.apply(fleet.children, event, now, may_start=may_start)
    for name in children.keys() & fleet.left.keys():
        children = {**children, name: replace(children[name], lives=fleet.left[name])}
    # Before it has booted a brain only learns what there is; afterwards one gateway at a time takes its new definition.
    rolling = tuple(child.name for child in reversed(in_order(changed))) if may_start else ()
    unfit = tuple(name for name in rolling if name in event.unfit)
    rolling = tuple(name for name in rolling if name not in unfit)
    text = "keeps its old definition: it would not start again, as its config is invalid"
    actions = (*actions, *(Report(name, text) for name in unfit))
    had = {**fleet.left, **{name: child.lives for name, child in fleet.children.items()}}
    left = {name: lives for name, lives in had.items() if name not in children}
    return replace(fleet, children=children, rolling=rolling, left=left), actions


def _roll_turn(fleet: Fleet, now: float) -> Decision:
    children, rolling, actions = reload.roll(fleet.children, fleet.rolling, now)
    if rolling == fleet.rolling and children is fleet.children:
        return fleet, actions
    return replace(fleet, children=children, rolling=rolling), actions


def _start_turn(fleet: Fleet, now: float) -> Decision:
    if not fleet.booted:
        return fleet, ()
    if fleet.rescue_by is not None and _rescue_is_done(fleet, now):
        fleet = replace(fleet, rescue_by=None)
    actions: tuple[Action, ...] = ()
    for child in in_order(c for c in fleet.children.values() if isinstance(c.state, Queued)):
        if not _is_rescue(child) and not _has_turn(fleet, child, now):
            continue
        after, more = one.start(child, now)
        fleet, actions = _with(fleet, after), (*actions, *more)
    return fleet, actions


def _has_turn(fleet: Fleet, child: Child, now: float) -> bool:
    urgent = isinstance(child.state, Queued) and child.state.urgent
    if fleet.rescue_by is not None and not urgent:
        return False
    return len(_cold(fleet, now)) < max(1, fleet.cores)


def _cold(fleet: Fleet, now: float) -> list[Starting]:
    """The starts that still keep a core busy."""
    starts = [child.state for child in fleet.children.values() if isinstance(child.state, Starting)]
    return [start for start in starts if now < start.life.begun + COLD_START_S]


def _rescue_is_done(fleet: Fleet, now: float) -> bool:
    if fleet.rescue_by is not None and now >= fleet.rescue_by:
        return True
    return all(_is_settled(child) for child in fleet.children.values() if _is_rescue(child))


def _is_settled(child: Child) -> bool:
    """Started, or not about to be: a start that failed is tried again, so it is still waited for."""
    life = life_of(child.state)
    return isinstance(child.state, Stopped | Blocked) or (life is not None and life.started is not None)


def _is_rescue(child: Child) -> bool:
    definition = child.pending or child.definition
    return definition is not None and definition.role == "rescue"


def _shutdown(fleet: Fleet, event: ShutdownAsked, now: float) -> Decision:
    """From now on nothing starts; `at_once`, nobody has a grace, the rescue not either."""
    fleet = replace(fleet, closing=True, rolling=(), rescue_by=None)
    actions: tuple[Action, ...] = ()
    if event.at_once:
        for child in fleet.children.values():
            after, more = one.close(child, now, at_once=True)
            fleet, actions = _with(fleet, after), (*actions, *more)
    return fleet, actions


def _stop_turn(fleet: Fleet, now: float) -> Decision:
    actions: tuple[Action, ...] = ()
    others_are_down = all(life_of(c.state) is None for c in fleet.children.values() if not _is_rescue(c))
    for child in fleet.children.values():
        if child.closing or (_is_rescue(child) and not others_are_down):
            continue
        after, more = one.close(child, now, at_once=False)
        fleet, actions = _with(fleet, after), (*actions, *more)
    if not fleet.finished and all(life_of(child.state) is None for child in fleet.children.values()):
        return replace(fleet, finished=True), (*actions, Finish())
    return fleet, actions


def _with(fleet: Fleet, child: Child) -> Fleet:
    if fleet.children.get(child.name) is child:
        return fleet
    return replace(fleet, children={**fleet.children, child.name: child})
