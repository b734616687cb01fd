"""Writes down each failure as an incident: what is known at the moment, evidence beside it, and later what came of it."""

from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Launchers
from supervisor.host import load
from supervisor.host.incidents import Incidents
from supervisor.host.logs.reading import tail
from supervisor.openclaw.content import Content
from supervisor.openclaw.diffing import diff
from supervisor.openclaw.masking import Mask
from supervisor.openclaw.ports import Family
from supervisor.policy.actions import Incident
from supervisor.policy.definition import Definition
from supervisor.policy.events import RepairStepped
from supervisor.policy.facts import Answer, Cause
from supervisor.policy.sentence import ending, span
from supervisor.policy.state import Blocked, Child

LOG_LINES = 200
PROBES = 30
LONG_BLOCKED_S = 60.0


class Casebook:
    """The incidents of one brain; at most one a gateway is open, and takes what a repair adds to it."""

    def __init__(self, state_dir: Path, guard: Guard, launchers: Launchers) -> None:
        self._logs = state_dir / "logs"
        self._incidents = Incidents(state_dir / "incidents")
        self._guard = guard
        self._launchers = launchers
        self._open: dict[str, str] = {}
        self._before_end: dict[str, tuple[str, int]] = {}
        self._probes: dict[str, deque[str]] = {}
        self._blocked: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """Why the last incident could not be kept, "" if it could."""
        return self._incidents.trouble

    def probed(self, name: str, at: float, answer: Answer) -> None:
        """Remember an answer; the last thirty go with the next incident."""
        said = "ready" if answer.ready else "live" if answer.live else "no answer"
        line = f"{at:.1f} {said} {answer.detail}{f' ({answer.excuse})' if answer.excuse else ''}".rstrip()
        self._probes.setdefault(name, deque(maxlen=PROBES)).append(line)

    def look(self, name: str, pid: int) -> None:
        """See what a process is doing, just before it is ended."""
        self._before_end[name] = (load.evidence(pid), load.peak_bytes(pid))

    def ended(self, action: Incident, definition: Definition | None) -> None:
        """Begin the incident of a life that ended."""
        said = ending(action.code, action.signal)
        evidence, peak = self._before_end.pop(action.name, ("", 0))
        account = {
            "cause": str(action.cause),
            "why": action.why or f"{said} after {span(action.ran_s)}",
            "told_by": _TOLD_BY.get(action.cause, ""),
            "life": action.life,
            "exit": {"code": action.code, "signal": action.signal, "ran_s": round(action.ran_s, 3)},
            "memory_peak_bytes": peak or None,
        }
        self._begin(action.name, definition, account, {"process.txt": evidence.encode()} if evidence else {})

    def tend(self, children: Iterable[Child], now: float) -> None:
        """Write down what has been blocked for more than a minute, once a reason."""
        for child in children:
            if not isinstance(child.state, Blocked):
                self._blocked.pop(child.name, None)
                continue
            obstacle = child.state.obstacle
            if now - child.since < LONG_BLOCKED_S or self._blocked.get(child.name) == obstacle.key:
                continue
            self._blocked[child.name] = obstacle.key
            account = {"cause": str(obstacle.cause), "why": obstacle.reason, "told_by": f"blocked by {obstacle.what}"}
            self._begin(child.name, child.definition, {**account, "mend": obstacle.mend}, {})

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
            full |= {"port": definition.port, "ports": list(family.vital())}
            full |= {"openclaw": self._launchers.version(definition)}
        full["why"] = mask.line(str(full.get("why") or ""))
        lines = [mask.line(line) for line in tail(self._logs / f"{name}.log", LOG_LINES)]
        files["log.txt"] = "\n".join(lines).encode()
        files["probes.txt"] = "\n".join(self._probes.get(name, ())).encode()
        self._open[name] = self._incidents.open(name, full, files)

    def _about_config(
        self, definition: Definition, mask: Mask, files: dict[str, bytes], *, rejected: bool
    ) -> dict[str, Any]:
        present, good = self._guard.present(definition), self._guard.knows(definition).good
        kept = self._guard.store(definition.name).content(good) if good else None
        mask.config(present.text)
        lines = diff(kept or Content(), present, labels=("good", "at the time"), mask=mask)
        if lines and kept is not None:
            files["config.diff"] = "\n".join(lines).encode()
        if rejected and present.files:
            files["config.rejected"] = present.files[0][1]
        return {"config": {"path": definition.config_path, "key": present.key, "good": good or None}}


_TOLD_BY: Mapping[Cause, str] = {
    Cause.CONFIG: "exit 78, with ports and lock free",
    Cause.CRASH: "its exit status",
    Cause.HUNG: "probes without an answer",
    Cause.PARKED: "nobody listens on its port, and its process lives",
    Cause.CONFLICT: "a look at ports and lock right after the exit",
    Cause.MISSING: "a look at what it needs right after the exit",
    Cause.CONTESTED: "SIGTERMs that this supervisor did not send",
}
