"""One connection of the control socket: HTTP/1.1 requests in, JSON answers out."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import h11
from anyio.lowlevel import checkpoint

_SEND_S = 10.0  # an answer that is not taken for so long has no reader
_REQUEST_S = 10.0  # a client may be slow, but a connection is not for keeping
_CHUNK = 8 * 1024  # h11 holds its limit against what it could not use yet, so what comes at once must be less
_HEAD_BYTES = 16 * 1024
_HEADERS = 64
_BODY_BYTES = 512 * 1024  # a whole config fits

GONE = (ConnectionError, TimeoutError)
"""What a peer that went away, or reads no more, is seen as."""


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is without its query."""

    method: str
    path: str
    body: bytes


class RequestError(Exception):
    """What came is not a request that we take; `status` is the answer."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status


class Connection:
    """The framing of one connection over a non-blocking socket, which stays its owner's; a failed call leaves it unusable."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        self._is_head = False

    async def request(self) -> Request | None:
        """Await the next request; None when the peer has no more, or stayed silent. RequestError for one we do not take."""
        try:
            with anyio.fail_after(_REQUEST_S):
                return await self._request()
        except TimeoutError:
            if self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
                return None
            raise RequestError(408, f"the request did not arrive within {_REQUEST_S:g} s") from None
        except h11.RemoteProtocolError as error:
            raise RequestError(error.error_status_hint, str(error)) from error

    async def _request(self) -> Request | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            match self._http.next_event():
                case h11.NEED_DATA:
                    await self._read()
                case h11.Request() as event:
                    if len(event.headers.raw_items()) > _HEADERS:
                        raise RequestError(431, f"more than {_HEADERS} headers")
                    head, self._is_head = event, event.method == b"HEAD"
                case h11.Data() as part:
                    body += part.data
                    if len(body) > _BODY_BYTES:
                        raise RequestError(413, f"the body is longer than {_BODY_BYTES} bytes")
                case h11.EndOfMessage() if head is not None:
                    path = head.target.decode("ascii").partition("?")[0]
                    return Request(head.method.decode("ascii"), path, bytes(body))
                case _:  # ConnectionClosed, or PAUSED, which start_next_cycle() has made impossible
                    return None

    async def _read(self) -> None:
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        await checkpoint()  # a client that always has more to say must not keep the loop to itself
        while True:
            try:
                self._http.receive_data(self._peer.recv(_CHUNK))
            except BlockingIOError:
                await anyio.wait_readable(self._peer)
            else:
                return

    async def answer(self, status: int, document: Any, *, allow: str = "") -> None:
        """Send a whole answer; `allow` names the methods that a 405 would have taken."""
        body = json.dumps(document).encode() + b"\n"
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        head = h11.Response(status_code=status, headers=[*headers, ("allow", allow)] if allow else headers)
        content = () if self._is_head else (h11.Data(data=body),)
        await self._send(head, *content, h11.EndOfMessage())

    async def begin_lines(self) -> None:
        """Begin an answer of one JSON document a line."""
        await self._send(h11.Response(status_code=200, headers=[("content-type", "application/x-ndjson")]))

    async def line(self, document: Any) -> None:
        """Send one line of the answer that was begun."""
        await self._send(h11.Data(data=json.dumps(document).encode() + b"\n"))

    async def end_lines(self) -> None:
        """End the answer that was begun."""
        await self._send(h11.EndOfMessage())

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._http.send(event) or b"" for event in events)
        with anyio.fail_after(_SEND_S):
            await self._send_all(memoryview(data))

    async def _send_all(self, data: memoryview) -> None:
        while data:
            try:
                data = data[self._peer.send(data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._peer)

    async def refuse(self, status: int, what: str) -> None:
        """Answer so where an answer may still be begun, and somebody is there to read it."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            with suppress(OSError):  # gone, or the machine has no memory left for an answer
                await self.answer(status, {"error": what})

    def again(self) -> bool:
        """Make ready for the next request; false when this connection has had its last."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True
