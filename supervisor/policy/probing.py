"""What follows from an answer or from silence: probes, a start that takes too long, a hang, a handoff."""

from dataclasses import replace

from supervisor.policy import repair
from supervisor.policy.actions import Action, ConsumeHandoff, Evidence, Probe, Promote, Terminate
from supervisor.policy.discount import Excuse
from supervisor.policy.events import ConfigPromoted, HandoffAnswered, Probed
from supervisor.policy.exits import Step, served_seconds
from supervisor.policy.facts import Answer, Cause
from supervisor.policy.rules import probe_rule, restart_rule, start_rule, stop_rule
from supervisor.policy.state import Child, Degraded, Hung, Life, Ready, RunsOn, Starting, enter, life_of, ready_seconds

# A hung process mostly cannot hear SIGTERM, so it is given this long to prove otherwise, not its whole drain.
HUNG_GRACE_S = 10.0
# A start that did something within so many seconds (or within its timeout, where that is shorter) still makes progress.
PROGRESS_S = 60.0
# While a gateway starts, it is asked this often: quick at first, then a second apart.
START_PROBE_MIN_S = 0.05
START_PROBE_MAX_S = 1.0
# A gateway that is started but not ready is asked more often than a ready one, for its first minute.
DEGRADED_PROBE_S = 2.0
DEGRADED_FRESH_S = 60.0
# `restart-handoff consume` believes a row for 60 s.
HANDOFF_VALID_S = 60.0
# Beside a start it takes CPU away, so it waits for the end of that; but from here on no longer, or a slow start outlasts the row.
HANDOFF_LATEST_S = 20.0
# A started gateway that takes no connection for so long is parked: with the probe before, that is found within a minute.
PARKED_S = 45.0
PARKED_PROBE_S = 15.0
# Silence that has an excuse does not count, but for no longer than this many times what it takes to be hung.
PATIENCE = 5


def probed(child: Child, event: Probed, now: float) -> Step:
    """The child after one round of probes; an answer about an earlier life, or one that is ending, is old news."""
    life = life_of(child.state)
    if life is None or life.number != event.life:
        return child, ()
    state = child.state
    match state:
        case Starting():
            return _asked_starting(child, state, event, now)
        case Ready() | Degraded():
            child, actions = _asked_started(child, state, event.answer, now)
            child, promote = _timed(child, event.config_key, now)
            return child, (*promote, *actions)
        case _:
            return child, ()


def start_overdue(child: Child, state: Starting, now: float) -> Step:
    """A start past `ready_by`: longer while it makes progress, never past the cap, else hung."""
    rule = start_rule(child)
    cap_at = state.life.begun + rule.cap
    longer = min(cap_at, state.progressed + min(PROGRESS_S, rule.timeout))
    if now < longer:
        return replace(child, state=replace(state, ready_by=longer)), ()
    why = f"not started after {now - state.life.begun:.0f} s" + (f": {state.detail}" if state.detail else "")
    return _hang(child, state, why, now)


def handoff_answered(child: Child, event: HandoffAnswered) -> Step:
    """An accepted handoff costs nothing; a rejected one was somebody else's SIGTERM; one that cannot be told stays counted."""
    handoff = child.handoff
    if handoff is None or handoff.life != event.life or event.accepted is None:
        return child, ()
    if event.accepted:
        return replace(child, handoff=None, score=handoff.score), ()
    # Nobody asked OpenClaw to restart, so an exit 0 means that somebody else sent it a SIGTERM, unless that is known already.
    terms = child.terms if handoff.at in child.terms else (*child.terms, handoff.at)
    return replace(child, handoff=None, terms=terms), ()


def promoted(child: Child, event: ConfigPromoted) -> Step:
    """A content is kept as good: from now on it is the one that the gateway has accepted."""
    state = child.state
    child = repair.forgiven(child)
    if not isinstance(state, Ready | Degraded) or state.life.number != event.life:
        return child, ()
    runs = state.life.config
    runs = replace(runs, accepted=event.key, promoted=runs.promoted or runs.candidate == event.key)
    life = replace(state.life, config=runs)
    return replace(child, state=replace(state, life=life)), ()


def _asked_starting(child: Child, state: Starting, event: Probed, now: float) -> Step:
    answer = event.answer
    state = replace(state, life=replace(state.life, bound=state.life.bound or answer.live))
    if answer.started:
        config = RunsOn(event.config_key, event.config_key, event.config_key, now)
        life = replace(state.life, started=now, config=config)
        child, actions = _answered(replace(child, state=replace(state, life=life)), life, answer, now)
        child, mended = repair.mended(child)
        child, actions = _consume(child, life, actions, now)
        return child, (*mended, *actions)
    grew = answer.progress > state.progress
    state = replace(
        state,
        progress=max(state.progress, answer.progress),
        progressed=now if grew else state.progressed,
        detail=answer.detail,
    )
    pause = min(START_PROBE_MAX_S, max(START_PROBE_MIN_S, (now - state.life.begun) / 5))
    child, again = replace(child, state=state), (Probe(child.name, state.life.number, "start", now + pause),)
    if child.handoff is None or now - child.handoff.at < HANDOFF_LATEST_S:
        return child, again
    return _consume(child, state.life, again, now)


