"""What OpenClaw's exit codes mean to a supervisor."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

OK = 0
FAILURE = 1
# "Do not restart me as I am": a bad configuration, a held lock, a newer schema. The code alone does not say which.
CONFIG = 78
SIGTERM_BY_SHELL = 143

Heard: TypeAlias = Literal["", "term", "restart"]
"""What a gateway said of its exit 0: that a SIGTERM ended it, or that it wants a new process; "" for neither."""

_TERMED = "received SIGTERM; shutting down"
_RESTARTED = "restart mode: full process restart"


def heard(lines: Iterable[str]) -> Heard:
    """What the last words of a gateway tell; the last of them, where an earlier life's stand before its own."""
    told: Heard = ""
    for line in lines:
        told = "term" if _TERMED in line else "restart" if _RESTARTED in line else told
    return told
