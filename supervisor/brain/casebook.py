"""Writes down each failure as an incident: what is known at the moment, evidence beside it, and later what came of it."""

import os
from collections import deque
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Launchers
from supervisor.host import load, ports, strangers
from supervisor.host.incidents import Incidents
from supervisor.host.logs.reading import tail
from supervisor.openclaw.content import Content
from supervisor.openclaw.diffing import diff
from supervisor.openclaw.masking import Mask
from supervisor.openclaw.ports import Family
from supervisor.policy.actions import Incident, RepairStep
from supervisor.policy.definition import Definition
from supervisor.policy.events import RepairStepped
from supervisor.policy.facts import Answer, Cause, Obstacle
from supervisor.policy.sentence import ending, span
from supervisor.policy.state import Blocked, Child

LOG_LINES = 200
# Masked in the brain's loop, 200 lines of 6.5 kB held it for 2.4 s.
LONGEST_LINE = 2000
LARGEST_CONFIG = 512 * 1024
PROBES = 30
LONG_BLOCKED_S = 60.0


class Casebook:
    """The incidents of one brain; at most one a gateway is open, and takes what a repair adds to it."""

    def __init__(self, state_dir: Path, guard: Guard, launchers: Launchers) -> None:
        self._logs = state_dir / "logs"
        self._incidents = Incidents(state_dir / "incidents")
        self._incidents.sweep()
        self._guard = guard
        self._launchers = launchers
        # Read once: later there may be no descriptor left for it, or another version in its place.
        self._version = metadata.version("openclaw-supervisor")
        self._open: dict[str, str] = {}
        self._mending: set[str] = set()
        self._before_end: dict[str, str] = {}
        # By gateway: the most memory that its present life had had when it was looked at last.
        self._peaks: dict[str, int] = {}
        self._probes: dict[str, deque[str]] = {}
        self._blocked: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """Why incidents wait to be kept, "" if none do."""
        return self._incidents.trouble

    def probed(self, name: str, at: float, answer: Answer, pid: int) -> None:
        """Remember an answer, and how much memory the gateway has had; the last thirty answers go with the next incident."""
        said = "ready" if answer.ready else "live" if answer.live else "no answer"
        line = f"{at:.1f} {said} {answer.detail}{f' ({answer.excuse})' if answer.excuse else ''}".rstrip()
        self._probes.setdefault(name, deque(maxlen=PROBES)).append(line)
        if peak := load.peak_bytes(pid):
            self._peaks[name] = peak
        if answer.ready and name not in self._mending:
            # What is repaired from now on is not about the last incident.
            self._open.pop(name, None)

    def look(self, name: str, pid: int) -> None:
        """See what a process is doing, just before it is ended."""
        self._before_end[name] = load.evidence(pid)
        self._peaks[name] = load.peak_bytes(pid)

    def ended(self, action: Incident, definition: Definition | None) -> None:
        """Begin the incident of a life that ended."""
        said = ending(action.code, action.signal)
        evidence = self._before_end.pop(action.name, "")
        peak = self._peaks.pop(action.name, 0)
        account = {
            "cause": str(action.cause),
            "why": action.why or f"{said} after {span(action.ran_s)}",
            "told_by": _TOLD_BY.get(action.cause, ""),
            "life": action.life,
            "exit": {"code": action.code, "signal": action.signal, "ran_s": round(action.ran_s, 3)},
            "memory_peak_bytes": peak or None,
            "memory_told_by": "VmHWM at its last probe" if peak else None,
        }
        self._begin(action.name, definition, account, {"process.txt": evidence.encode()} if evidence else {})

    def buried(self, name: str, life: int, peak_bytes: int) -> None:
        """The kernel has told how much memory an ended life had had at most; 0 where it has not."""
        self._peaks.pop(name, None)
        ident = self._open.get(name, "")
        account = self._incidents.account(ident) or {}
        if account.get("life") == life and peak_bytes > (account.get("memory_peak_bytes") or 0):
            told = {"memory_peak_bytes": peak_bytes, "memory_told_by": "ru_maxrss at its end"}
            self._incidents.update(ident, told)

    def begun(self, step: RepairStep, definition: Definition) -> None:
        """A rung is about to be climbed: for the incident that is open, the one that another brain had open, or a new one."""
        self._mending.add(step.name)
        if step.name in self._open:
            return
        ident = next(iter(self._incidents.ids(step.name)), "") if step.again else ""
        if ident and "ended" not in (self._incidents.account(ident) or {}):
            self._open[step.name] = ident
            return
        why = "its config was to be mended without a start on it that had failed"
        self._begin(
            step.name, definition, {"cause": str(Cause.CONFIG), "why": why, "told_by": "a look at the config"}, {}
        )

    def tend(self, children: Iterable[Child], now: float) -> None:
        """Write down what has been blocked for more than a minute, once a reason, and what a disk has refused."""
        if self._incidents.trouble:
            self._incidents.tend()
        for child in children:
            if not isinstance(child.state, Blocked):
                self._blocked.pop(child.name, None)
                continue
            obstacle = child.state.obstacle
            if now - child.since < LONG_BLOCKED_S or self._blocked.get(child.name) == obstacle.key:
                continue
            self._blocked[child.name] = obstacle.key
            if self._is_told(child, obstacle):
                continue
            account = {"cause": str(obstacle.cause), "why": obstacle.reason, "told_by": f"blocked by {obstacle.what}"}
            self._begin(child.name, child.definition, {**account, "mend": obstacle.mend, "life": child.lives}, {})

    def _is_told(self, child: Child, obstacle: Obstacle) -> bool:
        """Whether the newest incident is about this very block: the exit that led to it, or what an earlier brain saw of it."""
        newest = self._incidents.account(next(iter(self._incidents.ids(child.name)), "")) or {}
        key = (newest.get("config") or {}).get("key") if obstacle.what == "config" else None
        return newest.get("cause") == str(obstacle.cause) and (newest.get("life") == child.lives or key == obstacle.key)

    def stepped(self, event: RepairStepped) -> None:
        """Add what a rung came to."""
        ident = self._open.get(event.name, "")
        tried = (self._incidents.account(ident) or {}).get("tried", [])
        step = {"rung": event.rung, "outcome": event.outcome, "detail": event.detail}
        if ident:
            self._incidents.update(ident, {"tried": [*tried, step]})

    def add(self, name: str, files: Mapping[str, bytes]) -> None:
        """Add evidence to the open incident."""
        if ident := self._open.get(name, ""):
            for file, data in files.items():
                self._incidents.add(ident, file, data)

    def close(self, name: str, *, mended: bool) -> None:
        """The repair is over."""
        self._mending.discard(name)
        if ident := self._open.pop(name, ""):
            ended = "mended: it started" if mended else "not mended: your config is in place as it was"
            self._incidents.update(ident, {"ended": ended})

    def _begin(
        self, name: str, definition: Definition | None, account: Mapping[str, Any], evidence: Mapping[str, bytes]
    ) -> None:
        mask = Mask()
        files = dict(evidence)
        full: dict[str, Any] = dict(account)
        if definition is not None:
            full |= self._about_config(definition, mask, files, rejected=account.get("cause") == Cause.CONFIG)
            family = Family(definition.port, definition.cdp_ports)
            full |= {"port": definition.port, "ports": list(family.vital()), "held": _held(family)}
        full["openclaw"] = self._launchers.version(definition) if definition is not None else ""
        full |= {"clawsup": self._version, "linux": os.uname().release}
        full["why"] = mask.lines(str(full.get("why") or ""), LONGEST_LINE)
        lines = tail(self._logs / f"{name}.log", LOG_LINES)
        files["log.txt"] = mask.lines("\n".join(lines), LONGEST_LINE).encode()
        files["probes.txt"] = "\n".join(self._probes.get(name, ())).encode()
        self._open[name] = self._incidents.open(name, full, files)

    def _about_config(
        self, definition: Definition, mask: Mask, files: dict[str, bytes], *, rejected: bool
    ) -> dict[str, Any]:
        present, good = self._guard.present(definition), self._guard.knows(definition).good
        kept = self._guard.store(definition.name).content(good) if good else None
        mask.config(present.text[:LARGEST_CONFIG])
        lines = diff(kept or Content(), present, labels=("good", "at the time"), mask=mask)
        if lines and kept is not None:
            files["config.diff"] = "\n".join(lines).encode()
        if rejected and present.files:
            files["config.rejected"] = present.files[0][1]
        return {"config": {"path": definition.config_path, "key": present.key, "good": good or None}}


def _held(family: Family) -> list[dict[str, Any]]:
    """The ports of a family that cannot be bound now, each with its holder as far as it can be seen."""
    return [_holder(busy) for busy in ports.look(family.ports())]


def _holder(busy: ports.Busy) -> dict[str, Any]:
    what = {"port": busy.port, "address": busy.address, "kind": busy.kind, "pid": busy.pid, "uid": busy.uid}
    if busy.pid is None:
        return what
    who = strangers.describe(busy.pid)
    return {**what, "user": who.user, "command": who.command, "profile": who.profile, "unit": who.unit}


_TOLD_BY: Mapping[Cause, str] = {
    Cause.CONFIG: "exit 78, with ports and lock free",
    Cause.CRASH: "its exit status",
    Cause.HUNG: "probes without an answer",
    Cause.PARKED: "nobody listens on its port, and its process lives",
    Cause.CONFLICT: "a look at ports and lock right after the exit",
    Cause.MISSING: "a look at what it needs right after the exit",
    Cause.CONTESTED: "SIGTERMs that this supervisor did not send",
}
