"""An exit has a cause, and the cause decides what comes next (DESIGN.md §3, the table of causes)."""

from dataclasses import replace
from typing import assert_never

from supervisor.openclaw import exits as code
from supervisor.policy import backoff, repair
from supervisor.policy.actions import Action, Incident, Sweep, Watch
from supervisor.policy.definition import Restart
from supervisor.policy.events import Exited
from supervisor.policy.facts import Cause, Obstacle
from supervisor.policy.rules import restart_rule
from supervisor.policy.sentence import ending
from supervisor.policy.state import (
    Backoff,
    Blocked,
    Child,
    Failed,
    Handoff,
    Hung,
    LastExit,
    Life,
    Queued,
    State,
    Stopped,
    Stopping,
    life_of,
    ready_seconds,
)

SIGKILL = 9
SIGTERM = 15
CONTEST_TERMS = 3
CONTEST_WINDOW_S = 300.0

Step = tuple[Child, tuple[Action, ...]]


def judge(child: Child, life: Life, event: Exited) -> Cause:
    """Why the life ended: what we had done, what the machine showed right after, and only then what the gateway said."""
    if isinstance(child.state, Stopping):
        return Cause.ASKED
    if isinstance(child.state, Hung):
        return child.state.cause
    if event.obstacle is not None and (
        life.started is None or event.code == code.CONFIG or event.obstacle.cause is Cause.MISSING
    ):
        return event.obstacle.cause
    # An exit 0 without a word may be a SIGTERM too, unless the gateway says that it wants a new process.
    quiet = event.code == code.OK and life.started is not None and event.heard != "restart"
    if (quiet or _terminated_by_another(event)) and len(child.terms) + 1 >= CONTEST_TERMS:
        return Cause.CONTESTED
    if event.code == code.OK and life.started is not None and child.handoff is None:
        return Cause.HANDOFF
    if event.code == code.FAILURE and event.upgraded and life.started is not None:
        return Cause.UPGRADED
    if event.code == code.CONFIG:
        return Cause.CONFIG
    return Cause.CRASH


def ended(child: Child, life: Life, event: Exited, now: float) -> Step:
    """The child after its life is over, whatever the reason."""
    child = replace(child, terms=tuple(at for at in child.terms if now - at < CONTEST_WINDOW_S))
    cause = judge(child, life, event)
    if _terminated_by_another(event) and cause not in (Cause.ASKED, Cause.HUNG, Cause.PARKED):
        child = replace(child, terms=(*child.terms, now))
    if _is_unclean(life, event, cause):
        child = replace(child, boots=(*backoff.recent(child.boots, now, restart_rule(child)), now))
    child = replace(child, last_exit=LastExit(event.code, event.signal, cause, now, now - life.begun), warnings=())
    incident = _incident(child, life, event, cause, now)
    child, state, actions = _next_state(child, life, event, cause, now)
    if not child.wanted or child.closing:
        child, actions = repair.dropped(child)
        state = Stopped()
    child = replace(child, state=state, since=now)
    return child, (*incident, Sweep(child.name, life.number), *actions)


def served_seconds(child: Child, now: float) -> float:
    """How long the present life has been up, ready or degraded, in seconds.

    That is what decays the score: /readyz only informs, and an account that is broken for weeks shall not turn one crash a day
    into a failure. *Stable* still takes being ready.
    """
    life = life_of(child.state)
    if life is None or life.started is None:
        return 0.0
    return (child.since if isinstance(child.state, Hung | Stopping) else now) - life.started


def rested(child: Child, served_s: float) -> Child:
    """The child after so many seconds of serving, which count however the life then ended."""
    handoff = child.handoff
    if handoff is not None:
        handoff = replace(handoff, score=backoff.rested(handoff.score, served_s))
    return replace(child, score=backoff.rested(child.score, served_s), handoff=handoff)


def counted(child: Child) -> Child:
    """The child with one more exit on its score, and on the score that it would have without its handoff."""
    handoff = child.handoff
    if handoff is not None:
        handoff = replace(handoff, score=handoff.score + 1)
    return replace(child, score=child.score + 1, handoff=handoff)


def wait(child: Child, ready_s: float, now: float, why: str) -> State:
    """Backoff or, at the cap, failed: which is the same wait under a name that says that nobody should wait for it."""
    rule = restart_rule(child)
    delay = backoff.delay(child.score, ready_s, rule)
    allowed = backoff.burst_over(child.boots, now, rule)
    until = max(now + delay, allowed)
    if until <= now:
        return Queued(now)
    if allowed > now + delay:
        why = f"{why}; {_burst_text(rule)}"
    rescue = child.definition is not None and child.definition.role == "rescue"
    if delay >= rule.cap and not rescue:
        return Failed(until, why)
    return Backoff(until, why)


