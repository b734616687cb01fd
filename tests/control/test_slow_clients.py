"""In virtual time: the clock jumps to the next deadline whenever nothing else can happen."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from tests.control.in_memory import Fleet, entry, serving


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": MockClock(autojump_threshold=0.01)}


@pytest.fixture
def path(short_dir: Path) -> Path:
    return short_dir / "control.sock"


async def test_a_request_that_does_not_arrive_is_refused_after_ten_seconds(path: Path) -> None:
    async with serving(Fleet({}), path), await anyio.connect_unix(str(path)) as stream:
        began = anyio.current_time()
        await stream.send(b"GET /v1/status HTTP/1.1\r\nhost")

        assert (await stream.receive()).startswith(b"HTTP/1.1 408")
        assert anyio.current_time() - began == pytest.approx(10, abs=1)


async def test_a_connection_that_says_nothing_is_closed_without_a_word(path: Path) -> None:
    async with serving(Fleet({}), path), await anyio.connect_unix(str(path)) as stream:
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_an_answer_that_nobody_takes_is_given_up_and_the_others_get_theirs(path: Path) -> None:
    fleet = Fleet({f"g{number}": entry(f"g{number}", reason="x" * 10_000) for number in range(100)})

    async with serving(fleet, path), await anyio.connect_unix(str(path)) as deaf:
        await deaf.send(b"GET /v1/status HTTP/1.1\r\nhost: a\r\n\r\n")
        async with await anyio.connect_unix(str(path)) as other:
            await other.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await other.receive()).startswith(b"HTTP/1.1 404")
        await anyio.sleep(11)
        assert sum([len(part) async for part in deaf]) < 1_000_000


async def test_what_changes_while_a_line_is_on_its_way_is_told_next(path: Path) -> None:
    """A reload: it does not wait for the next change, or for the next sign of life."""
    changes = [{"name": "main", "effect": "restart", "differences": [], "reason": ""}]
    fleet = Fleet({"main": entry("main", pid=7)}, changes=changes)

    async with serving(fleet, path), await anyio.connect_unix(str(path)) as stream:
        await stream.send(b"POST /v1/reload HTTP/1.0\r\n\r\n")
        lines = b""
        while b'"changes"' not in lines:
            lines += await stream.receive()
        fleet.entries["main"] |= {"state": "starting", "pid": 8, "restarts": 1, "reason": "x" * 1_000_000}
        fleet.tell()
        await anyio.sleep(0.5)
        fleet.entries["main"] |= {"state": "ready", "reason": None}
        fleet.reloading = []
        fleet.tell()
        began = anyio.current_time()
        while b'"done": true' not in lines:
            lines += await stream.receive()

        assert anyio.current_time() - began < 1


async def test_a_wait_of_minutes_ends_with_its_outcome(path: Path) -> None:
    fleet = Fleet({"main": entry("main", "starting")})

    async with serving(fleet, path), await anyio.connect_unix(str(path)) as stream:
        began = anyio.current_time()
        await stream.send(b"POST /v1/gateways/main/start HTTP/1.0\r\n\r\n")
        lines = b""
        while lines.count(b"{}\n") < 60:
            lines += await stream.receive()
        fleet.entries["main"] |= {"state": "ready"}
        fleet.tell()
        while b'"done": true' not in lines:
            lines += await stream.receive()

        assert b'"ok": true' in lines
        assert anyio.current_time() - began == pytest.approx(120, rel=0.1)
