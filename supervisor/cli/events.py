"""`clawsup events`: the journal; read from its files, so that it works without a supervisor too."""

import argparse
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from supervisor.cli import reader
from supervisor.cli.logs import readable
from supervisor.cli.story import event_line
from supervisor.errors import NoSupervisor
from supervisor.host.journal import follow, read
from supervisor.policy.sentence import PLUMBING

_DEFAULT_LINES = 20


def main(args: argparse.Namespace) -> int:
    """Print the last events, and with --follow each that comes."""
    path = Path(args.state_dir) / "events.jsonl"
    if not readable(path) and not path.parent.is_dir():
        raise NoSupervisor(
            f"{path.parent}: no supervisor has ever run there", mend="name another place with --state-dir"
        )
    for event in _events(path, args.lines, args.after, following=args.follow):
        if not args.json and event.get("event") in PLUMBING:
            continue
        print(json.dumps(event, ensure_ascii=False) if args.json else event_line(event), flush=args.follow)
    return 0


def _events(path: Path, lines: int | None, after: int | None, *, following: bool) -> Iterator[dict[str, object]]:
    """The last ones, or all with a number above `after` (at most `lines` of them, where that is said); then what comes."""
    if after is not None and lines is None:
        return follow(path, after=after, stop=reader.has_left) if following else read(path, after=after)
    last = _DEFAULT_LINES if lines is None else lines
    told = list(read(path, after=after or 0, last=max(last, 1)))
    shown = told[-last:] if last else []
    if not following:
        return iter(shown)
    newest = told[-1]["seq"] if told else after
    return chain(shown, follow(path, after=newest if isinstance(newest, int) else 0, stop=reader.has_left))
