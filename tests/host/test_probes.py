"""Probes against real servers on loopback, good, bad and silent; every test runs on asyncio and on trio."""

import functools
import json
import os
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
import pytest
from anyio.abc import AnyByteStream, SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from supervisor.host.probes import LIMIT, CannotProbe, Owner, ask
from supervisor.policy.facts import Answer

Handler: TypeAlias = Callable[[AnyByteStream], Awaitable[None]]
Replies: TypeAlias = Mapping[str, tuple[int, object]]

STARTED: Replies = {
    "/startupz": (200, {"ok": True, "status": "started", "version": "2026.9.6", "uptimeMs": 9000}),
    "/healthz": (200, {"ok": True, "status": "live"}),
    "/readyz": (200, {"ready": True, "failing": [], "uptimeMs": 9000}),
}
STARTING: Replies = {
    "/startupz": (503, {"ok": False, "status": "starting", "pendingReason": "startup-sidecars", "uptimeMs": 2100}),
    "/healthz": (200, {"ok": True, "status": "live"}),
    "/readyz": (503, {"ready": False, "failing": ["startup-sidecars"]}),
}
DRAINING: Replies = {
    "/startupz": (503, {"ok": False, "status": "draining"}),
    "/healthz": (200, {"ok": True, "status": "live"}),
    "/readyz": (503, {"ready": False, "failing": ["gateway-draining"]}),
}
OLD: Replies = {path: reply for path, reply in STARTED.items() if path != "/startupz"}


def ours() -> str:
    return ""


async def probe(
    port: int,
    phase: Literal["start", "health"] = "health",
    *,
    tls: bool = False,
    timeout_s: float = 10,
    owner: Owner = ours,
) -> Answer | CannotProbe:
    return await ask(port=port, tls=tls, phase=phase, timeout_s=timeout_s, owner=owner)


REFUSED = Answer(None, live=False, ready=None, detail="connection refused", refused=True)


def hung(detail: str) -> Answer:
    return Answer(started=None, live=False, ready=None, detail=detail)


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server in this loop; each connection is its handler's until that returns."""

    async def handle(stream: AnyByteStream) -> None:
        async with stream:
            try:
                await handler(stream)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                return  # The prober has heard enough.

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port: int = listener.extra(SocketAttribute.local_port)  # noqa: S610 - this is anyio, not Django
    async with listener, anyio.create_task_group() as group:
        server = listener if context is None else TLSListener(listener, context, standard_compatible=False)
        group.start_soon(server.serve, handle)
        yield port
        group.cancel_scope.cancel()


def gateway(replies: Replies, requests: list[bytes] | None = None) -> Handler:
    """A server that answers as an OpenClaw does."""

    async def handler(stream: AnyByteStream) -> None:
        head = await request(stream)
        if requests is not None:
            requests.append(head)
        status, told = replies.get(head.split()[1].decode(), (404, None))
        body = json.dumps(told).encode()
        await stream.send(b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)
        await anyio.sleep_forever()  # Who waits for the end of the connection waits for ever.

    return handler


def saying(*pieces: bytes) -> Handler:
    """A server that answers this, and closes."""

    async def handler(stream: AnyByteStream) -> None:
        await request(stream)
        for piece in pieces:
            await stream.send(piece)

    return handler


async def request(stream: AnyByteStream) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    return head


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A listener whose process never accepts: the kernel connects, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl(1) to make a certificate with")
    directory = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-nodes", "-subj", "/CN=nobody", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(["openssl", "req", "-x509", *curve, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.mark.parametrize(
    ("phase", "replies", "expected"),
    [
        ("start", STARTED, Answer(started=True, live=True, ready=True)),
        ("start", STARTING, Answer(started=False, live=True, ready=None, detail="starting: startup-sidecars")),
        ("start", DRAINING, Answer(started=False, live=True, ready=None, detail="draining")),
        ("start", OLD, Answer(started=True, live=True, ready=True)),
        ("start", {}, hung("/healthz answered 404")),
        ("start", {"/startupz": (403, None)}, Answer(False, live=True, ready=None, detail="/startupz answered 403")),
        ("health", STARTED, Answer(started=None, live=True, ready=True)),
        ("health", DRAINING, Answer(started=None, live=True, ready=False, detail="not ready: gateway-draining")),
        ("health", {"/healthz": (500, None)}, hung("/healthz answered 500")),
        (
            "health",
            {"/healthz": (200, None)},
            Answer(started=None, live=True, ready=None, detail="/readyz is not known to this OpenClaw"),
        ),
    ],
)
async def test_each_endpoint_has_its_own_meaning(
    phase: Literal["start", "health"], replies: Replies, expected: Answer
) -> None:
    async with serving(gateway(replies)) as port:
        assert await probe(port, phase) == expected


