"""Some descriptors kept back for when all others are used up: with these, an operator is still answered.

A limit that is lowered under a living process takes the high numbers first, so the reserve is made before all else.
"""

import errno
import os
from contextlib import suppress

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# A connection, its peer's pidfd, and two for what is looked up on the way.
COUNT = 4


def shortage() -> str:
    """Why nothing can be opened now; "" if it can."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return _said(error)
    return ""


class Reserve:
    """Descriptors that lead nowhere; `trouble` says that the last look found none left beside them, "" if some were."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._lent = 0
        self.trouble = ""
        self._fill()

    def __del__(self) -> None:
        # A descriptor is a bare number: nobody else would give it back.
        while self._kept:
            os.close(self._kept.pop())

    def lend(self) -> bool:
        """Free them for one who cannot wait, until as many `give_back`; False if they are lent already."""
        if self._lent or not self._kept:
            return False
        self._lent += 1
        while self._kept:
            os.close(self._kept.pop())
        return True

    def give_back(self) -> None:
        """Keep them back again."""
        self._lent -= 1
        self._fill()

    def look(self) -> None:
        """See whether there are any left; not while these are lent."""
        if self._lent:
            return
        self._fill()
        self.trouble = shortage()

    def short(self, error: OSError) -> None:
        """Somebody has found none left."""
        self.trouble = _said(error)

    def _fill(self) -> None:
        with suppress(OSError):
            while len(self._kept) < COUNT:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


def _said(error: OSError) -> str:
    return f"no descriptor is left: {error.strerror}"
