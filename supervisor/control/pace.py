"""How often the agents of gateways may change something: a model that goes in circles types a thousand commands in minutes. Pure."""

from typing import Final

MOST: Final = 12
WINDOW_S: Final = 600.0


class Pace:
    """The changes of each caller in the last window, as far as this brain has seen them; instants are monotonic.

    Operators are never asked about.
    """

    def __init__(self) -> None:
        self._changes: dict[str, list[float]] = {}

    def refusal(self, caller: str, now: float) -> str:
        """Count one more change; where there were too many, count nothing and say so, and for how long to wait."""
        recent = [at for at in self._changes.get(caller, ()) if now < at + WINDOW_S]
        if len(recent) >= MOST:
            wait_s = recent[0] + WINDOW_S - now
            return (
                f"{caller} has made {MOST} changes in {WINDOW_S / 60:.0f} min, which is the limit: wait {wait_s:.0f} s"
            )
        self._changes[caller] = [*recent, now]
        return ""
