"""(5) The journal, at every look: whole lines, no number missing; and at the end it replays. (11) Who is blamed for what."""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from pathlib import Path
from typing import Any

from supervisor.host.journal import lines
from supervisor.policy import record
from tests.chaos.ledger import Ledger

_RETRIES = 5
_REPLAY_TOLD = 3
_SUM_BYTES = 10
# What must have been done to a gateway to make it end so; everything else takes a signal.
_DONE: Mapping[str, AbstractSet[str]] = {"hung": {"freeze", "stun", "hang"}}
Event = Mapping[str, Any]


class Journal:
    """Reads what was appended since the last look; `events` are all so far, `wrong` what no look may find.

    `booted` is the last brain that says that it has looked at everything and begins.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[int, int] = {}
        self._sums: dict[int, bytes] = {}
        self.events: list[Event] = []
        self._started: Any = 0
        self.booted: Any = 0
        self.wrong: list[str] = []

    def look(self) -> Sequence[Event]:
        """Give the events that are new; a rotation that happens meanwhile is looked at again."""
        for _ in range(_RETRIES):
            files = self._files()
            try:
                found = [(path.stat().st_ino, path) for path in files]
                read = [(inode, path, self._read(inode, path)) for inode, path in found]
            except FileNotFoundError:
                continue
            if self._files() == files:
                break
        else:
            return ()
        before = len(self.events)
        for inode, path, data in read:
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[inode] = self._offsets.get(inode, 0) + len(whole)
            for line in whole.splitlines():
                self._take(line, path)
        return self.events[before:]

    def _files(self) -> list[Path]:
        return [*(path for _, path in lines.parts(self._path)), self._path]

    def _read(self, inode: int, path: Path) -> bytes:
        with path.open("rb") as file:
            file.seek(self._offsets.get(inode, 0))
            return file.read()

    def _take(self, line: bytes, path: Path) -> None:
        decoded = lines.decode(line)
        if decoded is None:
            self.wrong.append(f"{path.name} has a damaged line: {line[:120]!r}")
            return
        seq, event = decoded
        last: int = self.events[-1]["seq"] if self.events else 0
        if event["event"] == "journal_gap" and event["from"] == last + 1:
            pass
        elif seq <= last:
            # What was mended stands in a new file, from its beginning.
            if self._sums.get(seq) != line[-_SUM_BYTES:]:
                self.wrong.append(f"{path.name}: {seq} was used twice: {line[:120]!r}")
            return
        elif seq != last + 1:
            self.wrong.append(f"{path.name}: {last} is followed by {seq}")
        self._sums[seq] = line[-_SUM_BYTES:]
        self.events.append(event)
        if event["event"] == "supervisor_started":
            self._started = event["pid"]
        elif event["event"] in {"booted", "shutdown_asked"}:
            self.booted = self._started


def replayed(events: Sequence[Event]) -> list[str]:
    """The differences between what a journal says and what policy decides; behind a gap it begins anew."""
    told: list[str] = []
    for part in _unbroken(events):
        told += record.replay(iter(part))
    return told[:_REPLAY_TOLD]


def _unbroken(events: Sequence[Event]) -> Iterator[list[Event]]:
    part: list[Event] = []
    for event in events:
        if event["event"] == "journal_gap":
            yield part
            part = []
        part.append(event)
    yield part


def blamed(events: Sequence[Event], ledger: Ledger) -> list[str]:
    """The ends of lives that a gateway is blamed for though nothing was done to it, as far as that can be told.

    A life that no brain has seen begin has no pid. A brain may learn late of an end, so the instant is the one at which it was seen
    from outside.
    """
    pids: dict[tuple[str, Any], int] = {}
    wrong = []
    for event in events:
        name, life = event["gateway"], event.get("life")
        if event["event"] in {"spawned", "adopted"}:
            pids[name, life] = event["pid"]
        pid = pids.get((name, life))
        if event["event"] != "exited" or event.get("cause") in {"asked", "upgraded"} or pid is None:
            continue
        done = ledger.pids.get(pid, set())
        at = ledger.ends.get(pid, datetime.fromisoformat(event["at"]).timestamp())
        is_hindered = any(name == each and since <= at <= until for each, since, until in ledger.hindered)
        if not (done & _DONE.get(event["cause"], {"kill", "term"}) or is_hindered):
            facts = {key: event.get(key) for key in ("cause", "code", "signal", "ran_s", "life")}
            wrong.append(f"{name}: {json.dumps(facts)} at {event['at']}, done to pid {pid}: {sorted(done)}")
    return wrong
