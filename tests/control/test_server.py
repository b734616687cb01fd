import errno
import gc
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.to_thread import run_sync

from supervisor.brain.__main__ import REFUSALS
from supervisor.control import client
from supervisor.control.http import Connection
from supervisor.control.server import serve
from supervisor.errors import ClawsupError
from supervisor.host.callers import Caller
from tests.control.in_memory import Fleet, entry, serving
from tests.shortage import without_descriptors


async def ask(path: Path, method: str, target: str, body: object = None) -> tuple[int, Any]:
    """The real client, in a thread; the answer's status and its document."""
    status, answer = await run_sync(client.request, str(path), method, target, body)
    return status, json.loads(answer)


async def ask_lines(path: Path, target: str, body: object = None) -> list[dict[str, Any]]:
    status, answer = await run_sync(client.request, str(path), "POST", target, body)
    assert status == 200, answer
    return [json.loads(line) for line in answer.splitlines()]


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[SocketStream]:
    async with await anyio.connect_unix(str(path)) as stream:
        yield stream


async def all_of(stream: SocketStream) -> bytes:
    with anyio.fail_after(20):
        received = b""
        with suppress(anyio.BrokenResourceError):  # closed while bytes of ours were on their way; what it said is here
            async for part in stream:
                received += part
        return received


@pytest.fixture
def path(short_dir: Path) -> Path:
    return short_dir / "control.sock"


@pytest.fixture
def fleet() -> Fleet:
    return Fleet({name: entry(name) for name in ("main", "rescue")})


async def test_status_is_the_document(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path):
        assert await ask(path, "GET", "/v1/status") == (200, fleet.status())


async def test_a_client_is_answered_without_a_descriptor_left(path: Path, fleet: Fleet) -> None:
    """R25: with what is kept back, one after the other."""
    gc.collect()  # what an earlier test has left would free lower numbers than those that are kept back
    request = b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving(fleet, path):
        peers = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        with without_descriptors(os.getpid()):
            for peer in peers:
                peer.connect(str(path))
                peer.sendall(request)
            for peer in peers:
                with anyio.fail_after(20):
                    await anyio.wait_readable(peer)
                assert peer.recv(100).startswith(b"HTTP/1.1 200 ")
        for peer in peers:
            peer.close()
        assert (await ask(path, "GET", "/v1/status"))[0] == 200


async def test_a_story_is_told_without_the_values_of_the_environment(path: Path, fleet: Fleet) -> None:
    fleet.more = {"log_tail": ["hello"], "events": [], "definition": {"env": {"KEY": "s3cret"}, "port": 1}}

    async with serving(fleet, path):
        status, story = await ask(path, "GET", "/v1/gateways/main")

    assert status == 200
    assert story["log_tail"] == ["hello"]
    assert story["definition"] == {"env": {"KEY": "(set)"}, "port": 1}


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v1/gateways/mian", None),
        ("POST", "/v1/gateways/mian/start", None),
        ("POST", "/v1/stop", {"names": ["rescue", "mian"]}),
    ],
)
async def test_an_unknown_name_is_answered_with_the_known_ones_and_changes_nothing(
    path: Path, fleet: Fleet, method: str, target: str, body: object
) -> None:
    async with serving(fleet, path):
        status, document = await ask(path, method, target, body)

    assert status == 404
    assert document == {"error": "no gateway is called mian; did you mean main?", "known": ["main", "rescue"]}
    assert fleet.asked == []


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/stop", None),
        ("/v1/stop", {"names": []}),
        ("/v1/stop", {"names": ["main"], "all": True}),
        ("/v1/stop", {"names": "main"}),
        ("/v1/stop", {"all": "yes"}),
        ("/v1/stop", {"all": True, "at_onec": True}),
        ("/v1/stop", [1]),
    ],
)
async def test_a_body_that_does_not_say_what_is_meant_is_refused(
    path: Path, fleet: Fleet, target: str, body: object
) -> None:
    async with serving(fleet, path):
        status, document = await ask(path, "POST", target, body)

    assert (status, fleet.asked) == (400, [])
    assert document["error"]


