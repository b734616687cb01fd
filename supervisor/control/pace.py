"""How often the agents of gateways may change something: a model that goes in circles types a thousand commands in minutes. Pure."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pydantic import TypeAdapter, ValidationError

MOST: Final = 12
WINDOW_S: Final = 600.0

_CHANGES: TypeAdapter[dict[str, list[float]]] = TypeAdapter(dict[str, list[float]])


class Pace:
    """The changes of each caller in the last window; instants are monotonic. Operators are never asked about.

    `kept` is what an earlier brain of this boot has given to `keep`.
    """

    def __init__(self, kept: bytes | None = None, keep: Callable[[bytes], None] | None = None) -> None:
        self._keep = keep
        self._changes: dict[str, list[float]] = {}
        with suppress(ValidationError):
            self._changes = _CHANGES.validate_json(kept or b"{}")

    def refusal(self, caller: str, now: float) -> str:
        """Count one more change; where there were too many, count nothing and say so, and for how long to wait."""
        recent = [at for at in self._changes.get(caller, ()) if at <= now < at + WINDOW_S]
        if len(recent) >= MOST:
            wait_s = recent[0] + WINDOW_S - now
            return (
                f"{caller} has made {MOST} changes in {WINDOW_S / 60:.0f} min, which is the limit: wait {wait_s:.0f} s"
            )
        self._changes[caller] = [*recent, now]
        if self._keep is not None:
            self._keep(_CHANGES.dump_json(self._changes))
        return ""
