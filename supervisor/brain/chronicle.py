"""What outlives a brain, kept in one place: the journal, a state record for each child, and the line a person reads."""

import os
import select
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from loguru import logger

from supervisor.host import processes
from supervisor.host.journal import Journal
from supervisor.host.logs.pump import Log
from supervisor.host.records import Records
from supervisor.policy import record
from supervisor.policy.sentence import PLUMBING, sentence
from supervisor.policy.state import Child, Stopped

# Decisions that must outlive a loss of power: what an operator asked for.
DURABLE = frozenset({"stop_asked", "start_asked", "restart_asked"})
_BOOT = "boot"


class Chronicle:
    """The memory of one state dir; what a disk refuses now is written when it takes it again."""

    def __init__(self, state_dir: Path, children: Records) -> None:
        self.journal = Journal(state_dir / "events.jsonl")
        self._children = children
        # By the record's name: its bytes, None for one that is to go, and whether it must outlive a loss of power.
        self._unkept: dict[str, tuple[bytes | None, bool]] = {}
        self._refused = ""
        self._same_boot = False
        # By gateway: the event told last of its output, and the bytes dropped before that trouble.
        self._outputs: dict[str, tuple[str, int]] = {}
        self._told = ""

    @property
    def trouble(self) -> list[str]:
        """Why something cannot be kept at present."""
        return [text for text in (self.journal.trouble, self._refused) if text]

    def note(self, lines: Sequence[record.Line]) -> None:
        """Append to the journal, and say it on stderr."""
        self.write(lines)
        self.say(lines)

    def write(self, lines: Sequence[record.Line]) -> None:
        """Append to the journal; what is decided is on record before anything is done about it."""
        for line in lines:
            self.journal.append(line.event, line.gateway, line.fields, durable=line.event in DURABLE)

    def say(self, lines: Sequence[record.Line]) -> None:
        """Say it on stderr; a line costs as much as a third of a spawn, so that what is decided is done first."""
        for line in lines:
            if line.event not in PLUMBING:
                logger.info(f"{line.gateway or 'supervisor'}: {sentence(line.event, line.fields)}")

    def tend(self, logs: Mapping[str, Log]) -> None:
        """Try again to write what waits, and note where output begins to wait, is dropped, and is kept again."""
        if self.journal.trouble:
            self.journal.flush()
        while self.journal.damage:
            self.note([record.Line("journal_mended", None, {"damage_kept_in": str(self.journal.damage.pop())})])
        self._save()
        self._outputs = {name: self._looked_at(name, log) for name, log in logs.items()}

    def tell(self, degraded: Sequence[str]) -> None:
        """Note where the supervisor itself begins, goes on in another way, or ends to be degraded."""
        reason = "; ".join(degraded)
        if reason != self._told:
            self._told = reason
            self.note([record.Line(f"supervisor_{'degraded' if reason else 'recovered'}", None, {"reason": reason})])

    def keep(self, child: Child) -> None:
        """Replace the child's state record."""
        self._unkept[f"{child.name}.json"] = (record.dump_child(child), child.held)
        self._save()

    def forget(self, name: str) -> None:
        """Remove the state record of a child that is no more."""
        self._unkept[f"{name}.json"] = (None, False)
        self._save()

    def remember(self, name: str, data: bytes) -> None:
        """Keep what is no child, under a name without a suffix, for the brains of this boot to come."""
        self._unkept[name] = (data, False)
        self._save()

    def recall(self, name: str) -> bytes | None:
        """What a brain of this boot has kept under a name; to be asked after `children`."""
        return self._children.load(name) if self._same_boot else None

    def children(self, now: float) -> dict[str, Child]:
        """The children as the last brain knew them; what cannot be read is set aside.

        Instants of an earlier boot of the machine mean nothing, so after a boot only what has none is kept.
        """
        boot_id = processes.boot_id().encode()
        self._same_boot = same_boot = self._children.load(_BOOT) == boot_id
        found: dict[str, Child] = {}
        for name in self._children.names():
            if not name.endswith(".json"):
                if name != _BOOT and not same_boot:
                    self._unkept[name] = (None, False)
                continue
            try:
                child = record.load_child(self._children.load(name) or b"")
            except ValueError:
                self._children.set_aside(name)
                continue
            found[child.name] = child if same_boot else _after_boot(child, now)
        if not same_boot:
            self._unkept[_BOOT] = (boot_id, False)
            self._save()
        return found

    def _looked_at(self, name: str, log: Log) -> tuple[str, int]:
        """Note what has become of a gateway's output since the last look; what the next one is to be compared with."""
        told, dropped = self._outputs.get(name, ("output_kept", 0))
        seen = ["output_dropped"] if log.dropped > dropped else ["output_waits"] if log.trouble else []
        for event in seen if log.trouble else [*seen, "output_kept"]:
            if event != told:
                self.note([record.Line(event, name, {"reason": log.trouble or None, "dropped_bytes": log.dropped})])
            told = event
        return told, dropped if log.trouble else log.dropped

    def _save(self) -> None:
        for name, (data, durable) in list(self._unkept.items()):
            refused = self._children.remove(name) if data is None else self._children.save(name, data, durable=durable)
            if not refused:
                del self._unkept[name]
                continue
            self._refused = refused
            if name == _BOOT:
                # Records of this boot beside the mark of an earlier one would make strangers of the gateways that live.
                return
        if not self._unkept:
            self._refused = ""


def speak() -> None:
    """Let loguru write to stderr, one plain line each; a stderr that is closed or full is nobody's trouble."""
    logger.remove()
    logger.add(_write, format="{time:YYYY-MM-DDTHH:mm:ss.SSS!UTC}Z {message}", level="INFO", catch=True, diagnose=False)


def _after_boot(child: Child, now: float) -> Child:
    return Child(
        child.name,
        child.definition,
        Stopped(),
        now,
        wanted=child.wanted,
        held=child.held,
        pending=child.pending,
        score=child.score,
        lives=child.lives,
        spent=child.spent,
    )


def _write(text: str) -> None:
    # A reader that has stopped (Ctrl-S, a pager) would hold the whole loop, and a brain that stands still is replaced.
    rest = text.encode(errors="replace")
    with suppress(OSError, ValueError):
        while rest and select.select((), (2,), (), 0)[1]:
            rest = rest[os.write(2, rest[: select.PIPE_BUF]) :]
