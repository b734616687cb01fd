"""The life of one child: every state, every event, one function.

Theory of operation. `step` is total: it never raises, never waits, never reads a clock. Everything that moves a child from
one state to another is in this file and in exits.py, which says what follows the end of a life. `stopped`, `queued`,
`backoff`, `failed` and `blocked` have no process; `starting`, `ready`, `degraded`, `hung` and `stopping` have exactly one,
the life they carry. An event about another life than that is old news. What cannot happen changes nothing and is reported:
a supervisor must not die of surprise.

Only the fleet lets a queued child start (`start`), since only the fleet knows whose turn it is.
"""

from dataclasses import replace
from typing import assert_never

from supervisor.policy import exits
from supervisor.policy.definition import Probe as ProbeRule
from supervisor.policy.definition import Start, Stop
from supervisor.policy.exits import Step
from supervisor.policy.messages import (
    Action,
    Adopted,
    Answer,
    ChildEvent,
    ConsumeHandoff,
    Exited,
    HandoffAnswered,
    Kill,
    ObstacleChanged,
    Probe,
    Probed,
    Report,
    RestartAsked,
    Spawn,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    StartAsked,
    StopAsked,
    Terminate,
    Unwatch,
    Watch,
)
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
    Starting,
    State,
    Stopped,
    Stopping,
    life_of,
    ready_seconds,
)

# A hung process mostly cannot hear SIGTERM, so it is given this long to prove otherwise, not its whole drain.
HUNG_GRACE_S = 10.0
# What survived SIGKILL once is in the kernel's hands; it is tried again at this interval.
KILL_AGAIN_S = 5.0
# A machine that cannot fork now is asked again after this long; it is nobody's failure.
SPAWN_AGAIN_S = 5.0
# A start that did something within so many seconds still makes progress.
PROGRESS_S = 60.0
# While a gateway starts, it is asked this often: quick at first, then a second apart.
START_PROBE_MIN_S = 0.05
START_PROBE_MAX_S = 1.0
# A gateway that is started but not ready is asked more often than a ready one, for its first minute.
DEGRADED_PROBE_S = 2.0
# `restart-handoff consume` believes a row for 60 s.
HANDOFF_VALID_S = 60.0


def step(child: Child, event: ChildEvent, now: float) -> Step:
    """The child after the event, and what to do about it."""
    match event:
        case Spawned():
            return _spawned(child, event, now)
        case SpawnRefused():
            return _spawn_refused(child, event, now)
        case SpawnFailed():
            return _spawn_failed(child, event, now)
        case Adopted():
            return _adopted(child, event, now)
        case Exited():
            return _exited(child, event, now)
        case Probed():
            return _probed(child, event, now)
        case ObstacleChanged():
            return _obstacle_changed(child, event, now)
        case HandoffAnswered():
            return _handoff_answered(child, event, now)
        case StartAsked():
            return _start_asked(child, now)
        case StopAsked():
            return _stop_asked(child, now, at_once=event.at_once)
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
    state = Starting(life, ready_by=now + definition.start.timeout, progressed=now)
    child = replace(
        child,
        definition=definition,
        pending=None,
        lives=life.number,
        spawns=child.spawns + 1,
        warnings=(),
    )
    return _enter(child, state, now), (Spawn(child.name, life.number),)


def tick(child: Child, now: float) -> Step:
    """The child after its deadline, if that has passed; else unchanged."""
    deadline = wake_at(child)
    if deadline is None or now < deadline:
        return child, ()
    state = child.state
    match state:
        case Starting():
            return _start_overdue(child, state, now)
        case Hung():
            state = replace(state, kill_at=now + KILL_AGAIN_S)
            return replace(child, state=state), (Kill(child.name, state.life.number),)
        case Stopping():
            state = replace(state, kill_at=now + KILL_AGAIN_S)
            return replace(child, state=state), (Kill(child.name, state.life.number),)
        case Backoff() | Failed():
            return _enter(child, Queued(now), now), ()
        case Blocked():
            return _enter(child, Queued(now), now), (Unwatch(child.name),)
        case Stopped() | Queued() | Ready() | Degraded():
            return child, ()
        case _:
            assert_never(state)


def wake_at(child: Child) -> float | None:
    """The next instant at which the child itself must be looked at, or None."""
    match child.state:
        case Starting(ready_by=at) | Hung(kill_at=at) | Stopping(kill_at=at) | Backoff(until=at) | Failed(until=at):
            return at
        case Blocked(until=until):
            return until
        case _:
            return None


def close(child: Child, now: float, *, at_once: bool) -> Step:
    """The supervisor ends: down with it, whatever is wanted afterwards."""
    return _down(replace(child, closing=True), now, at_once=at_once)


def _spawned(child: Child, event: Spawned, now: float) -> Step:
    state = child.state
    if isinstance(state, Starting) and state.life.number == event.life:
        life = replace(state.life, pid=event.pid, start_ticks=event.start_ticks)
        child = replace(child, state=replace(state, life=life), warnings=event.warnings)
        return child, (Probe(child.name, life.number, "start", now + START_PROBE_MIN_S),)
    if isinstance(state, Stopping) and state.life.number == event.life:
        life = replace(state.life, pid=event.pid, start_ticks=event.start_ticks)
        return replace(child, state=replace(state, life=life)), (Terminate(child.name, life.number),)
    return child, (Kill(child.name, event.life), _impossible(child, event))


