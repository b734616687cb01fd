"""When a probe's silence says nothing about the gateway: the host slept, we stood still, or nobody had a CPU to answer with.

Measured (RELIABILITY.md Q6): with 40 spinners beside a healthy gateway these discounts bring needless kills from 13 to 0. A
process that is stopped (state T) is never excused, nor one that gets CPU and still does not answer.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Excuse: TypeAlias = Literal["", "slept", "stalled", "starved"]

_SLEPT_S = 0.5
_LATE_S = 1.0
# Of the time between two looks, so much spent waiting for a CPU by the gateway, or by somebody on the host, is starvation.
_WAITED = 0.5
_HOST_WAITED = 0.5
# A gateway that ran for so much of the time was not starved, however busy the host is.
_RAN = 0.5


@dataclass(frozen=True, slots=True)
class Load:
    """What the machine shows at one instant; times are seconds, running sums where not said otherwise.

    `asleep` is what the host has slept since its boot, `waited` how long the gateway has waited for a CPU, `ran` how long it had
    one, `pressed` how long somebody on the host waited for one; None where the kernel does not tell. `state` is the letter of
    /proc/PID/stat.
    """

    at: float
    asleep: float
    ran: float
    waited: float | None = None
    pressed: float | None = None
    state: str = ""


def excuse(before: Load, after: Load, *, due: float, timeout: float) -> Excuse:
    """Why a probe that was due at `due`, and asked between the two looks, may have failed without the gateway's fault."""
    if after.state == "T":
        return ""
    if after.asleep - before.asleep > _SLEPT_S:
        return "slept"
    if before.at - due > timeout or after.at - before.at > timeout + _LATE_S:
        return "stalled"
    took = after.at - before.at
    if took <= 0 or (after.ran - before.ran) / took > _RAN:
        return ""
    waited = after.waited is not None and before.waited is not None and (after.waited - before.waited) / took > _WAITED
    pressed = (
        after.pressed is not None
        and before.pressed is not None
        and (after.pressed - before.pressed) / took > _HOST_WAITED
    )
    # The kernel books a wait only when it is over: a runnable process that got nothing is still waiting.
    queued = after.state == "R" and after.ran == before.ran
    return "starved" if waited or queued or pressed else ""
