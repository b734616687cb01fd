"""Posts a message to a gateway's hook over loopback, and says what the gateway answered."""

import functools
import ssl

import anyio
import anyio.abc
import h11

_HOST = "127.0.0.1"
_CHUNK = 8192
_ANSWER_S = 20.0


async def post(port: int, path: str, token: str, body: bytes, *, tls: bool) -> int | str:
    """The status of the answer, or, for a person, why there is none. The token goes in a header, and nowhere else."""
    try:
        with anyio.fail_after(_ANSWER_S):
            async with await _connected(port, tls=tls) as stream:
                http = h11.Connection(h11.CLIENT)
                headers = [("host", _HOST), ("authorization", f"Bearer {token}")]
                headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
                head = http.send(h11.Request(method="POST", target=path, headers=headers)) or b""
                await stream.send(head + (http.send(h11.Data(data=body)) or b""))
                while True:
                    event = http.next_event()
                    if isinstance(event, h11.Response):
                        return event.status_code
                    if event is h11.NEED_DATA:
                        http.receive_data(await stream.receive(_CHUNK))
                    else:
                        return "it closed the connection"
    except TimeoutError:
        return f"no answer in {_ANSWER_S:g} s"
    except (
        OSError,
        anyio.BrokenResourceError,
        anyio.EndOfStream,
        h11.RemoteProtocolError,
        h11.LocalProtocolError,
    ) as why:
        return str(why) or type(why).__name__


async def _connected(port: int, *, tls: bool) -> anyio.abc.ByteStream:
    if not tls:
        return await anyio.connect_tcp(_HOST, port)
    return await anyio.connect_tcp(_HOST, port, ssl_context=_context(), tls_standard_compatible=False)


@functools.cache
def _context() -> ssl.SSLContext:
    """Encryption without verification, as in a probe: on loopback the certificate proves nothing that the token does not ask."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
