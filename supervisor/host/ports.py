"""Which ports are taken and by whom, and whose socket it is that listens.

A port is tried by binding it as Node would. Only when that fails is the owner looked for: the kernel's listening sockets
come over NETLINK_SOCK_DIAG, since /proc/net/tcp walks the whole table of connections (8 ms for a single socket on a host
with 24 GiB) and serves only for connections and for kernels without the other.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

_V4, _V6 = "127.0.0.1", "::1"
# Who listens on one of these keeps others from the loopback address; the most specific listener gets the connection.
_BLOCKS = {_V4: (_V4, "0.0.0.0", "::"), _V6: (_V6, "::")}  # noqa: S104 - it is recognised, not bound

_LISTEN = 10
_SOCK_DIAG, _BY_FAMILY, _REQUEST_DUMP, _ERROR, _DONE = 4, 20, 0x301, 2, 3

# Another process may end, or turn out to be another user's, between any two looks at it.
_OUT_OF_SIGHT = (FileNotFoundError, ProcessLookupError, PermissionError)


@dataclass(frozen=True, slots=True)
class Busy:
    """A port that could not be bound.

    `kind` is what holds it: a listener, a connection that uses it as its local port, a socket that is merely bound;
    `forbidden` means that we may not bind it (`error` says why), `untried` that the machine could not even try. `fatal`
    is false when only [::1] is taken: OpenClaw then starts without it. `pid` is None where only another user's is possible.
    """

    port: int
    address: str
    kind: Literal["listener", "connection", "bound", "forbidden", "untried"]
    fatal: bool
    pid: int | None = None
    uid: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Foreign:
    """The listener belongs to none of those asked about; `pid` is None where it could not be seen."""

    pid: int | None
    uid: int


@dataclass(frozen=True, slots=True)
class Unseen:
    """We could not find out who listens: the machine's trouble, and no proof of anything."""

    text: str


class _Socket(NamedTuple):
    address: str
    port: int
    uid: int
    inode: int
    listens: bool


def look(ports: Sequence[int], *, known: Iterable[int] = ()) -> tuple[Busy, ...]:
    """Try to bind each port on 127.0.0.1 and [::1]; who polls passes the pids seen last as `known`, which makes it cheap."""
    asked = [port for port in ports if not _is_free(port)]
    found = (_try(port, address, tuple(known)) for port in asked for address in (_V4, _V6))
    first: dict[int, Busy] = {}
    for busy in found:
        if busy is not None:
            first.setdefault(busy.port, busy)
    return tuple(first.values())


def listener(port: int, pids: Iterable[int]) -> int | Foreign | Unseen | None:
    """Say which of `pids` owns the socket that a connection to 127.0.0.1:`port` reaches; None when nothing listens."""
    candidates = tuple(pids)
    ours: int | None = None
    try:
        for reached in _reached(port):
            ours = _owner(reached.inode, candidates)
            if ours is None:
                return Foreign(_owner(reached.inode, _everybody(reached.uid)), reached.uid)
    except OSError as error:
        return Unseen(f"the listener on port {port} cannot be looked up: {error.strerror}")
    return ours


def _reached(port: int) -> list[_Socket]:
    """Choose the listeners with the most specific address; more than one only where they share it (SO_REUSEPORT)."""
    sockets = [each for each in _listening() if each.port == port]
    for address in _BLOCKS[_V4]:
        if same := [each for each in sockets if each.address == address]:
            return same
    return []


def _try(port: int, address: str, known: tuple[int, ...]) -> Busy | None:
    error = _bind(port, address)
    if error is None:
        return None
    fatal = address == _V4
    match error.errno:
        case errno.EAFNOSUPPORT | errno.EADDRNOTAVAIL if not fatal:
            return None  # There is no IPv6 here, and OpenClaw does without.
        case errno.EADDRINUSE:
            return _holder(port, address, known)
        case errno.EACCES | errno.EPERM:
            return Busy(port, address, "forbidden", fatal, error=str(error.strerror))
        case _:
            return Busy(port, address, "untried", fatal, error=str(error.strerror))


