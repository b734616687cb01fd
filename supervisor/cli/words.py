"""The facts of a status entry in a person's words, and colour where a terminal shows it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import Any

_COLOURS = {
    "ready": "32",
    "degraded": "33",
    "starting": "36",
    "stopping": "36",
    "repairing": "36",
    "stopped": "2",
}
_TROUBLE = "31"
UP = frozenset({"ready", "degraded"})
ON_ITS_WAY = frozenset({"starting", "stopping", "repairing"})
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def now() -> float:
    """Give the wall clock's seconds since 1970."""
    return time.time()


def instant(text: str | None) -> float | None:
    """Read a UTC time of the status document as seconds since 1970; None for none, or for one that cannot be read.

    By hand: importing datetime would take longer than all the rest of `status`.
    """
    date, _, clock = (text or "").removesuffix("Z").partition("T")
    try:
        year, month, day = map(int, date.split("-"))
        hours, minutes, seconds = clock.split(":")
        # Years that begin in March have their leap day at the end.
        year -= month < 3  # noqa: PLR2004 (March)
        days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 719469
        return float(days * _DAY + int(hours) * _HOUR + int(minutes) * _MINUTE) + float(seconds)
    except ValueError:
        return None


def span(seconds: float) -> str:
    """Say a duration in at most six characters: `38s`, `12m`, `3h05m`, `12d3h`, `412d`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    days, hours = whole // _DAY, whole % _DAY // _HOUR
    return f"{days}d{hours}h" if days < 100 else f"{days}d"  # noqa: PLR2004 (where the hours no longer fit)


def since(text: str | None, at: float) -> str:
    """Say how long ago a time of the status document was."""
    began = instant(text)
    return "-" if began is None else span(at - began)


def ending(last_exit: Mapping[str, Any]) -> str:
    """Say how a life ended: `exit 1 after 2.1 s (crash)`."""
    if last_exit.get("signal") is not None:
        how = _signal_name(last_exit["signal"])
    elif last_exit.get("code") is not None:
        how = f"exit {last_exit['code']}"
    else:
        how = "exit unknown"
    ran = last_exit.get("ran_s")
    after = "" if ran is None else f" after {ran:.1f} s" if ran < _MINUTE else f" after {span(ran)}"
    return f"{how}{after} ({last_exit.get('cause')})"


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def retry(entry: Mapping[str, Any], at: float) -> str:
    """Say when it is tried again by itself; empty when that is not known."""
    due = instant(entry.get("next_retry_at"))
    if due is None:
        # Of those that have failed only what the repair ladder could not mend has no time.
        return "waits for its config file to change" if entry["state"] == "failed" else ""
    return f"retry in {due - at:.0f} s" if 0 < due - at < 100 else f"retry in {span(due - at)}"  # noqa: PLR2004 (two digits)


def tell(text: str) -> None:
    """Say it on stderr at once; where that takes nothing, the exit code has to do."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def progress(change: Mapping[str, Any], told: dict[str, str]) -> None:
    """Tell of a gateway's change of state, once each; why it is down is for the end to say."""
    reason = printable(change["reason"] or "")
    is_shown = reason and (change["state"] == "repairing" or reason.startswith("waits"))
    line = f"{change['gateway']} is {change['state']}{f': {reason}' if is_shown else ''}"
    if told.get(change["gateway"]) != line:
        told[change["gateway"]] = line
        tell(line)


def printable(text: object) -> str:
    """Make text of others harmless to a terminal: one line, no control characters."""
    return "".join(character if character.isprintable() else "?" for character in str(text).replace("\n", " "))


def cut(text: str, room: int) -> str:
    """Give as much of it as there is room for, and a sign where that is not all."""
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"


def coloured(state: str, text: str) -> str:
    """Give `text` the colour of a state, if stdout is a terminal that wants colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS.get(state, _TROUBLE)}m{text}\x1b[0m"


def width() -> int:
    """Give how many columns a line may have: the terminal's, or 80."""
    try:
        return max(60, os.get_terminal_size(sys.stdout.fileno()).columns)
    except OSError:
        return 80
