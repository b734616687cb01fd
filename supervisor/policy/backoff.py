"""When a fallen gateway is tried again: INTERFACE.md §8, as arithmetic.

A failure score that halves for every hour of serving replaces the usual window with its edges: a crash every 90 s
climbs to the cap, one crash a day costs nothing.
"""

import math
from collections.abc import Sequence

from supervisor.policy.definition import Restart

HALF_LIFE_S = 3600.0
# exp2(1000) is still a float; a score beyond that has long met every cap.
MAX_EXPONENT = 1000.0


def rested(score: float, served_s: float) -> float:
    """The failure score after a life that had served for `served_s` seconds; a counted exit then adds 1."""
    return score * math.exp2(-max(0.0, served_s) / HALF_LIFE_S)


def delay(score: float, ready_s: float, rule: Restart) -> float:
    """Seconds to wait before the next start, given the score that already counts this exit."""
    if ready_s >= rule.stable:
        return 0.0
    return min(rule.cap, rule.delay * math.exp2(min(score - 1.0, MAX_EXPONENT)))


def recent(boots: Sequence[float], now: float, rule: Restart) -> tuple[float, ...]:
    """The unclean boots, as instants, that still count against the burst limit."""
    return tuple(at for at in boots if now < at + rule.window)


def burst_over(boots: Sequence[float], now: float, rule: Restart) -> float:
    """The first instant at which another boot keeps within `burst` in `window`; `now` when it is allowed already."""
    counted = recent(boots, now, rule)
    if rule.burst == 0 or len(counted) < rule.burst:
        return now
    return counted[-rule.burst] + rule.window