def _is_free(port: int) -> bool:
    """Whether it can be bound on all addresses at once, as nearly always: that takes one socket, and proves both."""
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            trial.bind(("::", port))
    except OSError:
        return False
    return True


def _bind(port: int, address: str) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET if address == _V4 else socket.AF_INET6) as trial:
            # As libuv does: without it, connections that ended a minute ago would still count.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if trial.family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((address, port))
    except OSError as error:
        return error
    return None


def _holder(port: int, address: str, known: tuple[int, ...]) -> Busy | None:
    fatal = address == _V4
    try:
        blocking = [s for s in _listening() if s.port == port and s.address in _BLOCKS[address]]
        if not blocking:
            blocking = [s for s in _table() if s.port == port and s.address == address]
        if not blocking:
            # It is free since, or bound by a socket that the kernel lists nowhere.
            return Busy(port, address, "bound", fatal) if _bind(port, address) else None
        found = blocking[0]
        kind: Literal["listener", "connection"] = "listener" if found.listens else "connection"
        if not found.inode:  # A connection in its last minute: no process has it any more, nor has it a user.
            return Busy(port, found.address, kind, fatal)
        pid = _owner(found.inode, known) or _owner(found.inode, _everybody(found.uid))
        return Busy(port, found.address, kind, fatal, pid, found.uid)
    except OSError as error:
        return Busy(port, address, "bound", fatal, error=f"its holder cannot be looked up: {error.strerror}")


def _owner(inode: int, pids: Iterable[int]) -> int | None:
    """Find the first of these processes that has the socket open."""
    wanted = f"socket:[{inode}]"
    return next((pid for pid in pids if wanted in _open_files(pid)), None)


def _open_files(pid: int) -> Iterator[str]:
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                try:
                    yield os.readlink(entry.path)  # noqa: PTH115 - a Path each would double the cost of a look
                except FileNotFoundError:
                    continue
    except _OUT_OF_SIGHT:
        return


def _everybody(uid: int) -> list[int]:
    """List all pids, those of this user first."""
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    return sorted(pids, key=lambda pid: _uid(pid) != uid)


def _uid(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except _OUT_OF_SIGHT:
        return None


def _listening() -> list[_Socket]:
    try:
        return [*_dump(socket.AF_INET), *_dump(socket.AF_INET6)]
    except OSError:
        # No inet_diag in this kernel, or a sandbox without AF_NETLINK.
        return [each for each in _table() if each.listens]


def _dump(family: int) -> Iterator[_Socket]:
    """Ask the kernel for the listening TCP sockets of a family: sock_diag(7), struct inet_diag_req_v2 and inet_diag_msg."""
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG)) as kernel:
        request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
        kernel.send(struct.pack("=IHHII", 16 + len(request), _BY_FAMILY, _REQUEST_DUMP, 0, 0) + request)
        while True:
            data = memoryview(kernel.recv(1 << 16))
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", data, 16)[0]
                    raise OSError(number, os.strerror(number))
                (port,) = struct.unpack_from(">H", data, 20)
                uid, inode = struct.unpack_from("=II", data, 80)
                yield _Socket(_text(data[24 : 28 if family == socket.AF_INET else 40]), port, uid, inode, listens=True)
                data = data[(length + 3) & ~3 :]


def _table() -> Iterator[_Socket]:
    """Read all TCP sockets from /proc/net; where there is no IPv6 there is no second table."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            lines = table.read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            _, local, _, state, _, _, _, uid, _, inode, *_ = line.split()
            address, port = local.split(":")
            words = (int(address[i : i + 8], 16) for i in range(0, len(address), 8))
            raw = b"".join(struct.pack("=I", word) for word in words)
            yield _Socket(_text(raw), int(port, 16), int(uid), int(inode), listens=int(state, 16) == _LISTEN)


def _text(raw: bytes | memoryview) -> str:
    """Write an address; an IPv4 address in IPv6 form is that IPv4 address."""
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw).removeprefix("::ffff:")  # noqa: PLR2004 - an IPv4 address has 4 bytes
