"""Whether anybody still reads what a verb that follows something prints: nothing may come for hours that would fail."""

import select
import sys


def has_left() -> bool:
    """Say whether stdout is a pipe whose reader has gone."""
    poller = select.poll()
    poller.register(sys.stdout, 0)
    return any(what & select.POLLERR for _, what in poller.poll(0))