async def test_a_wrong_method_is_told_the_right_one_and_a_wrong_path_is_not_found(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path):
        assert (await ask(path, "POST", "/v1/status"))[0] == 405
        assert (await ask(path, "GET", "/v1/gateways/main/stop"))[0] == 405
        assert (await ask(path, "GET", "/v2/status"))[0] == 404
        assert (await ask(path, "POST", "/v1/gateways/main/explode"))[0] == 404


async def test_a_head_is_answered_without_a_body(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path), connected(path) as stream:
        await stream.send(b"HEAD /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        head, _, body = (await all_of(stream)).partition(b"\r\n\r\n")

    assert (head.split()[1], body) == (b"405", b"")


async def test_a_verb_tells_every_change_and_then_its_outcome(path: Path, fleet: Fleet) -> None:
    fleet.plans = {
        ("restart", "main"): [
            {"state": "stopping"},
            {"state": "starting", "pid": 101, "restarts": 1},
            {"state": "ready"},
        ]
    }

    async with serving(fleet, path):
        lines = await ask_lines(path, "/v1/gateways/main/restart")

    assert [line["state"] for line in lines[:-1]] == ["stopping", "starting", "ready"]
    assert lines[-1] == {
        "done": True,
        "ok": True,
        "gateways": [entry("main", pid=101, restarts=1) | {"outcome": {"ok": True, "why": ""}}],
    }


async def test_one_that_fails_does_not_hide_how_the_others_fared(path: Path, fleet: Fleet) -> None:
    fleet.plans = {
        ("restart", "main"): [{"state": "stopping"}, {"state": "blocked", "reason": "port 18789 is taken"}],
        ("restart", "rescue"): [{"state": "stopping"}, {"state": "ready", "pid": 7}],
    }

    async with serving(fleet, path):
        *_, last = await ask_lines(path, "/v1/restart", {"names": ["rescue", "main"]})

    outcomes = {each["name"]: each["outcome"] for each in last["gateways"]}
    assert not last["ok"]
    assert outcomes == {"main": {"ok": False, "why": "port 18789 is taken"}, "rescue": {"ok": True, "why": ""}}


async def test_an_ask_that_changes_nothing_is_judged_all_the_same(path: Path) -> None:
    fleet = Fleet({"main": entry("main", "blocked", reason="no launcher")})

    async with serving(fleet, path):
        *_, last = await ask_lines(path, "/v1/gateways/main/start")

    assert last["gateways"][0]["outcome"] == {"ok": False, "why": "no launcher"}


async def test_no_wait_answers_at_once_and_claims_no_outcome(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path):
        _, document = await ask(path, "POST", "/v1/gateways/main/stop", {"wait": False, "at_once": True})

    assert document["done"]
    assert document["gateways"] == [entry("main") | {"outcome": None}]
    assert fleet.asked == [("stop", "main", True)]


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("stop", ["main", "off", "idle", "rescue"]),
        ("restart", ["main", "rescue"]),
        ("start", ["main", "idle", "rescue"]),
    ],
)
async def test_all_means_whatever_the_verb_makes_sense_for_and_the_rescue_comes_last(
    path: Path, verb: str, expected: list[str]
) -> None:
    """R28: the rescue is there while the others change."""
    fleet = Fleet(
        {
            "rescue": entry("rescue", role="rescue"),
            "main": entry("main"),
            "off": entry("off", "stopped", wanted=False, enabled=False),
            "idle": entry("idle", "stopped", wanted=False, enabled=True),
        }
    )

    async with serving(fleet, path):
        await ask(path, "POST", f"/v1/{verb}", {"all": True, "wait": False})

    assert [name for _, name, _ in fleet.asked] == expected


