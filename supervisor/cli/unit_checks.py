"""Doctor's look at what holds the supervisor: the unit's time for a stop, and what holds a gateway's tree together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from supervisor.cli import whose
from supervisor.cli.finding import Finding, ok, warning
from supervisor.cli.preparing import target_of
from supervisor.cli.unit_target import typed
from supervisor.host import cgroups, systemd
from supervisor.host.definitions import Reading
from supervisor.policy import unit


def findings(conf_dir: str, state_dir: str, reading: Reading, document: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The units of these two directories, the host's and this user's; then containment."""
    where = unit.directories_line(conf_dir, state_dir)
    need = unit.stop_s(reading.known)
    for manager in (systemd.Manager(), target_of(whose.account(state_dir)).manager):
        for file in manager.unit_files(unit.NAME):
            if unit.directories_of(file.text) == where:
                yield _stop_time(file, need, typed(manager, f"edit {unit.NAME}"))
    yield _containment(document)


def _stop_time(file: systemd.UnitFile, need: int, edit: str) -> Finding:
    have = unit.stop_s_of(file.text)
    if not have or have >= need:
        return ok("unit", f"{file.path} gives a stop the {need} s that it may take")
    text = f"{file.path} has TimeoutStopSec={have}, and the definitions' [stop] timeouts come to {need} s"
    return warning("unit", text, f"clawsup install writes it anew (what a drop-in says: {edit})")


def _containment(document: Mapping[str, Any] | None) -> Finding:
    whose = document["supervisor"]["pid"] if document else "self"
    ground = cgroups.ground(Path(f"/proc/{whose}/cgroup"))
    if ground is not None:
        return ok("containment", f"a cgroup for each gateway, below {ground}")
    who = "the supervisor" if document else "a supervisor started from here"
    text = f"by run token and mark: no cgroup has been delegated to {who} (clawsup install has systemd do it)"
    return ok("containment", text)
