"""What is posted to a gateway's hook, and what is made of each answer (R9)."""

import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener

from supervisor.host import hooks

Heard = list[bytes]
Handler = Callable[[ByteStream], Awaitable[None]]


@asynccontextmanager
async def server(reply: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, Heard]]:
    """A listener that says `reply` to whole requests, and what it has heard."""
    heard: Heard = []

    async def answer(stream: ByteStream) -> None:
        async with stream:
            request = b""
            while not request.endswith(b"{}"):
                request += await stream.receive()
            heard.append(request)
            if reply:
                await stream.send(reply)

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.extra(SocketAttribute.local_port)  # noqa: S610 (anyio, not Django)
    listener = plain if context is None else TLSListener(plain, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        yield port, heard
        group.cancel_scope.cancel()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl(1) to make a certificate with")
    directory: Path = tmp_path_factory.mktemp("tls")
    key, cert = directory / "key.pem", directory / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-subj", "/CN=nobody", "-days", "2", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.mark.parametrize("status", [200, 400, 401, 404])
async def test_the_answers_status_is_given_and_the_token_goes_in_a_header(status: int) -> None:
    async with server(b"HTTP/1.1 %d -\r\ncontent-length: 0\r\n\r\n" % status) as (port, heard):
        assert await hooks.post(port, "/hooks/agent", "tok", b"{}", tls=False) == status
    head = heard[0].partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    assert head[0] == b"post /hooks/agent http/1.1"
    assert b"authorization: bearer tok" in head


async def test_a_gateway_that_serves_tls_is_posted_to_over_tls(certificate: ssl.SSLContext) -> None:
    async with server(b"HTTP/1.1 200 -\r\ncontent-length: 0\r\n\r\n", certificate) as (port, _):
        assert await hooks.post(port, "/hooks/agent", "tok", b"{}", tls=True) == 200


async def test_where_nobody_answers_the_reason_is_given(base_port: int) -> None:
    """Nobody there, a close without a word, and what is not HTTP."""
    answers = [await hooks.post(base_port, "/hooks/agent", "tok", b"{}", tls=False)]
    for reply in (b"", b"SSH-2.0-x\r\n\r\n"):
        async with server(reply) as (port, _):
            answers.append(await hooks.post(port, "/hooks/agent", "tok", b"{}", tls=False))
    assert all(isinstance(answer, str) and answer for answer in answers), answers


async def test_a_token_never_goes_out_in_the_clear_where_the_config_says_tls() -> None:
    heard = bytearray()
    answer: int | str = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def listen() -> None:
            peer, _ = await anyio.to_thread.run_sync(listener.accept)
            with peer:
                heard.extend(await anyio.to_thread.run_sync(peer.recv, 4096))

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            answer = await hooks.post(listener.getsockname()[1], "/hooks/agent", "a-token", b"{}", tls=True)
    assert isinstance(answer, str)
    assert heard
    assert b"a-token" not in heard