async def test_a_long_wait_gives_signs_of_life(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path), connected(path) as stream:
        await stream.send(b"POST /v1/gateways/main/restart HTTP/1.0\r\n\r\n")
        received = b""
        with anyio.fail_after(20):
            while b"\n{}\n" not in received.replace(b"\r", b""):
                received += await stream.receive()


async def test_chatter_about_others_does_not_silence_the_signs_of_life(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path), connected(path) as stream, anyio.create_task_group() as group:

        async def chatter() -> None:
            while True:
                await anyio.sleep(0.05)
                fleet.tell()

        group.start_soon(chatter)
        await stream.send(b"POST /v1/gateways/main/restart HTTP/1.0\r\n\r\n")
        received = b""
        with anyio.fail_after(20):
            while not received.endswith(b"{}\n"):
                received += await stream.receive()
        group.cancel_scope.cancel()


async def test_one_connection_takes_one_request_after_the_other(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path), connected(path) as stream:
        for _ in range(2):
            await stream.send(b"GET /v1/status?x=1 HTTP/1.1\r\nhost: a\r\n\r\n")
            received = b""
            with anyio.fail_after(20):
                while not received.endswith(b"\n"):
                    received += await stream.receive()
            assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x00\x01\x02 not http at all\r\n\r\n", b"400"),
        (b"GET /v1/status HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 100 + b"\r\n", b"431"),
        (b"GET /v1/status HTTP/1.1\r\nhost: a\r\nbig: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
        (b"POST /v1/stop HTTP/1.1\r\nhost: a\r\ncontent-length: 600000\r\n\r\n" + b"x" * 600_000, b"413"),
    ],
    ids=["noise", "many headers", "long header", "long body"],
)
async def test_what_is_no_decent_request_is_refused_and_hurts_nobody(
    path: Path, fleet: Fleet, sent: bytes, status: bytes
) -> None:
    async with serving(fleet, path):
        async with connected(path) as stream:
            with suppress(anyio.BrokenResourceError):  # it may have read enough
                await stream.send(sent)
            assert (await all_of(stream)).startswith(b"HTTP/1.1 " + status)
        assert (await ask(path, "GET", "/v1/status"))[0] == 200


async def test_a_client_that_leaves_in_the_middle_hurts_nobody(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path):
        for sent in (b"", b"GET /v1/st", b"POST /v1/stop HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{"):
            async with connected(path) as stream:
                if sent:
                    await stream.send(sent)
        async with connected(path) as stream:
            await stream.send(b"POST /v1/gateways/main/restart HTTP/1.0\r\n\r\n")
        fleet.entries["main"] |= {"state": "stopping"}
        fleet.tell()
        assert (await ask(path, "GET", "/v1/status"))[0] == 200


async def test_a_fault_in_an_answer_is_that_clients_only(path: Path, fleet: Fleet) -> None:
    fleet.more = {"definition": object()}  # what no JSON can hold

    async with serving(fleet, path):
        status, document = await ask(path, "GET", "/v1/gateways/main")
        assert (status, "failed at this" in document["error"]) == (500, True)
        assert (await ask(path, "GET", "/v1/status"))[0] == 200


async def test_the_one_connection_too_many_is_told_so_and_room_is_made_when_one_leaves(
    path: Path, fleet: Fleet
) -> None:
    async with serving(fleet, path):
        held = [await anyio.connect_unix(str(path)) for _ in range(64)]
        # The listener takes them in order: when the last is answered, all are in.
        await held[-1].send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await held[-1].receive()
        assert await ask(path, "GET", "/v1/status") == (503, {"error": "too many control connections"})
        for stream in held:
            await stream.aclose()
        with anyio.fail_after(10):
            while (await ask(path, "GET", "/v1/status"))[0] == 503:
                pass


