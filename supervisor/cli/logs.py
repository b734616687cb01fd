"""`clawsup logs NAME...`: what gateways printed; read from their log files, so that it works without a supervisor too.

A line's time is the one that OpenClaw wrote at its head; a line without one (a stack trace) was printed with the line before it.
"""

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from heapq import merge
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from supervisor.cli import reader
from supervisor.errors import ClawsupError, NoSuchGateway, UsageError
from supervisor.host.logs.reading import follow, tail
from supervisor.policy.definition import NAME_PATTERN

_DEFAULT_LINES = 20
_STEP, _GROWTH = 1000, 8  # lines looked at first with --since, then so many times as many, until one is old enough
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STAMP = re.compile(r'(?:\{"time": ?")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))')
_LOOK_S = 0.2
_LONG_AGO = datetime.min.replace(tzinfo=UTC)

Stamped = tuple[datetime, str]


def main(args: argparse.Namespace) -> int:
    """Print the last lines, several gateways' in the order of time; with --follow each that comes, too."""
    since = None if args.since is None else _instant(args.since)
    names = list(dict.fromkeys(args.names))
    width = max(map(len, names)) if len(names) > 1 else 0
    files = [(f"{name:<{width}} | " if width else "", known_log(args, name)) for name in names]
    if args.follow:
        for prefix, line in _coming([(prefix, _following(file, args.lines, since)) for prefix, file in files]):
            print(f"{prefix}{line}", flush=True)
        return 0
    told = [[(at, prefix + line) for at, line in _last(file, args.lines, since)] for prefix, file in files]
    for _, line in merge(*told, key=lambda stamped: stamped[0]):
        print(line)
    return 0


def known_log(args: argparse.Namespace, name: str) -> Path:
    """Give the log of a gateway that has one or a definition; NoSuchGateway for any other name."""
    logs = Path(args.state_dir) / "logs"
    file, definition = logs / f"{name}.log", Path(args.conf_dir) / f"{name}.toml"
    if re.fullmatch(NAME_PATTERN, name) is None or not (readable(file) or os.path.exists(definition)):
        known = sorted({*_stems(logs, ".log"), *_stems(Path(args.conf_dir), ".toml")})
        raise NoSuchGateway(f"no gateway is called {name}", mend=f"known: {', '.join(known) or 'none'}")
    return file


def readable(file: Path) -> bool:
    """Say whether the file is there; ClawsupError where this user may not read it, or not even look."""
    try:
        there = file.exists()
        denied = there and not os.access(file, os.R_OK)
    except PermissionError:
        there = denied = True
    if denied:
        raise ClawsupError(
            f"{file}: this user may not read it", mend="ask as the user the supervisor runs as, or as root"
        )
    return there


def _stems(directory: Path, suffix: str) -> list[str]:
    try:
        return [file.stem for file in directory.iterdir() if file.suffix == suffix and not file.name.startswith(".")]
    except OSError:
        return []


def _instant(text: str) -> datetime:
    """Read `10m` as that long ago, anything else as a time; one without a zone is local."""
    try:
        if found := _SPAN.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=float(found[1]) * _UNITS[found[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text} is no time", mend="--since 10m, or --since 2026-01-31T08:00") from None


def _last(file: Path, lines: int | None, since: datetime | None) -> list[Stamped]:
    """The last lines, each with its time; with `since` all from there on, but not more than `lines` where that is said."""
    if since is None:
        return list(_stamped(tail(file, _DEFAULT_LINES if lines is None else lines)))
    count = _STEP
    found = list(_stamped(tail(file, count)))
    while len(found) == count and found[0][0] >= since:
        count *= _GROWTH
        found = list(_stamped(tail(file, count)))
    young = [stamped for stamped in found if stamped[0] >= since]
    return young if lines is None else young[max(0, len(young) - lines) :]


def _stamped(lines: Iterable[str]) -> Iterator[Stamped]:
    at = _LONG_AGO
    for line in lines:
        # A gateway may print anything, also what only looks like a time: such a line goes with the one before it.
        with suppress(ValueError, OverflowError):
            found = _STAMP.match(line)
            at = datetime.fromisoformat(found[1]).astimezone(UTC) if found else at
        yield at, line


def _following(file: Path, lines: int | None, since: datetime | None) -> Iterator[str]:
    """The last lines and what comes, in one reading, so that nothing falls between the two."""
    if since is None:
        return follow(file, lines=_DEFAULT_LINES if lines is None else lines, stop=reader.has_left)
    # What comes in between is more, not less: it is young enough, and the lines before it are told apart by their time.
    count = len(_last(file, lines, since)) + (_STEP if lines is None else 0)
    return (line for at, line in _stamped(follow(file, lines=count, stop=reader.has_left)) if at >= since)


def _coming(sources: Sequence[tuple[str, Iterator[str]]]) -> Iterator[tuple[str, str]]:
    """Each line of any source as it comes, while somebody reads; of several, a thread waits for each, and all are told by one."""
    if len(sources) == 1:
        ((prefix, source),) = sources
        yield from ((prefix, line) for line in source)
        return
    lines: SimpleQueue[tuple[str, str]] = SimpleQueue()
    for prefix, source in sources:
        Thread(target=_pour, args=(prefix, source, lines), daemon=True).start()
    while not reader.has_left():
        with suppress(Empty):
            yield lines.get(timeout=_LOOK_S)


def _pour(prefix: str, source: Iterator[str], lines: "SimpleQueue[tuple[str, str]]") -> None:
    for line in source:
        lines.put((prefix, line))
