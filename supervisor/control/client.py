"""The other end of the control socket, for the command line: standard library only, and little of it.

HTTP/1.0, so that the end of the answer is the end of the connection. The time limit is the kernel's (SO_RCVTIMEO), so it also
holds for a connect() to a supervisor whose backlog is full, which a Python timeout does not cover on a unix socket.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Iterator

from supervisor.control.address import side_path
from supervisor.errors import ClawsupError, NoBrain, NoSuchGateway, NoSupervisor, UsageError

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import Any

_TIMEVAL = struct.Struct("ll")
_CHUNK = 65536
_OK, _BAD_REQUEST = 200, 400
_REPLACED_S = 2.0  # a new brain listens within a second
_LOOK_S = 0.05


def request(socket_path: str, method: str, path: str, body: object = None, timeout_s: float = 5.0) -> tuple[int, bytes]:
    """Send one request, `body` as JSON; give the answer's status and body. Silence of `timeout_s` is a ClawsupError."""
    status, parts = _exchange(socket_path, method, path, body, timeout_s)
    return status, b"".join(parts)


def stream(
    socket_path: str, method: str, path: str, body: object = None, timeout_s: float = 5.0
) -> tuple[int, Iterator[bytes]]:
    """Like `request`, but give the body line by line as it comes, each without its newline."""
    status, parts = _exchange(socket_path, method, path, body, timeout_s)
    return status, _lines(parts)


def _exchange(socket_path: str, method: str, path: str, body: object, timeout_s: float) -> tuple[int, Iterator[bytes]]:
    peer = _connected(socket_path, timeout_s)
    payload = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.0\r\nhost: clawsup\r\ncontent-length: {len(payload)}\r\n\r\n"
    try:
        peer.sendall(head.encode() + payload)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a supervisor that is too busy answers before it listens: its answer is there to be read
    except BlockingIOError:
        peer.close()
        raise _silent(timeout_s) from None
    parts = _parts(peer, timeout_s)
    received = b""
    for part in parts:
        received += part
        header, end, rest = received.partition(b"\r\n\r\n")
        if end:
            return int(header.split(b" ", 2)[1]), _prepended(rest, parts)
    raise _cut_off()


def _connected(socket_path: str, timeout_s: float) -> socket.socket:
    """Connect; where only a keeper is there, wait a moment for the brain that it starts."""
    deadline = time.monotonic() + _REPLACED_S
    while True:
        try:
            return _dialled(socket_path, timeout_s)
        except NoSupervisor:
            if not _is_kept(socket_path.rpartition("/")[0]):
                raise
        if time.monotonic() >= deadline:
            raise NoBrain(
                "the supervisor is being replaced or started, and does not answer yet; the gateways run on",
                mend="ask again in some seconds; if it stays so, see what it says (journalctl -u openclaw-supervisor)",
            )
        time.sleep(_LOOK_S)


def _is_kept(state_dir: str) -> bool:
    """Whether a keeper holds `supervisor.lock`. The kernel's list tells; to try the lock would be to take it for a moment."""
    try:
        with open(f"{state_dir}/supervisor.lock", "rb") as file, open("/proc/locks", "rb") as listed:
            found, signed = os.fstat(file.fileno()), file.read(32).strip()
            held = [words for words in map(bytes.split, listed) if words[1] == b"FLOCK"]
    except OSError:
        return False
    # On some file systems the device is not the one that stat() gives, and on a read-only one the pid is an older keeper's.
    device = b"%02x:%02x:%d" % (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
    inode = b":%d" % found.st_ino
    return any(words[5] == device or (words[4] == signed and words[5].endswith(inode)) for words in held)


def _dialled(socket_path: str, timeout_s: float) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    limit = _TIMEVAL.pack(int(timeout_s), int(timeout_s % 1 * 1e6))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    try:
        _call(peer, socket_path)
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        peer.close()
        raise NoSupervisor(
            f"no supervisor is running here: nobody listens on {socket_path}",
            mend="start it (clawsup run, or systemctl start openclaw-supervisor), or name another one with --state-dir",
        ) from None
    except PermissionError:
        peer.close()
        raise ClawsupError(
            f"{socket_path}: this user may not talk to that supervisor", mend="ask as the user it runs as, or as root"
        ) from None
    except BlockingIOError:
        peer.close()
        raise _silent(timeout_s) from None
    return peer


def _call(peer: socket.socket, path: str) -> None:
    """Connect; who may not come in there may be a gateway's user, and then there is a socket for that one."""
    try:
        peer.connect(path)
    except PermissionError:
        try:
            peer.connect(side_path(path.rpartition("/")[0], os.geteuid()))
        except (FileNotFoundError, ConnectionRefusedError):
            raise PermissionError from None


def _parts(peer: socket.socket, timeout_s: float) -> Iterator[bytes]:
    with peer:
        while True:
            try:
                part = peer.recv(_CHUNK)
            except BlockingIOError:
                raise _silent(timeout_s) from None
            except ConnectionResetError:
                return  # it closed with bytes of ours unread; all of its own have come
            if not part:
                return
            yield part


def _prepended(first: bytes, parts: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from parts


def _lines(parts: Iterator[bytes]) -> Iterator[bytes]:
    pending = b""
    for part in parts:
        *lines, pending = (pending + part).split(b"\n")
        yield from lines


def _cut_off() -> ClawsupError:
    return ClawsupError(
        "the supervisor closed the connection without an answer", mend="ask again; it may just have been replaced"
    )


def _silent(timeout_s: float) -> ClawsupError:
    return ClawsupError(
        f"the supervisor does not answer ({timeout_s:g} s)",
        mend="it is stuck or stopped: its keeper replaces a stuck one by itself, so ask again in some seconds",
    )


def checked(status: int, body: bytes) -> dict[str, Any]:
    """Read an answer; what the supervisor refuses is raised as what it means here."""
    try:
        document: dict[str, Any] = json.loads(body)
    except ValueError:
        raise _cut_off() from None
    if status == _OK:
        return document
    what = document.get("error", f"the supervisor answers {status}")
    if "known" in document:
        raise NoSuchGateway(what, mend=f"known: {', '.join(document['known']) or 'none at all; see clawsup check'}")
    if status == _BAD_REQUEST:
        raise UsageError(what)
    raise ClawsupError(what, mend=document.get("mend") or "")
