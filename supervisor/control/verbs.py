"""Carries out start, stop and restart: asks the daemon, then tells of every change until each gateway's outcome is known."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from supervisor.control.http import Connection
from supervisor.control.models import Ask, Supervised, gateways_of
from supervisor.control.outcome import Entry, Outcome, Verb, differs, outcome

_HEARTBEAT_S = 2.0  # the client gives a silent supervisor up after 5 s
_HANDLED_S = 1.0  # an ask that changed nothing to be seen for so long has been handled all the same


def chosen(verb: Verb, ask: Ask, gateways: Mapping[str, Entry]) -> tuple[str, ...]:
    """Give the gateways that an ask is about, the rescue last, so that it is there while the others change.

    `all` starts what is enabled, restarts what is wanted and stops everything.
    """
    names: Sequence[str] = ask.names or ()
    if ask.all:
        names = [
            name
            for name, entry in gateways.items()
            if verb == "stop"
            or (verb == "restart" and entry["wanted"])
            or (verb == "start" and entry.get("enabled", True))
        ]
    return tuple(sorted(dict.fromkeys(names), key=lambda name: gateways.get(name, {}).get("role") == "rescue"))


def unknown(name: str, known: Sequence[str]) -> dict[str, Any]:
    """Give the document that answers a name nobody has."""
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    return {"error": f"no gateway is called {name}{guess}", "known": list(known)}


@dataclass(slots=True)
class _Asked:
    """One gateway of an ask while it is being waited for."""

    verb: Verb
    before: Entry
    told: tuple[Any, Any]
    result: Outcome | None = None

    def look(self, now: Entry | None, *, settled: bool) -> None:
        if self.result is None:
            self.result = outcome(self.verb, self.before, now, handled=settled or differs(self.before, now))


@dataclass(slots=True)
class Course:
    """An ask under way. Times are seconds on the event loop's clock."""

    supervised: Supervised
    asked_at: float
    asked: dict[str, _Asked] = field(default_factory=dict)

    def news(self) -> list[dict[str, Any]]:
        """Look at every gateway; give a line for each whose state or reason is not what was last told."""
        settled = anyio.current_time() >= self.asked_at + _HANDLED_S
        now = gateways_of(self.supervised)
        lines = []
        for name, asked in self.asked.items():
            entry = now.get(name)
            asked.look(entry, settled=settled)
            seen = (entry["state"], entry.get("reason")) if entry else ("gone", None)
            if seen != asked.told:
                asked.told = seen
                lines.append({"gateway": name, "state": seen[0], "reason": seen[1]})
        return lines

    def done(self) -> bool:
        """Say whether every gateway's outcome is known."""
        return all(asked.result is not None for asked in self.asked.values())

    def summary(self) -> dict[str, Any]:
        """Give the last line; an outcome that nobody waited for is null."""
        now = gateways_of(self.supervised)
        results = {name: asked.result for name, asked in self.asked.items()}
        return {
            "done": True,
            "ok": all(result is None or result.ok for result in results.values()),
            "gateways": [
                {**now.get(name, {"name": name}), "outcome": result and {"ok": result.ok, "why": result.why}}
                for name, result in results.items()
            ],
        }

    async def change(self, until: float) -> None:
        """Await the next change, but not past `until`, nor past the instant that what changed nothing counts as handled."""
        settled = self.asked_at + _HANDLED_S
        deadline = min(until, settled) if anyio.current_time() < settled else until
        with anyio.CancelScope(deadline=deadline):
            await self.supervised.changed()


def begin(supervised: Supervised, verb: Verb, names: Sequence[str], *, at_once: bool) -> Course:
    """Ask the daemon for every gateway; no other task runs between the look before and the asks."""
    before = gateways_of(supervised)
    course = Course(supervised, anyio.current_time())
    for name in names:
        entry = before[name]
        course.asked[name] = _Asked(verb, entry, (entry["state"], entry.get("reason")))
    for name in names:
        supervised.ask(verb, name, at_once=at_once)
    return course


async def report(http: Connection, course: Course) -> None:
    """Tell of the course, a line a change, until it is done; `{}` is a sign of life."""
    await http.begin_lines()
    spoken = anyio.current_time()
    while True:
        # What changes while a line is being sent is seen by the next look, since change() is only awaited after an empty one.
        lines = course.news()
        if not lines and course.done():
            break
        if not lines and anyio.current_time() < spoken + _HEARTBEAT_S:
            await course.change(until=spoken + _HEARTBEAT_S)
            continue
        for line in lines or [{}]:
            await http.line(line)
        spoken = anyio.current_time()
    await http.line(course.summary())
    await http.end_lines()
