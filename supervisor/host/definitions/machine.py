"""What of this machine decides on ports: the kernel's ranges, our rights, the machine's own names."""

import os
import re
import socket

import psutil

from supervisor.host.definitions.disk import content
from supervisor.policy.candidate import Machine

_SYSCTL = "/proc/sys/net/ipv4"
_NET_BIND_SERVICE = 1 << 10
_FIRST_UNPRIVILEGED = 1024


def machine_facts() -> Machine:
    """Look; what cannot be seen (no /proc) is taken as a stock kernel has it."""
    low, *high = _numbers("ip_local_port_range") or (0, -1)
    first = _numbers("ip_unprivileged_port_start") or (_FIRST_UNPRIVILEGED,)
    return Machine(
        ephemeral=range(low, high[0] + 1),
        reserved=_reserved(),
        unprivileged_from=first[0],
        may_bind_low=_may_bind_low(),
        hosts=_hosts(),
    )


def _may_bind_low() -> bool:
    """Whether a gateway that we start as our own user would hold CAP_NET_BIND_SERVICE: root's is effective, others' ambient."""
    field = "CapEff" if os.geteuid() == 0 else "CapAmb"
    found = re.search(rf"^{field}:\s*([0-9a-f]+)$", _text("/proc/self/status"), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & _NET_BIND_SERVICE)


def _reserved() -> frozenset[int]:
    ranges = (part.partition("-") for part in _text(f"{_SYSCTL}/ip_local_reserved_ports").strip().split(",") if part)
    return frozenset(port for low, _, high in ranges for port in range(int(low), int(high or low) + 1))


def _hosts() -> frozenset[str]:
    """The names and addresses under which a URL reaches this machine, beside the loopback ones."""
    addresses = {address.address.partition("%")[0] for found in psutil.net_if_addrs().values() for address in found}
    return frozenset({socket.gethostname().lower(), *addresses})


def _numbers(sysctl: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _text(f"{_SYSCTL}/{sysctl}").split())


def _text(path: str) -> str:
    try:
        return content(path, 1 << 16)[0].decode("ascii", "replace")
    except OSError:
        return ""
