"""The life of one child: every state, every event, one function.

Theory of operation. `step` is total: it never raises, never waits, never reads a clock. Everything that moves a child from
one state to another is in this file, in probing.py, which says what follows from answers and from silence, and in exits.py,
which says what follows the end of a life. `stopped`, `queued`, `backoff`, `failed`, `blocked` and `repairing`
(repair.py) have no process;
`starting`, `ready`, `degraded`, `hung` and `stopping` have exactly one, the life they carry. An event about another life
than that is old news. What cannot happen changes nothing and is reported: a supervisor must not die of surprise.

Only the fleet lets a queued child start (`start`), since only the fleet knows whose turn it is.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.policy import exits, probing, repair
from supervisor.policy.actions import Action, Kill, Probe, Report, Spawn, Terminate, Unwatch, Watch
from supervisor.policy.events import (
    Adopted,
    ChildEvent,
    ConfigPromoted,
    Exited,
    HandoffAnswered,
    ObstacleChanged,
    Probed,
    RepairAsked,
    RepairStepped,
    RestartAsked,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    StartAsked,
    StopAsked,
)
from supervisor.policy.exits import Step
from supervisor.policy.facts import Obstacle
from supervisor.policy.rules import probe_rule, start_rule, stop_rule
from supervisor.policy.state import (
    Backoff,
    Blocked,
    Child,
    Degraded,
    Failed,
    Hung,
    Life,
    Queued,
    Ready,
    Repairing,
    Starting,
    State,
    Stopped,
    Stopping,
    enter,
    life_of,
    ready_seconds,
)

# What survived SIGKILL once is in the kernel's hands; it is tried again at this interval.
KILL_AGAIN_S = 5.0
# A machine that cannot fork now is asked again after this long; it is nobody's failure.
SPAWN_AGAIN_S = 5.0


def step(child: Child, event: ChildEvent, now: float) -> Step:
    """The child after the event, and what to do about it."""
    match event:
        case Spawned():
            return _spawned(child, event, now)
        case SpawnRefused():
            return _not_spawned(child, event, event.obstacle, now)
        case SpawnFailed():
            return _not_spawned(child, event, None, now)
        case Adopted():
            return _adopted(child, event, now)
        case Exited():
            return _exited(child, event, now)
        case Probed():
            return probing.probed(child, event, now)
        case ObstacleChanged():
            return _obstacle_changed(child, event, now)
        case HandoffAnswered():
            return probing.handoff_answered(child, event)
        case RepairStepped():
            return repair.stepped(child, event, now)
        case RepairAsked():
            return repair.asked(child, event.config_key, event.guarded, now)
        case ConfigPromoted():
            return probing.promoted(child, event)
        case StartAsked():
            return _start_asked(child, now)
        case StopAsked():
            return down(replace(child, wanted=False, held=True), now, at_once=event.at_once)
        case RestartAsked():
            return _restart_asked(child, now)
        case _:
            assert_never(event)


def start(child: Child, now: float) -> Step:
    """A queued child whose turn has come: its next life begins."""
    definition = child.pending or child.definition
    if definition is None or not isinstance(child.state, Queued):
        return child, ()
    life = Life(number=child.lives + 1, begun=now)
    state = Starting(life, ready_by=now + min(definition.start.timeout, definition.start.cap), progressed=now)
    child = replace(
        child,
        definition=definition,
        pending=None,
        lives=life.number,
        spawns=child.spawns + 1,
        warnings=(),
    )
    return enter(child, state, now), (Spawn(child.name, life.number),)


def tick(child: Child, now: float) -> Step:
    """The child after its deadline, if that has passed; else unchanged."""
    deadline = wake_at(child)
    if deadline is None or now < deadline:
        return child, ()
    state = child.state
    match state:
        case Starting():
            return probing.start_overdue(child, state, now)
        case Hung() | Stopping():
            child = replace(child, state=replace(state, kill_at=now + KILL_AGAIN_S))
            return child, (Kill(child.name, state.life.number),)
        case Backoff() | Failed():
            return enter(child, Queued(now), now), ()
        case Blocked():
            return enter(child, Queued(now), now), (Unwatch(child.name),)
        case Repairing():
            return repair.overdue(child, state, now)
        case Stopped() | Queued() | Ready() | Degraded():
            return child, ()
        case _:
            assert_never(state)


def wake_at(child: Child) -> float | None:
    """The next instant at which the child itself must be looked at, or None."""
    match child.state:
        case Starting(ready_by=at) | Hung(kill_at=at) | Stopping(kill_at=at) | Backoff(until=at) | Failed(until=at):
            return at
        case Blocked(until=until) | Repairing(until=until):
            return until
        case _:
            return None


def close(child: Child, now: float, *, at_once: bool) -> Step:
    """The supervisor ends: down with it, whatever is wanted afterwards."""
    return down(replace(child, closing=True), now, at_once=at_once)


def _spawned(child: Child, event: Spawned, now: float) -> Step:
    state = child.state
    life = life_of(state)
    if life is None or life.number != event.life:
        # Whatever it is, nobody would ever look at it again.
        return child, (Kill(child.name, event.life), _impossible(child, event))
    if life.pid is not None:
        return child, (_impossible(child, event),)
    life = replace(life, pid=event.pid, start_ticks=event.start_ticks)
    child = replace(child, state=_with_life(state, life), warnings=event.warnings)
    if isinstance(state, Starting):
        return child, (Probe(child.name, life.number, "start", now + probing.START_PROBE_MIN_S),)
    # It was told to end before there was anything that could be told.
    return child, (Terminate(child.name, life.number),)


def _not_spawned(child: Child, event: SpawnRefused | SpawnFailed, obstacle: Obstacle | None, now: float) -> Step:
    life = life_of(child.state)
    if life is None or life.number != event.life or life.pid is not None:
        return child, (_impossible(child, event),)
    child = replace(child, spawns=child.spawns - 1)
    if not child.wanted or child.closing:
        child, dropped = repair.dropped(child)
        return enter(child, Stopped(), now), dropped
    if isinstance(event, SpawnRefused) and event.obstacle.what == "config":
        return repair.lacking(child, event.obstacle, event.guarded, now)
    if obstacle is not None:
        return enter(child, Blocked(obstacle), now), (Watch(child.name, obstacle),)
    if isinstance(event, SpawnFailed) and event.cut_short:
        return enter(child, Queued(now), now), ()
    reason = event.reason if isinstance(event, SpawnFailed) else ""
    return enter(child, Backoff(now + SPAWN_AGAIN_S, f"cannot start: {reason}"), now), ()


def _adopted(child: Child, event: Adopted, now: float) -> Step:
    life = life_of(child.state)
    if life is not None and life.number != event.life:
        return child, (_impossible(child, event),)
    unwatch = _unwatch(child)
    if isinstance(child.state, Repairing):
        child, unwatch = repair.dropped(child)
    if life is not None:
        life = replace(life, pid=event.pid, start_ticks=event.start_ticks, adopted=True)
        child = replace(child, state=_with_life(child.state, life), spawns=max(1, child.spawns))
    else:
        life = Life(event.life, now, event.pid, event.start_ticks, adopted=True)
        rule = start_rule(child)
        state = Starting(life, ready_by=now + min(rule.timeout, rule.cap), progressed=now)
        child = replace(enter(child, state, now), lives=max(child.lives, event.life), spawns=max(1, child.spawns))
    match child.state:
        case Hung() | Stopping():
            # The brain that decided this may have died before it said so.
            return child, (Terminate(child.name, life.number),)
        case _ if not child.wanted:
            child, actions = down(child, now, at_once=False)
            return child, (*unwatch, *actions)
        case Starting() as state:
            # Its time may be up, but nobody was there to ask it: it is asked once before that counts.
            asked_by = now + probe_rule(child).timeout
            child = replace(child, state=replace(state, ready_by=max(state.ready_by, asked_by)))
            return child, (*unwatch, Probe(child.name, life.number, "start", now))
        case _:
            return child, (Probe(child.name, life.number, "health", now),)


def _exited(child: Child, event: Exited, now: float) -> Step:
    life = life_of(child.state)
    if life is None or life.number != event.life:
        return child, (_impossible(child, event),)
    return exits.ended(child, life, event, now)


def _obstacle_changed(child: Child, event: ObstacleChanged, now: float) -> Step:
    # Only a reload mends a definition, and only time or an operator ends a contest: such news is of an earlier obstacle.
    if not isinstance(child.state, Blocked) or child.state.obstacle.what in ("definition", "contested"):
        return child, ()
    if event.obstacle is None:
        edited = child.state.obstacle.what == "config"
        state = Queued(now) if edited else exits.when_allowed(child, now)
        return enter(child, state, now), (Unwatch(child.name),)
    if event.obstacle == child.state.obstacle:
        return child, ()
    return enter(child, Blocked(event.obstacle), now), (Watch(child.name, event.obstacle),)


def _start_asked(child: Child, now: float) -> Step:
    child = replace(child, wanted=True, held=False, terms=())
    if child.closing or life_of(child.state) is not None:
        return child, ()
    match child.state:
        case Stopped() if child.broken is not None:
            return enter(child, Blocked(child.broken), now), ()
        case Blocked(obstacle=obstacle) if obstacle.what == "definition":
            return child, ()
        case Repairing():
            return child, ()
        case _:
            return enter(child, Queued(now, urgent=True), now), _unwatch(child)


def _restart_asked(child: Child, now: float) -> Step:
    if child.closing or life_of(child.state) is None or isinstance(child.state, Stopping):
        return _start_asked(child, now)
    return down(replace(child, wanted=True, held=False, terms=()), now, at_once=False)


def down(child: Child, now: float, *, at_once: bool) -> Step:
    """Towards having no process; whether it comes back is for `wanted` to say."""
    state = child.state
    match state:
        case Stopped():
            return child, ()
        case Queued() | Backoff() | Failed() | Blocked() | Repairing():
            unwatch = _unwatch(child)
            child, dropped = repair.dropped(child)
            return enter(child, Stopped(), now), (*unwatch, *dropped)
        case Stopping() if not at_once:
            return child, ()
        case Starting(life=life) | Ready(life=life) | Degraded(life=life) | Hung(life=life) | Stopping(life=life):
            life = replace(life, ready_s=ready_seconds(child, now))
            if at_once:
                return enter(child, Stopping(life, now + KILL_AGAIN_S), now), (Kill(child.name, life.number),)
            kill_at = now + stop_rule(child).timeout
            if isinstance(state, Hung):
                kill_at = min(kill_at, state.kill_at)
            return enter(child, Stopping(life, kill_at), now), (Terminate(child.name, life.number),)
        case _:
            assert_never(state)


def _unwatch(child: Child) -> tuple[Action, ...]:
    return (Unwatch(child.name),) if isinstance(child.state, Blocked) else ()


def _with_life(state: State, life: Life) -> State:
    match state:
        case Starting() | Ready() | Degraded() | Hung() | Stopping():
            return replace(state, life=life)
        case _:
            return state


def _impossible(child: Child, event: ChildEvent) -> Report:
    return Report(child.name, f"{event.kind} cannot happen to a {child.state.kind} child: {event}")
