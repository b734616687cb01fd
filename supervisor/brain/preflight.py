"""What stands in the way of a gateway: the doors' plain findings, put into words and a cause.

The order is the order of trust: launcher, owner, state directory and lock, ports. A config file that is missing or wrong is no
obstacle before a start: OpenClaw itself is the judge of that, in two seconds and by exit 78.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from supervisor.brain.launchers import Short, account_of
from supervisor.host import locks, ownership, ports, strangers
from supervisor.openclaw.ports import Family
from supervisor.policy.definition import Definition
from supervisor.policy.facts import Cause, Obstacle


@dataclass(frozen=True, slots=True)
class Clear:
    """Nothing stands in the way: the lock is ours at descriptor `lock`; `warnings` are ports that others hold."""

    lock: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a dead life of ours left behind still holds lock or port: sweep it, then look again."""

    pids: tuple[int, ...]


def look(definition: Definition, *, ours: Callable[[int], bool]) -> Clear | Obstacle | Short | Leftovers:
    """Take the lock and test-bind the whole family; `ours` tells a process that a dead life left behind."""
    closed = _foreign(definition) or _unwritable(definition)
    if closed is not None:
        return closed
    taken = locks.take(Path(definition.state_dir))
    match taken:
        case locks.Taken(fd=lock):
            return _ports(definition, lock, ours)
        case locks.Held(holders=holders):
            return Leftovers(holders) if holders and all(map(ours, holders)) else _locked(definition, holders)
        case locks.Unusable(why="machine", text=text):
            return Short(text)
        case locks.Unusable(text=text, mend=mend):
            return Obstacle("state_dir", Cause.MISSING, text, mend, f"state_dir {text}")
        case _:
            assert_never(taken)


def _foreign(definition: Definition) -> Obstacle | None:
    """Where a gateway has a user of its own, state dir and config file are that user's, or there is no wall."""
    account = account_of(definition)
    if account is None:
        return None
    who, ids = account
    wrong = ownership.directory(definition.state_dir, ids.uid, who.name) or ownership.config(
        definition.config_path, ids.uid, who.name, definition.state_dir
    )
    if wrong is None:
        return None
    return Obstacle("state_dir", Cause.MISSING, wrong.text, wrong.mend, f"ownership {wrong.text}")


def _unwritable(definition: Definition) -> Obstacle | None:
    """A state dir that may only be read makes OpenClaw fall, unless what it keeps its state in is there already and may be written."""
    where = definition.state_dir
    if account_of(definition) is not None or not os.access(where, os.R_OK | os.X_OK):
        return None
    if os.access(where, os.W_OK) or os.access(f"{where}/state", os.W_OK):
        return None
    text = f"state directory {where} may not be written by uid {os.geteuid()}"
    mend = "make it writable for that user; where its disk is read-only, mount it writable"
    return Obstacle("state_dir", Cause.MISSING, text, mend, f"state_dir {text}")


def _ports(definition: Definition, lock: int, ours: Callable[[int], bool]) -> Clear | Obstacle | Short | Leftovers:
    family = Family(definition.port, definition.cdp_ports)
    busy = ports.look(family.ports())
    vital = [each for each in busy if each.port in family.vital() and each.fatal]
    if not vital:
        return Clear(lock, tuple(_phrase(each) for each in busy))
    locks.release(lock)
    if vital[0].kind == "untried":
        return Short(vital[0].error)
    if vital[0].pid is not None and ours(vital[0].pid):
        return Leftovers((vital[0].pid,))
    return _port_taken(vital[0])


def after_exit(definition: Definition, *, ours: Callable[[int], bool]) -> Obstacle | None:
    """What of the lock and the two vital ports another holds, right after a gateway ended."""
    taken = locks.take(Path(definition.state_dir))
    if isinstance(taken, locks.Held) and not any(ours(pid) for pid in taken.holders):
        return _locked(definition, taken.holders)
    if isinstance(taken, locks.Taken):
        locks.release(taken.fd)
    family = Family(definition.port, definition.cdp_ports)
    for busy in ports.look(family.vital()):
        if busy.fatal and busy.kind != "untried" and (busy.pid is None or not ours(busy.pid)):
            return _port_taken(busy)
    return None


def _locked(definition: Definition, holders: tuple[int, ...]) -> Obstacle:
    names = ", ".join(str(strangers.describe(pid)) for pid in holders) or "a process of another user"
    return Obstacle(
        "lock",
        Cause.CONFLICT,
        f"{definition.state_dir} is in use by {names}",
        "stop that one, or give this definition a state_dir of its own; it starts as soon as the lock is free",
        f"lock {holders}",
    )


def _port_taken(busy: ports.Busy) -> Obstacle:
    if busy.kind == "forbidden":
        mend = "choose a port of 1024 or more, or give the supervisor CAP_NET_BIND_SERVICE"
        return Obstacle("port", Cause.CONFLICT, _phrase(busy), mend, f"port {busy.port} forbidden")
    return Obstacle(
        "port",
        Cause.CONFLICT,
        _phrase(busy),
        "stop that one, or choose another `port`; the gateway starts as soon as the port is free",
        f"port {busy.port} {busy.pid} {busy.uid}",
    )


def _phrase(busy: ports.Busy) -> str:
    where = f"port {busy.port}" + (f" on [{busy.address}]" if ":" in busy.address else "")
    if busy.kind in ("forbidden", "untried"):
        return f"{where} cannot be bound: {busy.error}"
    if busy.kind == "connection":
        return f"{where} is used by an outgoing connection"
    holder = str(strangers.describe(busy.pid)) if busy.pid is not None else _another(busy.uid)
    return f"{where} is held by {holder}"


def _another(uid: int | None) -> str:
    return "a process that cannot be seen" if uid is None else f"a process of uid {uid}"