def _asked_started(child: Child, state: Ready | Degraded, answer: Answer, now: float) -> Step:
    if answer.live:
        return _answered(child, state.life, answer, now)
    rule = probe_rule(child)
    silent = now if state.silent is None else state.silent
    excuse = answer.excuse if now - silent < PATIENCE * rule.failures * rule.interval else ""
    misses = _counted(state.misses, excuse)
    # While nobody looked it may have listened: what is measured by time begins anew, too.
    since = None if excuse in ("slept", "stalled") else state.refused
    refused = None if not answer.refused else now if since is None else since
    if misses >= rule.failures or (refused is not None and now - refused >= PARKED_S):
        why = f"{answer.detail or 'no answer'} ({misses} probes in a row)"
        return _hang(child, state, why, now, Cause.PARKED if answer.refused else Cause.HUNG)
    asked = max(now, state.asked + (rule.interval if refused is None else min(rule.interval, PARKED_PROBE_S)))
    state = replace(state, misses=misses, asked=asked, silent=silent, refused=refused)
    return replace(child, state=state), (Probe(child.name, state.life.number, "health", asked),)


def _counted(misses: int, excuse: Excuse) -> int:
    """The misses in a row with this one: a host that slept or stood still begins anew, a starved one counts nothing."""
    match excuse:
        case "slept" | "stalled":
            return 0
        case "starved":
            return misses
        case _:
            return misses + 1


def _timed(child: Child, key: str, now: float) -> Step:
    """How long the present content of its config has been in use; good after a stable while of being ready."""
    state = child.state
    if not key or not isinstance(state, Ready | Degraded):
        return child, ()
    runs = state.life.config
    if key != runs.candidate:
        runs = RunsOn(runs.booted, runs.accepted, key, now)
    stable = isinstance(state, Ready) and now - max(runs.since, state.since) >= restart_rule(child).stable
    promote: tuple[Action, ...] = ()
    if stable and not runs.promoted:
        # Asked for again until it is done: a disk may be full, and a brain may die in the middle of it.
        promote = (Promote(child.name, state.life.number, key, "booted" if key == runs.booted else "hot"),)
    if runs == state.life.config:
        return child, promote
    return replace(child, state=replace(state, life=replace(state.life, config=runs))), promote


def _answered(child: Child, life: Life, answer: Answer, now: float) -> Step:
    """A live answer: ready or degraded, and the next probe."""
    interval = probe_rule(child).interval
    child = _forget_handoff(child, life, now)
    if answer.ready is not False:
        asked = now + interval
        if isinstance(child.state, Ready):
            child = replace(child, state=replace(child.state, misses=0, asked=asked, silent=None, refused=None))
        else:
            child = enter(child, Ready(life, now, asked), now)
        return child, (Probe(child.name, life.number, "health", asked),)
    why = answer.detail or "/readyz says no"
    fresh = not isinstance(child.state, Degraded) or now - child.state.since < DEGRADED_FRESH_S
    asked = now + (min(interval, DEGRADED_PROBE_S) if fresh else interval)
    if isinstance(child.state, Degraded):
        child = replace(child, state=replace(child.state, misses=0, asked=asked, why=why, silent=None, refused=None))
    else:
        spent = replace(life, ready_s=ready_seconds(child, now))
        child = enter(child, Degraded(spent, now, asked, why), now)
    return child, (Probe(child.name, life.number, "health", asked),)


def _hang(child: Child, state: Starting | Ready | Degraded, why: str, now: float, cause: Cause = Cause.HUNG) -> Step:
    life = replace(state.life, ready_s=ready_seconds(child, now))
    grace = min(HUNG_GRACE_S, stop_rule(child).timeout)
    actions = (Evidence(child.name, life.number), Terminate(child.name, life.number))
    return enter(child, Hung(life, now + grace, why, cause), now), actions


def _forget_handoff(child: Child, life: Life, now: float) -> Child:
    """A question that was never answered no longer matters once a later life has lasted."""
    handoff = child.handoff
    if handoff is None or not handoff.asked or served_seconds(child, now) < restart_rule(child).stable:
        return child
    return replace(child, handoff=None) if handoff.life < life.number else child


def _consume(child: Child, life: Life, actions: tuple[Action, ...], now: float) -> Step:
    """The successor of an exit 0 is started, or long at it: now, and only once, OpenClaw is asked whether it was a handoff."""
    handoff = child.handoff
    if handoff is None or handoff.asked or handoff.life >= life.number:
        return child, actions
    child = replace(child, handoff=replace(handoff, asked=True))
    if now - handoff.at >= HANDOFF_VALID_S or handoff.pid == 0:
        return child, actions
    return child, (*actions, ConsumeHandoff(child.name, handoff.life, handoff.pid))
