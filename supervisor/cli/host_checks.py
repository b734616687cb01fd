"""Doctor's look at the machine: memory, disk, clock, lingering, kernel."""

import getpass
import os
from collections.abc import Iterator, Sequence

from supervisor.cli.finding import Finding, error, ok, warning
from supervisor.host import systemd
from supervisor.host.survey import machine
from supervisor.openclaw import setup

_LITTLE_DISK, _NO_DISK = 1000 * 1000 * 1000, 100 * 1000 * 1000
_LATE_S = 86400.0


def machine_findings(to_start: int) -> Iterator[Finding]:
    """`to_start` gateways are wanted and do not run yet, so their memory is still to come."""
    free = machine.available_bytes()
    plural = "" if to_start == 1 else "s"
    told = f"{free / 1e9:.1f} GB free" + (f", {to_start} gateway{plural} to start" if to_start else "")
    if free < max(1, to_start) * setup.MEMORY_BYTES and to_start:
        each = f"{setup.MEMORY_BYTES / 1e9:.1f} GB"
        yield warning("memory", told, f"a gateway takes up to {each}: add memory or swap, or run fewer")
    else:
        yield ok("memory", told)
    yield _clock()
    yield from _lingering()
    yield from _kernel()


def disk(state_dir: str, others: Sequence[str]) -> Iterator[Finding]:
    """Each file system once."""
    seen: set[int] = set()
    for path in (state_dir, *others):
        there = machine.existing(path)
        device = os.stat(there).st_dev
        free = machine.free_disk(there)
        if device in seen or free is None:
            continue
        seen.add(device)
        told = f"{free / 1e9:.1f} GB free for {path}"
        if free < _NO_DISK:
            yield error("disk", told, "free some: OpenClaw cannot save what it is told")
        elif free < _LITTLE_DISK:
            yield warning("disk", told, "free some")
        else:
            yield ok("disk", told)


def _clock() -> Finding:
    if machine.clock_lag_s() > _LATE_S:
        return error(
            "clock", "it is behind the files of this program", "set it, and let something keep it (timedatectl)"
        )
    if machine.clock_is_synchronised() is False:
        mend = "timedatectl set-ntp true (tokens and certificates go by the clock; restarts here do not)"
        return warning("clock", "nobody keeps it right", mend)
    return ok("clock", "it is right, as far as this machine knows")


def _lingering() -> Iterator[Finding]:
    if os.geteuid() == 0 or not machine.has_systemd():
        return
    user = getpass.getuser()
    if systemd.lingers(user):
        yield ok("lingering", f"services of {user} run on after the last log-out")
    else:
        text = f"services of {user} end with the last log-out"
        yield warning("lingering", text, f"loginctl enable-linger {user} (clawsup install does it)")


def _kernel() -> Iterator[Finding]:
    if not machine.has_pidfd():
        yield error("kernel", "no pidfd_open: no process can be signalled safely", "Linux 5.3 or newer")
        return
    lacks = machine.missing_features()
    told = [f"no {what}: {without}" for what, without in lacks.items()]
    if told:
        yield ok("kernel", "; ".join(told))
    else:
        yield ok("kernel", "has all that is used")
