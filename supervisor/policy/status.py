"""What an operator is shown of a child: one entry of `status --json` (INTERFACE.md §5), and the reason in words."""

from collections.abc import Callable
from typing import TypedDict

from supervisor.policy import repair
from supervisor.policy.facts import Obstacle
from supervisor.policy.fleet import Fleet, in_order
from supervisor.policy.state import (
    Backoff,
    Blocked,
    Child,
    Degraded,
    Failed,
    Hung,
    Queued,
    Ready,
    Repairing,
    Starting,
    Stopped,
    Stopping,
    life_of,
    public,
)


class LastExitEntry(TypedDict):
    """How the last life ended; `ran_s` in seconds."""

    code: int | None
    signal: int | None
    cause: str
    at: str
    ran_s: float


class GatewayEntry(TypedDict):
    """One gateway; the keys of INTERFACE.md §5, and `mend`, `warnings`, `started_at` and `orphaned` beside them."""

    name: str
    role: str | None
    state: str
    wanted: bool
    pid: int | None
    adopted: bool
    port: int | None
    since: str
    restarts: int
    reason: str | None
    last_exit: LastExitEntry | None
    next_retry_at: str | None
    rss_bytes: int
    config: str
    mend: str | None
    warnings: list[str]
    started_at: str | None
    orphaned: bool


def entry(child: Child, fleet: Fleet, *, at: Callable[[float], str], rss_bytes: int, config: str) -> GatewayEntry:
    """The child as `status` shows it; `at` turns an instant of the monotonic clock into UTC text."""
    life = life_of(child.state)
    definition = child.definition
    ended = child.last_exit
    retry = _retry(child)
    return GatewayEntry(
        name=child.name,
        role=definition.role if definition else None,
        state=public(child.state),
        wanted=child.wanted,
        pid=life.pid if life else None,
        adopted=life is not None and life.adopted,
        port=definition.port if definition else None,
        since=at(child.since),
        restarts=max(0, child.spawns - 1),
        reason=reason(child, fleet),
        last_exit=None
        if ended is None
        else LastExitEntry(
            code=ended.code,
            signal=ended.signal,
            cause=str(ended.cause),
            at=at(ended.at),
            ran_s=round(ended.ran_s, 3),
        ),
        next_retry_at=None if retry is None else at(retry),
        rss_bytes=rss_bytes,
        config=config,
        mend=_mend(child),
        warnings=[*child.warnings, *_warnings(child)],
        started_at=at(life.started) if life and life.started is not None else None,
        orphaned=child.orphaned,
    )


def reason(child: Child, fleet: Fleet) -> str | None:
    """Why it is as it is, where that is not plain."""
    match child.state:
        case Blocked(obstacle=obstacle):
            return obstacle.reason
        case Degraded(why=why) | Hung(why=why) | Backoff(why=why) | Failed(why=why):
            return why
        case Queued(urgent=urgent):
            gated = fleet.rescue_by is not None and not urgent
            return "waits for the rescue to start" if gated else "waits for its turn to start"
        case Starting(detail=detail):
            return detail or None
        case Stopped():
            if child.held:
                return "stopped by the operator"
            return None if child.wanted else "its definition is gone" if child.orphaned else "not enabled"
        case Repairing(rung=rung):
            return f"its config was refused: {repair.words(rung)}"
        case Ready() | Stopping():
            return None


def headline(fleet: Fleet) -> str:
    """The whole fleet in a line that anyone on the host may read: states and kinds of trouble, nothing that others said."""
    wanted = [child for child in in_order(fleet.children.values()) if child.wanted]
    ready = [child for child in wanted if isinstance(child.state, Ready)]
    wrong = [f"{child.name} {_trouble(child)}" for child in wanted if child not in ready]
    if fleet.closing:
        left = [child.name for child in in_order(fleet.children.values()) if life_of(child.state) is not None]
        return f"stopping: {', '.join(left)}" if left else "stopped"
    if not wanted:
        return "no gateway is wanted"
    return f"{len(ready)}/{len(wanted)} ready" + (f": {', '.join(wrong)}" if wrong else "")


def _trouble(child: Child) -> str:
    state = public(child.state)
    return f"{state} ({child.state.obstacle.what})" if isinstance(child.state, Blocked) else state


def _retry(child: Child) -> float | None:
    match child.state:
        case Backoff(until=until) | Failed(until=until) | Blocked(until=until):
            return until
        case _:
            return None


def _mend(child: Child) -> str | None:
    obstacle: Obstacle | None = child.state.obstacle if isinstance(child.state, Blocked) else child.broken
    if obstacle is None:
        return None
    # Nobody watches definitions: they are read when that is asked for.
    return f"{obstacle.mend}; then: clawsup reload" if obstacle.what == "definition" else obstacle.mend


def _warnings(child: Child) -> list[str]:
    found = []
    if child.broken is not None and not isinstance(child.state, Blocked):
        found.append(f"runs on its last good definition: {child.broken.reason}")
    if child.pending is not None:
        found.append("its definition changed; the change applies from the next start")
    if child.orphaned:
        runs_on = f"; it runs on until: clawsup stop {child.name}" if life_of(child.state) is not None else ""
        found.append(f"its definition is gone{runs_on}")
    return found
