"""What OpenClaw's exit codes mean to a supervisor."""

from collections.abc import Iterable

OK = 0
FAILURE = 1
# "Do not restart me as I am": a bad configuration, a held lock, a newer schema. The code alone does not say which.
CONFIG = 78
SIGTERM_BY_SHELL = 143

_TERMED = "received SIGTERM; shutting down"


def heard_term(lines: Iterable[str]) -> bool:
    """Whether a gateway's last words say that a SIGTERM ended it: with one it exits 0, as for a restart of its own."""
    return any(_TERMED in line for line in lines)