def _spawn_refused(child: Child, event: SpawnRefused, now: float) -> Step:
    if not _about(child, event.life):
        return child, (_impossible(child, event),)
    child = replace(child, spawns=child.spawns - 1)
    if not child.wanted or child.closing:
        return _enter(child, Stopped(), now), ()
    return _enter(child, Blocked(event.obstacle), now), (Watch(child.name, event.obstacle),)


def _spawn_failed(child: Child, event: SpawnFailed, now: float) -> Step:
    if not _about(child, event.life):
        return child, (_impossible(child, event),)
    child = replace(child, spawns=child.spawns - 1)
    if not child.wanted or child.closing:
        return _enter(child, Stopped(), now), ()
    return _enter(child, Backoff(now + SPAWN_AGAIN_S, f"cannot start: {event.reason}"), now), ()


def _adopted(child: Child, event: Adopted, now: float) -> Step:
    life = life_of(child.state)
    if life is not None and life.number == event.life:
        life = replace(life, pid=event.pid, start_ticks=event.start_ticks, adopted=True)
        child = replace(child, state=_with_life(child.state, life), spawns=max(1, child.spawns))
    else:
        life = Life(event.life, now, event.pid, event.start_ticks, adopted=True)
        timeout = _start_rule(child).timeout
        state = Starting(life, ready_by=now + timeout, progressed=now)
        child = replace(_enter(child, state, now), lives=max(child.lives, event.life), spawns=max(1, child.spawns))
    if not child.wanted:
        return _down(child, now, at_once=False)
    match child.state:
        case Starting():
            return child, (Probe(child.name, life.number, "start", now),)
        case Ready() | Degraded():
            return child, (Probe(child.name, life.number, "health", now),)
        case _:
            return child, (Terminate(child.name, life.number),)


def _exited(child: Child, event: Exited, now: float) -> Step:
    life = life_of(child.state)
    if life is None or life.number != event.life:
        return child, (_impossible(child, event),)
    return exits.ended(child, life, event, now)


def _probed(child: Child, event: Probed, now: float) -> Step:
    if not _about(child, event.life):
        return child, ()
    state = child.state
    match state:
        case Starting():
            return _probed_starting(child, state, event.answer, now)
        case Ready() | Degraded():
            return _probed_started(child, state, event.answer, now)
        case _:
            return child, ()


def _probed_starting(child: Child, state: Starting, answer: Answer, now: float) -> Step:
    if answer.started:
        life = replace(state.life, started=now)
        child, actions = _answered(replace(child, state=replace(state, life=life)), life, answer, now)
        return _consume(child, life, actions, now)
    grew = answer.progress > state.progress
    state = replace(
        state,
        progress=max(state.progress, answer.progress),
        progressed=now if grew else state.progressed,
        detail=answer.detail,
    )
    pause = min(START_PROBE_MAX_S, max(START_PROBE_MIN_S, (now - state.life.begun) / 5))
    return replace(child, state=state), (Probe(child.name, state.life.number, "start", now + pause),)


def _probed_started(child: Child, state: Ready | Degraded, answer: Answer, now: float) -> Step:
    if answer.live:
        return _answered(child, state.life, answer, now)
    rule = _probe_rule(child)
    misses = state.misses + 1
    if misses >= rule.failures:
        why = f"{answer.detail or 'no answer'} ({misses} probes in a row)"
        return _hang(child, state, why, now)
    asked = max(now, state.asked + rule.interval)
    state = replace(state, misses=misses, asked=asked)
    return replace(child, state=state), (Probe(child.name, state.life.number, "health", asked),)


def _answered(child: Child, life: Life, answer: Answer, now: float) -> Step:
    """A live answer: ready or degraded, and the next probe."""
    interval = _probe_rule(child).interval
    child = _forget_handoff(child, life, now)
    if answer.ready is not False:
        asked = now + interval
        if isinstance(child.state, Ready):
            child = replace(child, state=replace(child.state, misses=0, asked=asked))
        else:
            child = _enter(child, Ready(life, now, asked), now)
        return child, (Probe(child.name, life.number, "health", asked),)
    why = answer.detail or "/readyz says no"
    fresh = not isinstance(child.state, Degraded) or now - child.state.since < PROGRESS_S
    asked = now + (min(interval, DEGRADED_PROBE_S) if fresh else interval)
    if isinstance(child.state, Degraded):
        child = replace(child, state=replace(child.state, misses=0, asked=asked, why=why))
    else:
        spent = replace(life, ready_s=ready_seconds(child, now))
        child = _enter(child, Degraded(spent, now, asked, why), now)
    return child, (Probe(child.name, life.number, "health", asked),)


