"""One round of questions to a gateway over loopback: raw HTTP, never the OpenClaw CLI.

A probe goes to 127.0.0.1 by its literal address, since a stranger on [::1] could shadow `localhost`. Sockets are driven
by hand: that keeps every errno, which anyio's connect buries, and halves the CPU of a round (0.7 ms instead of 1.4).
"""

import errno
import functools
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import anyio
import h11

from supervisor.openclaw import health
from supervisor.policy.facts import Answer

LIMIT = 64 * 1024

_HOST = "127.0.0.1"
_OPENING = b"HTTP/"
# A deadline that strikes later than this, in s, found us asleep: the answer may well have come in time.
_LATE_S = 1.0
_REFUSED = "connection refused"
# What a peer can do to a connection. Every other errno is about us: no descriptor, no memory, no route to loopback.
_PEER = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ECONNRESET: "connection reset",
    errno.ECONNABORTED: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ETIMEDOUT: "connection timed out",
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class CannotProbe:
    """The question could not be put, or the listener's owner not be found: our trouble, no verdict on the gateway."""

    text: str


Owner: TypeAlias = Callable[[], str | CannotProbe]
"""Says "" when the listener is the gateway's own, else whose it is ("the listener belongs to pid 99")."""


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class _Silence:
    """No answer that HTTP knows; `text` says how."""

    text: str


async def ask(
    *, port: int, tls: bool, phase: Literal["start", "health"], timeout_s: float, owner: Owner
) -> Answer | CannotProbe:
    """Ask one round within `timeout_s` s all told; `progress` is left 0.

    `owner` is called once, when the first answer came: only an answer from the gateway's own socket counts. Every sort of
    peer and of machine has its answer; nothing but cancellation is raised.
    """
    visit = _Visit(port, tls, timeout_s, anyio.current_time() + timeout_s)
    first = await visit.get(health.STARTUP if phase == "start" else health.LIVE)
    if not isinstance(first, _Reply):
        if isinstance(first, CannotProbe):
            return first
        return Answer(None, live=False, ready=None, detail=first.text, refused=first.text == _REFUSED)
    foreign = owner()
    if isinstance(foreign, CannotProbe):
        return foreign
    if foreign:
        return Answer(None, live=False, ready=None, detail=f"port {port} answers, but {foreign}")
    return await (_started(visit, first) if phase == "start" else _alive(visit, first, started=None))


async def _started(visit: "_Visit", reply: _Reply) -> Answer | CannotProbe:
    startup = health.startup(reply.status, reply.body)
    match startup.state:
        case "started":
            return await _serving(visit, started=True)
        case "too old":
            older = await visit.get(health.LIVE)
            if isinstance(older, CannotProbe):
                return older
            return await _alive(visit, older, started=True)
        case "starting" | "draining" | "odd":
            return Answer(started=False, live=True, ready=None, detail=startup.detail)


async def _alive(visit: "_Visit", reply: _Reply | _Silence, *, started: bool | None) -> Answer:
    if isinstance(reply, _Silence):
        return Answer(None, live=False, ready=None, detail=reply.text)
    verdict = health.live(reply.status)
    if not verdict.yes:
        return Answer(None, live=False, ready=None, detail=verdict.detail)
    return await _serving(visit, started=started)


async def _serving(visit: "_Visit", *, started: bool | None) -> Answer:
    """Add what /readyz says; where it stays silent the gateway is not ready, where we failed to ask nothing is known."""
    match await visit.get(health.READY):
        case _Reply(status, body):
            verdict = health.ready(status, body)
            return Answer(started, live=True, ready=verdict.yes, detail=verdict.detail)
        case _Silence(text):
            return Answer(started, live=True, ready=False, detail=f"{health.READY}: {text}")
        case CannotProbe(text):
            return Answer(started, live=True, ready=None, detail=f"{health.READY}: {text}")


