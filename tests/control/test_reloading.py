"""A reload tells its plan at once, then what comes of it, and never leaves its client without a sign of life."""

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from supervisor.control.client import request, stream
from tests.control.in_memory import Fleet, entry, serving

pytestmark = pytest.mark.anyio


def change(name: str, effect: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "effect": effect, "differences": [], "reason": "", **more}


async def reloaded(path: Path, **ask: bool) -> tuple[int, list[dict[str, Any]]]:
    """The status and every line of the answer."""

    def ask_it() -> tuple[int, list[dict[str, Any]]]:
        status, lines = stream(str(path), "POST", "/v1/reload", ask)
        return status, [json.loads(line) for line in lines if line.strip()]

    return await anyio.to_thread.run_sync(ask_it)


async def followed(fleet: Fleet, path: Path, *happens: Callable[[], Coroutine[Any, Any, None]]) -> list[dict[str, Any]]:
    """Every line of a reload during which that happens."""
    lines: list[dict[str, Any]] = []
    async with serving(fleet, path), anyio.create_task_group() as tasks:
        for each in happens:
            tasks.start_soon(each)
        _, lines = await reloaded(path)
    return lines


async def soon(fleet: Fleet, **facts: Any) -> None:
    """After a moment main has a new life, and its turn is over."""
    await anyio.sleep(0.1)
    fleet.entries["main"] |= facts
    fleet.reloading = []
    fleet.tell()


async def test_a_plan_is_told_and_nothing_is_begun(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready")}, changes=[change("main", "restart")])
    async with serving(fleet, short_dir / "s"):
        status, (answer,) = await reloaded(short_dir / "s", plan=True)
        assert (status, answer) == (200, {"changes": [change("main", "restart")], "ok": True})
    assert fleet.reloading == []


async def test_a_gateway_that_took_its_new_definition_is_a_success(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready", pid=7)}, changes=[change("main", "restart")])
    lines = await followed(fleet, short_dir / "s", lambda: soon(fleet, pid=8, restarts=1))

    assert lines[0] == {"changes": [change("main", "restart")]}
    assert lines[-1] == {"done": True, "ok": True, "failed": {}}


async def test_a_gateway_that_did_not_come_up_is_named_with_its_reason(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready", pid=7)}, changes=[change("main", "restart")])
    lines = await followed(
        fleet, short_dir / "s", lambda: soon(fleet, state="blocked", reason="port 1 is held", pid=None)
    )

    assert lines[-1]["ok"] is False
    assert lines[-1]["failed"] == {"main": "port 1 is held"}


async def test_a_gateway_whose_turn_never_came_is_named(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready", pid=7)}, changes=[change("main", "restart")])
    lines = await followed(fleet, short_dir / "s", lambda: soon(fleet))

    assert lines[-1]["failed"] == {"main": "not reloaded: the turn ended before it came to this one"}


async def test_a_definition_that_cannot_be_used_fails_the_reload_of_nothing_else(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready")}, changes=[change("main", "broken", reason="main.toml:3: port")])
    lines = await followed(fleet, short_dir / "s")

    assert lines[-1] == {"done": True, "ok": False, "failed": {}}


async def test_a_conf_d_that_cannot_be_read_is_told_and_nothing_is_begun(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready")}, unreadable="conf.d is empty")
    async with serving(fleet, short_dir / "s"):
        status, body = await anyio.to_thread.run_sync(request, str(short_dir / "s"), "POST", "/v1/reload", {})
        assert status == 422
        assert json.loads(body) == {"error": "conf.d is empty", "mend": "mend it"}


async def test_a_long_turn_gives_signs_of_life(short_dir: Path) -> None:
    fleet = Fleet({"main": entry("main", "ready", pid=7)}, changes=[change("main", "restart")])

    async def later() -> None:
        await anyio.sleep(2.5)
        await soon(fleet, pid=8, restarts=1)

    lines = await followed(fleet, short_dir / "s", later)

    assert {} in lines
    assert lines[-1]["ok"] is True


async def test_what_waits_for_anothers_config_to_be_judged_has_not_failed(short_dir: Path) -> None:
    """Until the new definitions are decided, a new gateway is not there and a removed one is still wanted."""
    changes = [change("main", "restart"), change("new", "start"), change("old", "stop")]
    fleet = Fleet({"main": entry("main", "ready", pid=7), "old": entry("old")}, changes=changes, judges=True)

    async def judged() -> None:
        await anyio.sleep(0.1)
        fleet.tell()  # something else changes meanwhile
        await anyio.sleep(0.1)
        fleet.entries |= {"new": entry("new"), "old": entry("old", "stopped", wanted=False, pid=None)}
        assert fleet.decision is not None
        fleet.decision.set()
        await soon(fleet, pid=8, restarts=1)

    lines: list[dict[str, Any]] = []
    async with serving(fleet, short_dir / "s"), anyio.create_task_group() as tasks:
        tasks.start_soon(judged)
        _, lines = await reloaded(short_dir / "s", prune=True)

    assert lines[-1] == {"done": True, "ok": True, "failed": {}}


async def test_only_its_own_decision_counts_and_not_anothers_change(short_dir: Path) -> None:
    """A reload that waits for its turn behind another has not been refused by what that one does."""
    fleet = Fleet({"main": entry("main", "ready", pid=7)}, changes=[change("main", "restart")], judges=True)

    async def waits() -> None:
        await anyio.sleep(0.1)
        fleet.reloading = []  # the other one is through with main, and this one has not begun
        fleet.tell()
        await anyio.sleep(0.1)
        assert fleet.decision is not None
        fleet.reloading = ["main"]
        fleet.decision.set()
        await soon(fleet, pid=8, restarts=1)

    lines = await followed(fleet, short_dir / "s", waits)

    assert lines[-1] == {"done": True, "ok": True, "failed": {}}