def _forget_handoff(child: Child, life: Life, now: float) -> Child:
    """A question that was never answered no longer matters once a later life has been stable."""
    handoff = child.handoff
    if handoff is None or not handoff.asked or ready_seconds(child, now) < exits.restart_rule(child).stable:
        return child
    return replace(child, handoff=None) if handoff.life < life.number else child


def _consume(child: Child, life: Life, actions: tuple[Action, ...], now: float) -> Step:
    """The successor of an exit 0 is started: now, and only once, OpenClaw is asked whether it was a handoff."""
    handoff = child.handoff
    if handoff is None or handoff.asked or handoff.life >= life.number:
        return child, actions
    child = replace(child, handoff=replace(handoff, asked=True))
    if now - handoff.at >= HANDOFF_VALID_S or handoff.pid == 0:
        return child, actions
    return child, (*actions, ConsumeHandoff(child.name, handoff.life, handoff.pid))


def _handoff_answered(child: Child, event: HandoffAnswered, now: float) -> Step:
    handoff = child.handoff
    if handoff is None or handoff.life != event.life or event.accepted is None:
        return child, ()
    if event.accepted:
        return replace(child, handoff=None, score=handoff.score), ()
    # Nobody asked OpenClaw to restart, so an exit 0 means that somebody else sent it a SIGTERM.
    return replace(child, handoff=None, terms=(*child.terms, handoff.at)), ()


def _obstacle_changed(child: Child, event: ObstacleChanged, now: float) -> Step:
    if not isinstance(child.state, Blocked):
        return child, ()
    if event.obstacle is None:
        return _enter(child, Queued(now), now), (Unwatch(child.name),)
    if event.obstacle == child.state.obstacle:
        return child, ()
    return _enter(child, Blocked(event.obstacle), now), (Watch(child.name, event.obstacle),)


def _start_asked(child: Child, now: float) -> Step:
    child = replace(child, wanted=True, held=False, terms=())
    if child.closing or life_of(child.state) is not None:
        return child, ()
    unwatch = (Unwatch(child.name),) if isinstance(child.state, Blocked) else ()
    if child.definition is None and child.pending is None:
        return child, ()
    return _enter(child, Queued(now, urgent=True), now), unwatch


def _restart_asked(child: Child, now: float) -> Step:
    if life_of(child.state) is None or isinstance(child.state, Stopping):
        return _start_asked(child, now)
    child = replace(child, wanted=True, held=False, terms=())
    return _down(child, now, at_once=False)


def _stop_asked(child: Child, now: float, *, at_once: bool) -> Step:
    return _down(replace(child, wanted=False, held=True), now, at_once=at_once)


def _down(child: Child, now: float, *, at_once: bool) -> Step:
    state = child.state
    match state:
        case Stopped():
            return child, ()
        case Queued() | Backoff() | Failed():
            return _enter(child, Stopped(), now), ()
        case Blocked():
            return _enter(child, Stopped(), now), (Unwatch(child.name),)
        case Stopping() if not at_once:
            return child, ()
        case Starting(life=life) | Ready(life=life) | Degraded(life=life) | Hung(life=life) | Stopping(life=life):
            life = replace(life, ready_s=ready_seconds(child, now))
            if at_once:
                return _enter(child, Stopping(life, now + KILL_AGAIN_S), now), (Kill(child.name, life.number),)
            grace = _stop_rule(child).timeout
            return _enter(child, Stopping(life, now + grace), now), (Terminate(child.name, life.number),)
        case _:
            assert_never(state)


def _start_overdue(child: Child, state: Starting, now: float) -> Step:
    rule = _start_rule(child)
    cap_at = state.life.begun + max(rule.cap, rule.timeout)
    if now < cap_at and now - state.progressed < PROGRESS_S:
        return replace(child, state=replace(state, ready_by=min(cap_at, state.progressed + PROGRESS_S))), ()
    why = f"not started after {now - state.life.begun:.0f} s" + (f": {state.detail}" if state.detail else "")
    return _hang(child, state, why, now)


def _hang(child: Child, state: Starting | Ready | Degraded, why: str, now: float) -> Step:
    life = replace(state.life, ready_s=ready_seconds(child, now))
    grace = min(HUNG_GRACE_S, _stop_rule(child).timeout)
    return _enter(child, Hung(life, now + grace, why), now), (Terminate(child.name, life.number),)


def _enter(child: Child, state: State, now: float) -> Child:
    return replace(child, state=state, since=now)


def _with_life(state: State, life: Life) -> State:
    match state:
        case Starting() | Ready() | Degraded() | Hung() | Stopping():
            return replace(state, life=life)
        case _:
            return state


def _about(child: Child, life: int) -> bool:
    present = life_of(child.state)
    return present is not None and present.number == life


def _impossible(child: Child, event: ChildEvent) -> Report:
    return Report(child.name, f"{event.kind} cannot happen to a {child.state.kind} child: {event}")


def _start_rule(child: Child) -> Start:
    return child.definition.start if child.definition is not None else Start()


def _stop_rule(child: Child) -> Stop:
    return child.definition.stop if child.definition is not None else Stop()


def _probe_rule(child: Child) -> ProbeRule:
    return child.definition.probe if child.definition is not None else ProbeRule()
