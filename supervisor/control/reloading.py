"""Carries out a reload: tells the plan, then every change until each gateway has what is new, or cannot have it."""

from collections.abc import Iterator, Mapping
from typing import Any

import anyio

from supervisor.control.http import Connection
from supervisor.control.models import ReloadAsk, Supervised, gateways_of
from supervisor.control.outcome import Entry, Outcome, Verb, outcome
from supervisor.errors import ClawsupError

_HEARTBEAT_S = 2.0  # the client gives a silent supervisor up after 5 s
_VERBS: Mapping[str, Verb] = {"restart": "restart", "replace": "restart", "start": "start", "stop": "stop"}


async def reload(http: Connection, supervised: Supervised, ask: ReloadAsk) -> None:
    """Answer with the plan alone, or with lines: `changes`, then one a change of state, at last `done`."""
    before = gateways_of(supervised)
    try:
        begun = await supervised.reload(prune=ask.prune, dry=ask.plan, force=ask.force)
    except ClawsupError as error:
        return await http.answer(422, {"error": error.what, "mend": error.mend})
    changes = begun.changes
    if ask.plan or not ask.wait:
        return await http.answer(200, {"changes": changes, "ok": _is_sound(changes)})
    await http.begin_lines()
    await http.line({"changes": changes})
    while not begun.decided.is_set():
        # The configs are being judged, or an earlier reload is: what changes meanwhile says nothing about this one.
        with anyio.move_on_after(_HEARTBEAT_S) as lapse:
            await begun.decided.wait()
        if lapse.cancelled_caught:
            await http.line({})
    failed = await _follow(http, supervised, before, changes)
    await http.line({"done": True, "ok": not failed and _is_sound(changes), "failed": failed})
    return await http.end_lines()


async def _follow(
    http: Connection, supervised: Supervised, before: Mapping[str, Entry], changes: list[dict[str, Any]]
) -> dict[str, str]:
    """Tell what happens until nothing more will; each gateway that did not get there, with the reason."""
    waiting: dict[str, Verb] = {
        change["name"]: _VERBS[change["effect"]] for change in changes if change["effect"] in _VERBS
    }
    told = {name: entry["state"] for name, entry in before.items()}
    failed: dict[str, str] = {}
    while waiting:
        status = supervised.status()
        now: dict[str, Entry] = {entry["name"]: entry for entry in status["gateways"]}
        news = dict(_news(now, told))
        for name, state in news.items():
            await http.line({"gateway": name, "state": state, "reason": now[name]["reason"]})
        for name, verb in list(waiting.items()):
            ended = _ended(verb, before.get(name), now.get(name), status)
            if ended is not None:
                del waiting[name]
                failed |= {} if ended.ok else {name: ended.why}
        if not waiting:
            break
        if news:
            continue  # what has changed while the lines were sent is seen by another look
        with anyio.move_on_after(_HEARTBEAT_S) as lapse:
            await supervised.changed()
        if lapse.cancelled_caught:
            await http.line({})
    return failed


def _ended(verb: Verb, before: Entry | None, now: Entry | None, status: Mapping[str, Any]) -> Outcome | None:
    """How it ended for one gateway; None while its turn is still to come."""
    if now is not None and now["name"] in status["supervisor"]["reloading"]:
        return None
    known = outcome(verb, before or _NEW, now, handled=True)
    if known is None and verb == "restart" and now is not None and now["state"] in {"ready", "degraded"}:
        why = "the turn ended before it came to this one"
        if now.get("config") == "bad":
            why = "its config would not start it again (--force restarts it all the same)"
        return Outcome(ok=False, why=f"not reloaded: {why}")
    return known


def _news(now: Mapping[str, Entry], told: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, entry in now.items():
        if told.get(name) != entry["state"]:
            told[name] = entry["state"]
            yield name, entry["state"]


def _is_sound(changes: list[dict[str, Any]]) -> bool:
    return all(change["effect"] != "broken" for change in changes)


_NEW: Entry = {"pid": None, "restarts": -1, "state": "stopped", "wanted": False, "reason": None}
