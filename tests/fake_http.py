"""HTTP on loopback as the fake OpenClaw speaks it: small pages, a stream that never ends, nothing that blocks."""

import json
import selectors
import socket
from collections.abc import Callable

Page = tuple[int, dict[str, object]]
Hook = Callable[[str, str, bytes], Page | None]


class Http:
    """Listeners and connections on a shared selector, whose keys carry what to call; `page` gives status and body of a path.

    `hook` does so for a POST, by path, bearer token and body; None where it is for no hook.
    """

    def __init__(self, selector: selectors.BaseSelector, page: Callable[[str], Page], hook: Hook) -> None:
        self.selector = selector
        self.page = page
        self.hook = hook
        self.listeners: list[socket.socket] = []
        self.holds: list[socket.socket] = []

    def bind(self, family: socket.AddressFamily, host: str, port: int) -> None:
        """Listen on one address too."""
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        listener.listen(128)
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, self.accept)
        self.listeners.append(listener)

    def close(self) -> None:
        """Stop listening; connections stay."""
        for listener in self.listeners:
            self.selector.unregister(listener)
            listener.close()
        self.listeners.clear()

    def accept(self, listener: socket.socket) -> None:
        """Take one connection."""
        try:
            peer, _ = listener.accept()
        except BlockingIOError:
            return
        peer.setblocking(False)
        heard = bytearray()
        self.selector.register(peer, selectors.EVENT_READ, lambda _: self.read(peer, heard))

    def read(self, peer: socket.socket, heard: bytearray) -> None:
        """Answer every whole request that has come in."""
        try:
            data = peer.recv(65536)
        except ConnectionError:
            data = b""
        heard += data
        keep = bool(data)
        while keep and b"\r\n\r\n" in heard:
            head, _, rest = bytes(heard).partition(b"\r\n\r\n")
            length = int(header(head.decode("latin-1"), "content-length") or 0)
            if len(rest) < length:
                break
            heard[:] = rest[length:]
            keep = self.answer(peer, head.decode("latin-1"), rest[:length])
        if not keep:
            self.selector.unregister(peer)
            if peer not in self.holds:
                peer.close()

    def answer(self, peer: socket.socket, head: str, sent: bytes) -> bool:
        """Answer one request; False when the connection is to be read no more."""
        headers = head.lower().split("\r\n")[1:]
        method, _, rest = head.partition(" ")
        path = rest.partition(" ")[0]
        if path == "/hold":
            self.holds.append(peer)
            send(peer, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            return False
        status, body = self.page(path)
        if method not in {"GET", "HEAD"}:
            token = header(head, "authorization").removeprefix("Bearer ")
            status, body = self.hook(path, token, sent) or (405, {"error": "method not allowed"})
        if any(header.startswith("x-forwarded-for:") for header in headers):
            status, body = 403, {"error": "proxy_attribution_required"}
        text = json.dumps(body).encode()
        reply = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        return send(peer, reply if method == "HEAD" else reply + text) and "connection: close" not in headers

    def drip(self) -> None:
        """Send one byte to everyone who holds on."""
        self.holds = [hold for hold in self.holds if send(hold, b".")]


def header(head: str, name: str) -> str:
    """A header's value; "" where there is none."""
    lines = (line.partition(":") for line in head.split("\r\n")[1:])
    return next((value.strip() for key, _, value in lines if key.lower() == name), "")


def send(peer: socket.socket, data: bytes) -> bool:
    """Send, or give up on a peer that has gone or does not read: False."""
    try:
        return peer.send(data) == len(data)
    except (ConnectionError, BlockingIOError):
        return False