async def test_a_request_is_plain_and_names_no_proxy() -> None:
    """OpenClaw answers 403 to a request that was forwarded."""
    requests: list[bytes] = []
    async with serving(gateway(STARTED, requests)) as port:
        await probe(port)
        lines = [f"Host: 127.0.0.1:{port}", "Connection: close", "Accept: application/json", "", ""]
    assert requests == ["\r\n".join([f"GET {path} HTTP/1.1", *lines]).encode() for path in ("/healthz", "/readyz")]


async def test_only_an_answer_from_the_gateways_own_socket_counts() -> None:
    """R24."""
    async with serving(gateway(STARTED)) as port:
        expected = hung(f"port {port} answers, but the listener belongs to pid 99")
        for phase in ("start", "health"):
            assert await probe(port, phase, owner=lambda: "the listener belongs to pid 99") == expected
        trouble = CannotProbe("the listener cannot be looked up")
        assert await probe(port, owner=lambda: trouble) == trouble


async def test_the_owner_is_asked_once_and_only_when_an_answer_came(silent: socket.socket) -> None:
    calls: list[int] = []

    def owner() -> str:
        calls.append(1)
        return ""

    await probe(silent.getsockname()[1], timeout_s=0.1, owner=owner)
    assert calls == []
    async with serving(gateway(STARTED)) as port:
        await probe(port, owner=owner)
    assert calls == [1]


async def test_a_port_without_listener_refuses() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        for phase in ("start", "health"):
            assert await probe(bound.getsockname()[1], phase) == REFUSED


async def test_a_silent_peer_is_given_its_time_and_no_more(silent: socket.socket) -> None:
    begun = time.monotonic()
    for tls in (False, True):
        assert await probe(silent.getsockname()[1], tls=tls, timeout_s=0.2) == hung("no answer within 0.2 s")
    assert 0.4 <= time.monotonic() - begun < 4


