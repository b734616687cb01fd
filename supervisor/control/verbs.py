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
_CONSENT_S = 0.1  # whether a config would start is asked for again this often
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
    at: float | None = None
    result: Outcome | None = None

    def look(self, now: Entry | None) -> None:
        if self.result is None and self.at is not None:
            settled = anyio.current_time() >= self.at + _HANDLED_S
            self.result = outcome(self.verb, self.before, now, handled=settled or differs(self.before, now))


@dataclass(slots=True)
class Course:
    """An ask under way: each gateway is asked for once that may be."""

    supervised: Supervised
    ask: Ask
    asked: dict[str, _Asked] = field(default_factory=dict)

    def press(self) -> None:
        """Ask the daemon for every gateway that it now is known may be asked for; no other task runs in between."""
        for name, asked in self.asked.items():
            if asked.at is not None or asked.result is not None:
                continue
            why = "" if self.ask.force else self.supervised.consent(asked.verb, name)
            if why:
                asked.result = Outcome(ok=False, why=why)
            elif why is not None:
                asked.at = anyio.current_time()
                self.supervised.ask(asked.verb, name, at_once=self.ask.at_once)

    def pending(self) -> bool:
        """Say whether some gateway has not even been asked for."""
        return any(asked.at is None and asked.result is None for asked in self.asked.values())

    def news(self) -> list[dict[str, Any]]:
        """Look at every gateway; give a line for each whose state or reason is not what was last told."""
        self.press()
        now = gateways_of(self.supervised)
        lines = []
        for name, asked in self.asked.items():
            entry = now.get(name)
            asked.look(entry)
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
        now = anyio.current_time()
        handled = (asked.at + _HANDLED_S for asked in self.asked.values() if asked.at is not None)
        deadline = min([until, *(at for at in handled if at > now)])
        if self.pending():
            deadline = min(deadline, now + _CONSENT_S)
        with anyio.CancelScope(deadline=deadline):
            await self.supervised.changed()


def begin(supervised: Supervised, verb: Verb, names: Sequence[str], ask: Ask) -> Course:
    """Ask the daemon for every gateway that may be asked for at once."""
    before = gateways_of(supervised)
    course = Course(supervised, ask)
    for name in names:
        entry = before[name]
        course.asked[name] = _Asked(verb, entry, (entry["state"], entry.get("reason")))
    course.press()
    return course


async def report(http: Connection, course: Course, *, wait: bool) -> None:
    """Tell of the course, a line a change, until it is done or, without `wait`, until all is asked for; `{}` is a sign of life."""
    await http.begin_lines()
    spoken = anyio.current_time()
    while True:
        # What changes while a line is being sent is seen by the next look, since change() is only awaited after an empty one.
        lines = course.news()
        if not lines and (course.done() or not (wait or course.pending())):
            break
        if not lines and anyio.current_time() < spoken + _HEARTBEAT_S:
            await course.change(until=spoken + _HEARTBEAT_S)
            continue
        for line in lines or [{}]:
            await http.line(line)
        spoken = anyio.current_time()
    await course.supervised.decided()
    await http.line(course.summary())
    await http.end_lines()