async def test_the_socket_is_for_its_owner_alone_whatever_the_umask(path: Path, fleet: Fleet) -> None:
    before = os.umask(0)
    try:
        async with serving(fleet, path):
            assert stat.S_IMODE((await anyio.Path(path).lstat()).st_mode) == 0o600
    finally:
        os.umask(before)


async def test_a_stale_socket_is_replaced_and_ours_is_taken_away_at_the_end(path: Path, fleet: Fleet) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))

    async with serving(fleet, path):
        assert (await ask(path, "GET", "/v1/status"))[0] == 200

    assert not await anyio.Path(path).exists()


async def test_a_successors_socket_is_left_alone(path: Path, fleet: Fleet) -> None:
    async with serving(fleet, path):
        successor = path.with_suffix(".new")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(successor))
            successor.rename(path)

    assert await anyio.Path(path).exists()


async def test_what_is_no_socket_is_not_removed(path: Path, fleet: Fleet) -> None:
    await anyio.Path(path).write_text("precious")

    with pytest.raises(ClawsupError, match="is no socket"):
        await serve(path, fleet)

    assert await anyio.Path(path).read_text() == "precious"


async def test_a_path_the_kernel_cannot_bind_is_refused_with_its_length(tmp_path: Path, fleet: Fleet) -> None:
    path = tmp_path / ("x" * 108) / "control.sock"

    with pytest.raises(ClawsupError, match=rf"is {len(str(path))} bytes long.*107\n  mend: .*at most 94 bytes"):
        await serve(path, fleet)


async def test_a_directory_that_is_not_there_is_named(short_dir: Path, fleet: Fleet) -> None:
    with pytest.raises(ClawsupError, match="cannot make the control socket: No such file or directory"):
        await serve(short_dir / "absent" / "control.sock", fleet)


async def test_a_machine_without_a_descriptor_for_the_socket_is_told_as_that(path: Path, fleet: Fleet) -> None:
    """R25: a brain asks it again later, and looks after its gateways meanwhile."""
    with without_descriptors(os.getpid()), pytest.raises(ClawsupError, match="Too many open files") as refused:
        await serve(path, fleet)

    assert isinstance(refused.value.__cause__, OSError)
    assert refused.value.__cause__.errno in REFUSALS


async def test_the_caller_is_the_process_at_the_other_end(path: Path, fleet: Fleet) -> None:
    callers: list[tuple[Caller, str, str]] = []

    def may(caller: Caller, verb: str, name: str, words: Sequence[str] = ()) -> str:  # noqa: ARG001 (the shape of May)
        callers.append((caller, verb, name))
        return "not today" if verb == "stop" else ""

    async with serving(fleet, path, may):
        assert (await ask(path, "GET", "/v1/status"))[0] == 200
        assert await ask(path, "POST", "/v1/gateways/main/stop") == (403, {"error": "not today"})

    us = Caller(os.getpid(), os.getuid(), os.getgid())
    assert callers == [(us, "status", ""), (us, "stop", "main")]
    assert fleet.asked == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_refused_even_if_the_files_would_let_it_in(path: Path, fleet: Fleet) -> None:
    script = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /v1/status HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
    )
    async with serving(fleet, path):
        await anyio.Path(path.parent).chmod(0o755)
        await anyio.Path(path).chmod(0o666)
        command = [sys.executable, "-S", "-c", script, str(path)]
        stranger = await run_sync(partial(subprocess.run, command, capture_output=True, text=True, check=False))

    assert "403" in stranger.stdout, stranger.stderr
    assert "uid 65534 may not use this supervisor" in stranger.stdout


async def test_a_machine_without_memory_for_an_answer_costs_one_client_and_no_supervisor() -> None:
    """R25: the kernel says so at any send."""

    class Short(socket.socket):
        def send(self, *_: object) -> int:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    ours, theirs = socket.socketpair()
    with theirs, Short(fileno=ours.detach()) as peer:
        await Connection(peer).refuse(500, "it failed")