@pytest.fixture
def server_process() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that answers 200 to everything, and its port."""
    script = (
        "import http.server\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "    def log_message(self, *_): pass\n"
        "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H); print(s.server_port, flush=True); s.serve_forever()"
    )
    with subprocess.Popen([sys.executable, "-S", "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield child, int(child.stdout.readline())
        child.kill()


async def test_a_stopped_process_is_hung_and_lives_again_when_it_goes_on(
    server_process: tuple[subprocess.Popen[bytes], int],
) -> None:
    child, port = server_process
    assert await probe(port) == Answer(started=None, live=True, ready=True)
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED)  # noqa: ASYNC222 - a signal is all that is waited for
    assert await probe(port, timeout_s=0.2) == hung("no answer within 0.2 s")
    child.send_signal(signal.SIGCONT)
    assert await probe(port) == Answer(started=None, live=True, ready=True)


@pytest.mark.parametrize(
    ("pieces", "detail"),
    [
        ((), "closed without an answer"),
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), "not HTTP"),
        ((b"\x00\xff" * 500,), "not HTTP"),
        ((b"HTTP/1.1 abc\r\n\r\n",), "not HTTP"),
        ((b"HTTP/1.1 101 Switching Protocols\r\n\r\n",), "not HTTP"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",), "not HTTP"),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * LIMIT * 2,), "not HTTP"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n",) * 8000, "not HTTP"),
        ((b"HTTP/1.1 200 OK\r\nContent-Le",), "answer cut off"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",), "answer cut off"),
    ],
)
async def test_what_is_no_answer_says_why(pieces: tuple[bytes, ...], detail: str) -> None:
    async with serving(saying(*pieces)) as port:
        assert await probe(port) == hung(detail)


async def test_a_banner_is_not_waited_for() -> None:
    async def handler(stream: AnyByteStream) -> None:
        await stream.send(b"220 mail.example ESMTP\r\n")
        await anyio.sleep_forever()

    async with serving(handler) as port:
        assert await probe(port) == hung("not HTTP")


async def test_a_reset_is_told() -> None:
    async def handler(stream: AnyByteStream) -> None:
        await request(stream)
        raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - this is anyio, not Django
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with serving(handler) as port:
        assert await probe(port) == hung("connection reset")


async def test_an_answer_without_end_is_read_as_far_as_anybody_reads() -> None:
    sent = 0

    async def handler(stream: AnyByteStream) -> None:
        nonlocal sent
        await request(stream)
        await stream.send(b"HTTP/1.1 503 Busy\r\n\r\n")
        while True:
            await stream.send(bytes(LIMIT))
            sent += LIMIT

    async with serving(handler) as port:
        assert await probe(port, "start") == Answer(started=False, live=True, ready=None, detail="starting")
    assert sent < 100 * LIMIT  # Some of it stays in the kernel's buffers.


async def test_a_slow_drip_does_not_stretch_the_deadline() -> None:
    async def handler(stream: AnyByteStream) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
            await stream.send(bytes([byte]))
            await anyio.sleep(0.02)

    begun = time.monotonic()
    async with serving(handler) as port:
        assert await probe(port, timeout_s=0.3) == hung("no complete answer within 0.3 s")
    assert time.monotonic() - begun < 3


async def test_the_whole_round_has_one_deadline_and_silence_on_readyz_is_not_ready() -> None:
    async def handler(stream: AnyByteStream) -> None:
        head = await request(stream)
        await anyio.sleep(0.2 if b"/healthz" in head else 60)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    begun = time.monotonic()
    async with serving(handler) as port:
        answer = await probe(port, timeout_s=0.5)
    assert answer == Answer(started=None, live=True, ready=False, detail="/readyz: no answer within 0.5 s")
    assert time.monotonic() - begun < 5


async def test_tls_is_spoken_without_verification(certificate: ssl.SSLContext) -> None:
    async with serving(gateway(STARTED), certificate) as port:
        assert await probe(port, "start", tls=True) == Answer(started=True, live=True, ready=True)
        assert await probe(port, "health", tls=True) == Answer(started=None, live=True, ready=True)


async def test_a_tls_server_that_is_asked_in_the_clear_is_not_live(certificate: ssl.SSLContext) -> None:
    """OpenClaw drops plain HTTP when its config says TLS."""
    context = certificate

    async def handler(stream: AnyByteStream) -> None:
        with pytest.raises(ssl.SSLError):
            await TLSStream.wrap(stream, server_side=True, ssl_context=context)

    async with serving(handler) as port:
        answer = await probe(port)
    assert isinstance(answer, Answer)
    assert not answer.live
    assert answer.detail in {"not HTTP", "closed without an answer", "connection reset"}


async def test_what_is_no_tls_is_told() -> None:
    async def handler(stream: AnyByteStream) -> None:
        await stream.send(b"220 mail.example ESMTP\r\n")
        await anyio.sleep_forever()

    async with serving(handler) as port:
        answer = await probe(port, tls=True)
    assert isinstance(answer, Answer)
    assert answer.detail.startswith("TLS failed: ")


async def test_our_own_lack_of_descriptors_is_no_verdict() -> None:
    async with serving(gateway(STARTED)) as port:
        with no_descriptors():
            answer = await probe(port)
    assert answer == CannotProbe("cannot probe: Too many open files")


async def test_our_own_standstill_is_no_verdict(silent: socket.socket) -> None:
    """A supervisor that was stopped wakes up to find every deadline passed, whatever lies in its sockets."""
    answers: list[Answer | CannotProbe] = []

    async def one_probe() -> None:
        answers.append(await probe(silent.getsockname()[1], timeout_s=0.3))

    async with anyio.create_task_group() as group:
        group.start_soon(one_probe)
        await anyio.wait_readable(silent)
        time.sleep(1.6)  # noqa: ASYNC251 - the loop shall stand still
    (answer,) = answers
    assert isinstance(answer, CannotProbe)
    assert answer.text.startswith("cannot probe: the supervisor itself stood still for ")


async def test_a_cancelled_probe_leaves_nothing_open(silent: socket.socket) -> None:
    before = descriptors()
    for tls in (False, True):
        async with anyio.create_task_group() as group:
            group.start_soon(functools.partial(probe, silent.getsockname()[1], tls=tls))
            await anyio.wait_readable(silent)
            group.cancel_scope.cancel()
        silent.accept()[0].close()
    assert descriptors() == before


async def test_one_silent_gateway_delays_no_other(silent: socket.socket) -> None:
    async with serving(gateway(STARTED)) as port, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(probe, silent.getsockname()[1])
        with anyio.fail_after(5):
            assert await probe(port) == Answer(started=None, live=True, ready=True)
        group.cancel_scope.cancel()


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