@dataclass(slots=True)
class _Visit:
    """The requests of one round: they share one deadline, each has a connection of its own."""

    port: int
    tls: bool
    timeout_s: float
    deadline: float

    async def get(self, path: str) -> _Reply | _Silence | CannotProbe:
        exchange = _Exchange(self.port, path)
        with anyio.CancelScope(deadline=self.deadline):
            try:
                return await self._talk(exchange)
            except ssl.SSLError as error:
                return _Silence(f"TLS failed: {(error.reason or 'closed by the peer').replace('_', ' ').lower()}")
            except h11.RemoteProtocolError:
                return _Silence(exchange.flaw())
            except OSError as error:
                known = _PEER.get(error.errno or 0)
                return _Silence(known) if known else CannotProbe(f"cannot probe: {error.strerror or error}")
        late = anyio.current_time() - self.deadline
        if late > _LATE_S:
            return CannotProbe(f"cannot probe: the supervisor itself stood still for {late:.1f} s")
        return _Silence(f"no {'complete ' if exchange.heard else ''}answer within {self.timeout_s:g} s")

    async def _talk(self, exchange: "_Exchange") -> _Reply:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as plain:
            await _connect(plain, self.port)
            if not self.tls:
                return await _converse(plain, exchange)
            # The wrapper takes the descriptor over, and closes it.
            with _context().wrap_socket(plain, do_handshake_on_connect=False) as wrapped:
                await _when_possible(wrapped, wrapped.do_handshake)
                return await _converse(wrapped, exchange)


async def _connect(plain: socket.socket, port: int) -> None:
    try:
        plain.connect((_HOST, port))
    except BlockingIOError:
        await anyio.wait_writable(plain)
        if number := plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, errno.errorcode[number]) from None


async def _converse(peer: socket.socket, exchange: "_Exchange") -> _Reply:
    # Some hundred bytes into the empty buffer of a new connection: they go in one piece.
    await _when_possible(peer, functools.partial(peer.send, exchange.request))
    while (reply := exchange.reply()) is None:
        exchange.hear(await _when_possible(peer, functools.partial(peer.recv, LIMIT)))
    return reply


async def _when_possible(peer: socket.socket, step: Callable[[], _T]) -> _T:
    while True:
        try:
            return step()
        except (BlockingIOError, ssl.SSLWantReadError):
            await anyio.wait_readable(peer)
        except ssl.SSLWantWriteError:
            await anyio.wait_writable(peer)


@functools.cache
def _context() -> ssl.SSLContext:
    """Make the one context: encryption without verification, for the certificate is the gateway's own affair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Exchange:
    """One request, and what has been heard of its response."""

    def __init__(self, port: int, path: str) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
        headers = [("Host", f"{_HOST}:{port}"), ("Connection", "close"), ("Accept", "application/json")]
        request = self._http.send(h11.Request(method="GET", target=path, headers=headers))
        self.request = (request or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        self.heard = 0
        self._opening = b""
        self._status: int | None = None
        self._body = bytearray()

    def hear(self, data: bytes) -> None:
        """Take what was received; no bytes are the end of the connection."""
        self.heard += len(data)
        self._opening = (self._opening + data)[: len(_OPENING)]
        self._http.receive_data(data)

    def reply(self) -> _Reply | None:
        """Give the response once it is complete or longer than anybody reads; RemoteProtocolError if it never will be."""
        if not _OPENING.startswith(self._opening):
            msg = "an SSH or SMTP banner would be waited for until the deadline"
            raise h11.RemoteProtocolError(msg)
        while True:
            match self._http.next_event():
                case h11.Response(status_code=status):
                    self._status = status
                case h11.Data(data=data):
                    self._body += data
                case h11.EndOfMessage():
                    break
                case h11.InformationalResponse():
                    continue
                case h11.NEED_DATA if self.heard < LIMIT:
                    return None
                case _:
                    break
        if self._status is None:
            msg = "64 KiB without a final response"
            raise h11.RemoteProtocolError(msg)
        return _Reply(self._status, bytes(self._body))

    def flaw(self) -> str:
        """Say what was wrong with a response that was none."""
        if not self.heard:
            return "closed without an answer"
        return "answer cut off" if self._http.trailing_data[1] and self._opening == _OPENING else "not HTTP"
