"""Spawns gateways, watches, signals and adopts them; every signal goes through a pidfd, never to a remembered number.

A process is known by more than its pid: (pid, start ticks) collide when pids are reused within a clock tick. So a process
is pinned first, and only then believed to be the one that its environment says (RELIABILITY.md Q7).

What grows from a gateway is known by a mark: the soft limit of RLIMIT_LOCKS, which no kernel since 2.4 enforces, set to a number
of ours. Every descendant inherits it, whatever it does to its environment, session or parent, and anybody may read it.

`looking` reads /proc, `pinned` holds and signals, `spawning` starts, `hearing` takes what a short command says.
"""

from supervisor.host.processes.looking import (
    boot_id,
    cpu_ticks,
    is_zombie,
    leads_a_session,
    mark_of,
    pids,
    resident_bytes,
    start_ticks,
)
from supervisor.host.processes.pinned import (
    SHORTAGES,
    Process,
    ended,
    kill_all,
    pin,
    reap,
    send,
    status_after_reaping,
    terminate,
)
from supervisor.host.processes.spawning import (
    Account,
    Finished,
    NotSpawned,
    Plan,
    run,
    spawn,
)

__all__ = [
    "SHORTAGES",
    "Account",
    "Finished",
    "NotSpawned",
    "Plan",
    "Process",
    "boot_id",
    "cpu_ticks",
    "ended",
    "is_zombie",
    "kill_all",
    "leads_a_session",
    "mark_of",
    "pids",
    "pin",
    "reap",
    "resident_bytes",
    "run",
    "send",
    "spawn",
    "start_ticks",
    "status_after_reaping",
    "terminate",
]
