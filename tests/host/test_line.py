"""The brain's end of the line, against the other end of a socket pair."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from supervisor.host.line import Hello, Line

HELLO = {"brains": 2, "first": False, "stopping": 1, "keeper_pid": 7, "keeper_started": 1.5, "silence_s": 10.0}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Line]]:
    keeper, brain = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper.setblocking(False)
    line = Line(brain.detach())
    yield keeper, line
    keeper.close()
    line.close()


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def heard(keeper: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(keeper.recv(4096).decode())
        except BlockingIOError:
            return found


async def test_a_hello_may_say_more_or_less_than_we_know(ends: tuple[socket.socket, Line]) -> None:
    """A keeper outlives many brains: it may be of an older version, or of a newer one."""
    keeper, line = ends
    keeper.send(f"HELLO {json.dumps(HELLO | {'unheard_of': 1})}".encode())
    assert await line.hello() == Hello(2, 7, 1.5, 10.0, first=False, stopping=1)
    older = {name: value for name, value in HELLO.items() if name not in {"first", "stopping"}}
    keeper.send(f"HELLO {json.dumps(older)}".encode())
    assert (await line.hello()).stopping == 0


async def test_another_first_word_than_hello_is_refused(ends: tuple[socket.socket, Line]) -> None:
    keeper, line = ends
    keeper.send(b"STOP")
    with pytest.raises(RuntimeError, match="STOP"):
        await line.hello()


async def test_words_are_passed_on_until_the_keeper_is_gone(ends: tuple[socket.socket, Line]) -> None:
    """R25: to a brain whose keeper is gone this returns at once."""
    keeper, line = ends
    words: list[str] = []
    for word in ("STOP", "STOP NOW", "RELOAD", "REPLACE"):
        keeper.send(word.encode())
    keeper.close()
    with anyio.fail_after(5):
        await line.listen(words.append)
    assert words == ["STOP", "STOP NOW", "RELOAD", "REPLACE"]


def test_a_keeper_that_is_gone_is_seen_before_what_it_said_has_been_read(ends: tuple[socket.socket, Line]) -> None:
    keeper, line = ends
    keeper.send(b"RELOAD")
    assert line.keeper_lives()
    keeper.close()
    assert not line.keeper_lives()


@pytest.mark.parametrize(("answer", "status"), [("ENDED 7 99 1792", 1792), ("ENDED 7 99", None)])
async def test_the_end_of_a_process_is_asked_for_by_pid_and_start(
    ends: tuple[socket.socket, Line], answer: str, status: int | None
) -> None:
    """R27: a pid alone may be another's by now."""
    keeper, line = ends
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(line.listen, lambda _: None)
        found: list[int | None] = []
        with anyio.fail_after(5):
            async with anyio.create_task_group() as asking:

                async def ask() -> None:
                    found.append(await line.status_of(7, 99))

                asking.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                assert heard(keeper) == ["ENDED=7 99"]
                keeper.send(b"ENDED 7 98 1")
                keeper.send(answer.encode())
        assert found == [status]
        tasks.cancel_scope.cancel()


async def test_a_keeper_that_does_not_read_costs_beats_but_no_word_and_no_descriptor(
    ends: tuple[socket.socket, Line],
) -> None:
    """R27: a stopped keeper gets it all, in order, once it goes on."""
    keeper, line = ends
    before = open_descriptors()
    sent = 2000
    for number in range(sent):
        line.notify(f"STATUS={number}")
    with tempfile.TemporaryFile() as file:
        line.hold("main", os.dup(file.fileno()))
        line.beat()
        got: list[str] = []
        descriptors: list[int] = []
        while len(got) < sent + 1:
            try:
                message, received, _, _ = socket.recv_fds(keeper, 4096, 4)
            except BlockingIOError:
                line.beat()
                continue
            if message != b"WATCHDOG=1":
                got.append(message.decode())
            descriptors += received
        assert got == [*(f"STATUS={number}" for number in range(sent)), "HOLD=main"]
        assert [os.fstat(each).st_ino for each in descriptors] == [os.fstat(file.fileno()).st_ino]
        for each in descriptors:
            os.close(each)
    assert open_descriptors() == before


def test_words_to_a_keeper_that_is_gone_are_lost_without_a_complaint(ends: tuple[socket.socket, Line]) -> None:
    keeper, line = ends
    keeper.close()
    before = open_descriptors()
    line.notify("READY=1")
    line.hold("main", os.open(os.devnull, os.O_RDONLY))
    line.beat()
    assert open_descriptors() == before