def when_allowed(child: Child, now: float) -> State:
    """A start that nobody waits for: its turn at once, unless OpenClaw's own breaker would trip."""
    rule = restart_rule(child)
    allowed = backoff.burst_over(child.boots, now, rule)
    return Queued(now) if allowed <= now else Backoff(allowed, _burst_text(rule))


def contested(child: Child, rival: str, now: float) -> Blocked:
    """Somebody else keeps stopping it: fighting back would be a restart storm."""
    rule = restart_rule(child)
    by = f"; {rival} is this gateway too" if rival else ""
    obstacle = Obstacle(
        what="contested",
        cause=Cause.CONTESTED,
        reason=f"{CONTEST_TERMS} SIGTERMs in five minutes that did not come from this supervisor{by}",
        mend=f"disable what else manages this gateway (clawsup doctor looks for it), then: clawsup start {child.name}",
        key="contested",
    )
    return Blocked(obstacle, until=max(now + rule.cap, backoff.burst_over(child.boots, now, rule)))


def _burst_text(rule: Restart) -> str:
    return f"one more unclean boot than {rule.burst} in {rule.window:g} s makes OpenClaw switch its channels off"


def _terminated_by_another(event: Exited) -> bool:
    return event.signal == SIGTERM or event.code == code.SIGTERM_BY_SHELL or event.heard == "term"


def _is_unclean(life: Life, event: Exited, cause: Cause) -> bool:
    """Whether OpenClaw counts the boot that ended so as an unclean one."""
    match cause:
        case Cause.ASKED:
            return event.signal == SIGKILL
        case Cause.HANDOFF | Cause.UPGRADED:
            return False
        case Cause.CRASH | Cause.HUNG | Cause.PARKED | Cause.CONTESTED:
            return True
        case Cause.CONFIG | Cause.CONFLICT | Cause.MISSING:
            return life.bound or life.started is not None or event.code != code.CONFIG
        case _:
            assert_never(cause)


def _next_state(
    child: Child, life: Life, event: Exited, cause: Cause, now: float
) -> tuple[Child, State, tuple[Action, ...]]:
    ready_s = ready_seconds(child, now)
    child = rested(child, served_seconds(child, now))
    match cause:
        case Cause.ASKED | Cause.UPGRADED:
            return child, Queued(now), ()
        case Cause.HANDOFF:
            handoff = Handoff(life.number, life.pid or 0, now, child.score)
            return replace(counted(child), handoff=handoff), Queued(now), ()
        case Cause.CRASH | Cause.HUNG | Cause.PARKED:
            child = counted(child)
            return child, wait(child, ready_s, now, _why(child, cause, event)), ()
        case Cause.CONTESTED:
            return counted(child), contested(child, event.rival, now), ()
        case Cause.CONFIG:
            moved = event.guarded.moved and child.repair is None
            if life.started is not None or moved:
                child = counted(child)
            if not child.wanted or child.closing:
                return child, Stopped(), ()
            if moved:
                return child, wait(child, ready_s, now, "its config changed while it started"), ()
            child, actions = repair.refused(child, _config_obstacle(child, event), event.guarded, now)
            return child, child.state, actions
        case Cause.CONFLICT | Cause.MISSING:
            return _blocked(child, event.obstacle or _config_obstacle(child, event))
        case _:
            assert_never(cause)


def _incident(child: Child, life: Life, event: Exited, cause: Cause, now: float) -> tuple[Action, ...]:
    """What nobody asked for is written down; what a rung's start comes to belongs to the incident that is open."""
    if cause in (Cause.ASKED, Cause.HANDOFF, Cause.UPGRADED) or (cause is Cause.CONFIG and child.repair is not None):
        return ()
    why = event.obstacle.reason if event.obstacle is not None and cause is event.obstacle.cause else ""
    why = child.state.why if isinstance(child.state, Hung) else why or event.guarded.other
    return (Incident(child.name, life.number, cause, event.code, event.signal, now - life.begun, why),)


def _blocked(child: Child, obstacle: Obstacle) -> tuple[Child, State, tuple[Action, ...]]:
    return child, Blocked(obstacle), (Watch(child.name, obstacle),)


def _why(child: Child, cause: Cause, event: Exited) -> str:
    if cause in (Cause.HUNG, Cause.PARKED) and isinstance(child.state, Hung):
        return child.state.why
    return ending(event.code, event.signal)


def _config_obstacle(child: Child, event: Exited) -> Obstacle:
    path = child.definition.config_path if child.definition is not None else "its config file"
    if not event.config_key:
        return Obstacle(
            what="config",
            cause=Cause.CONFIG,
            reason=f"there is no {path}",
            mend=f"clawsup exec {child.name} -- openclaw onboard",
            key="",
        )
    return Obstacle(
        what="config",
        cause=Cause.CONFIG,
        reason=f"OpenClaw refuses {path} (exit {event.code})",
        mend=f"see clawsup logs {child.name}, then edit the file: the gateway starts by itself",
        key=event.config_key,
    )
