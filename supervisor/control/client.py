"""The other end of the control socket, for the command line: standard library only, and little of it.

HTTP/1.0, so that the end of the answer is the end of the connection. The time limit is the kernel's (SO_RCVTIMEO), so it also
holds for a connect() to a supervisor whose backlog is full, which a Python timeout does not cover on a unix socket.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator

from supervisor.errors import ClawsupError, NoSuchGateway, NoSupervisor, UsageError

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import Any

_TIMEVAL = struct.Struct("ll")
_CHUNK = 65536
_OK, _BAD_REQUEST = 200, 400


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
    raise ClawsupError("the supervisor closed the connection without an answer", mend="ask again; it may be restarting")


def _connected(socket_path: str, timeout_s: float) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    limit = _TIMEVAL.pack(int(timeout_s), int(timeout_s % 1 * 1e6))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    try:
        peer.connect(socket_path)
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


def _silent(timeout_s: float) -> ClawsupError:
    return ClawsupError(
        f"the supervisor does not answer ({timeout_s:g} s)",
        mend="it is stuck or stopped: its keeper replaces a stuck one by itself, so ask again in some seconds",
    )


def checked(status: int, body: bytes) -> dict[str, Any]:
    """Read an answer; what the supervisor refuses is raised as what it means here."""
    document: dict[str, Any] = json.loads(body)
    if status == _OK:
        return document
    what = document.get("error", f"the supervisor answers {status}")
    if "known" in document:
        raise NoSuchGateway(what, mend=f"known: {', '.join(document['known']) or 'none at all; see clawsup check'}")
    if status == _BAD_REQUEST:
        raise UsageError(what)
    raise ClawsupError(what)
