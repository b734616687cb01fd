"""`clawsup status --watch`: the same picture again and again, until Ctrl-C."""

import sys
import time
from collections.abc import Callable
from typing import NoReturn

from supervisor.errors import ClawsupError, NoSupervisor

_PAUSE_S = 1.0
_HOME, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J"


def watch(picture: Callable[[], str]) -> NoReturn:
    """Draw over the last picture on a terminal; elsewhere print each that differs from the one before.

    A supervisor that is replaced meanwhile is waited for: to see it come back is what one watches for.
    """
    terminal = sys.stdout.isatty()
    last = ""
    print(_CLEAR if terminal else "", end="")
    while True:
        try:
            present = picture()
        except NoSupervisor as gone:
            if not last:
                raise
            present = gone.what
        except ClawsupError as error:
            present = str(error)
        if terminal:
            print(
                _HOME + present.replace("\n", f"{_TO_LINE_END}\n") + _TO_LINE_END + "\n" + _TO_SCREEN_END,
                end="",
                flush=True,
            )
        elif present != last:
            print(present, flush=True)
        last = present
        time.sleep(_PAUSE_S)
