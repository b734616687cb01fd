"""Two uids and one supervisor of root: each gateway's user has a socket of its own, and nobody else has any (R9)."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.to_thread import run_sync
from loguru import logger

from supervisor.control.address import side_path
from supervisor.control.server import serve
from supervisor.host.callers import Caller
from tests.control.in_memory import Fleet, entry

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root's supervisor has gateways of other users")

GUEST, STRANGER = 64001, 64002
ASKS = (
    "import os, socket, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))\n"
    "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[2])\n"
    "s.sendall(b'GET /v1/status HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
)


class House:
    """A server whose guests a test changes, and the callers that it has heard."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.fleet = Fleet({"main": entry("main")})
        self.guests = frozenset({GUEST})
        self.callers: list[Caller] = []

    def may(self, caller: Caller, verb: str, name: str, words: Sequence[str] = ()) -> str:
        """Let everybody in who could connect."""
        assert (verb, name, words) == ("status", "", ())
        self.callers.append(caller)
        return ""

    def door(self, uid: int = GUEST) -> Path:
        """Where that user's socket is."""
        return Path(side_path(str(self.state_dir), uid))

    async def asked(self, uid: int, path: Path) -> str:
        """What a process of that user gets to hear there."""
        command = [sys.executable, "-S", "-c", ASKS, str(uid), str(path)]
        done = await run_sync(partial(subprocess.run, command, capture_output=True, text=True, check=False))
        return done.stdout + done.stderr

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        path = self.state_dir / "control.sock"
        await serve(path, self.fleet, allowed=self.may, guests=lambda: self.guests, task_status=task_status)

    async def until(self, *, there: bool) -> None:
        """Wait for the guest's socket to come, or to go."""
        with anyio.fail_after(10):
            while self.door().exists() is not there:  # noqa: ASYNC110 (the kernel tells nobody)
                await anyio.sleep(0.01)


@pytest.fixture
def house(short_dir: Path) -> House:
    return House(short_dir)


@asynccontextmanager
async def open_house(house: House) -> AsyncIterator[None]:
    house.fleet.tell()
    async with anyio.create_task_group() as group:
        await group.start(house.serve)
        await house.until(there=True)
        yield
        group.cancel_scope.cancel()


async def test_a_guest_calls_through_its_own_socket_and_is_known_by_its_uid(house: House) -> None:
    async with open_house(house):
        assert "Permission denied" in await house.asked(GUEST, house.state_dir / "control.sock")
        assert "200" in await house.asked(GUEST, house.door())
    assert [caller.uid for caller in house.callers] == [GUEST]


async def test_another_user_gets_in_nowhere(house: House) -> None:
    """EACCES from the kernel, before a byte of it is read."""
    async with open_house(house):
        for path in (house.state_dir / "control.sock", house.door()):
            assert "Permission denied" in await house.asked(STRANGER, path)
        command = ["setpriv", "--reuid", str(STRANGER), "--clear-groups", "ls", str(house.door().parent)]
        listing = await run_sync(partial(subprocess.run, command, capture_output=True, text=True, check=False))
        assert "Permission denied" in listing.stderr
    assert house.callers == []


async def test_only_its_user_can_open_a_socket_and_only_root_can_replace_it(house: House) -> None:
    async with open_house(house):
        door, directory = house.door().stat(), house.door().parent.stat()
    assert (door.st_uid, stat.S_IMODE(door.st_mode)) == (GUEST, 0o600)
    assert (directory.st_uid, stat.S_IMODE(directory.st_mode)) == (0, 0o711)


async def test_sockets_come_and_go_with_the_definitions_and_none_is_left(house: House) -> None:
    async with open_house(house):
        house.guests = frozenset()
        house.fleet.tell()
        await house.until(there=False)
        house.guests = frozenset({GUEST})
        house.fleet.tell()
        await house.until(there=True)
    assert not house.door().parent.exists()


async def test_a_directory_that_is_not_ours_is_not_used_until_it_is(house: House) -> None:
    """Whoever was quicker to make it could listen there; what could not be made is tried again with the next change."""
    refused = anyio.Event()
    sink = logger.add(lambda said: refused.set() if "not the supervisor's own" in said else None)
    house.door().parent.mkdir()
    os.chown(house.door().parent, STRANGER, STRANGER)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(house.serve)
            with anyio.fail_after(10):
                await refused.wait()
            assert not house.door().exists()
            os.chown(house.door().parent, 0, 0)
            house.fleet.tell()
            await house.until(there=True)
            group.cancel_scope.cancel()
    finally:
        logger.remove(sink)
        shutil.rmtree(house.door().parent, ignore_errors=True)
