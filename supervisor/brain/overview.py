"""What the control socket shows of the fleet, and how it steers it."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import anyio

from supervisor.brain.chronicle import Chronicle
from supervisor.brain.hands import Hands
from supervisor.brain.launchers import Place
from supervisor.brain.readings import Readings
from supervisor.control.models import Reloading
from supervisor.daemon import Daemon
from supervisor.host import processes
from supervisor.host.descriptors import Reserve
from supervisor.host.journal import read as read_journal
from supervisor.host.line import Hello
from supervisor.host.logs.reading import tail
from supervisor.openclaw.validation import Verdict
from supervisor.policy import record
from supervisor.policy import status as shown
from supervisor.policy.definition import Definition
from supervisor.policy.events import Event, Reloaded, RepairAsked, RestartAsked, StartAsked, StopAsked
from supervisor.policy.fleet import in_order
from supervisor.policy.plan import plan
from supervisor.policy.state import Child, life_of

STORY_LINES = 10
STORY_EVENTS = 10
# A wall clock that moved against the monotonic one by more than this was set, and did not only drift.
CLOCK_SET_S = 0.5


class Overview:
    """The fleet as operators see it (control.models.Supervised); `unheard` is "" or why there is no control socket."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of one brain, each once
        self,
        place: Place,
        hello: Hello,
        daemon: Daemon,
        hands: Hands,
        chronicle: Chronicle,
        readings: Readings,
        reserve: Reserve,
    ) -> None:
        self._place = place
        self._hello = hello
        self._daemon = daemon
        self._hands = hands
        self._chronicle = chronicle
        self._readings = readings
        self._reserve = reserve
        self.unheard = ""
        self._checking: list[str] = []
        # Two readings of conf.d are put into effect in the order in which they were read.
        self._turn = anyio.Lock()
        self._version = metadata.version("openclaw-supervisor")
        self._epoch = hello.epoch
        self._verdicts: dict[str, Verdict | None] = {}

    def status(self) -> dict[str, Any]:
        """The document of INTERFACE.md §5."""
        return {
            "schema": 1,
            "supervisor": {
                "pid": os.getpid(),
                "keeper_pid": self._hello.keeper_pid,
                "version": self._version,
                "uptime_s": round(anyio.current_time() - self._hello.keeper_started, 3),
                "conf_dir": str(self._place.conf_dir),
                "state_dir": str(self._place.state_dir),
                "path": self._place.inherited.get("PATH", os.defpath),
                "reloading": [*self._checking, *self._daemon.fleet.rolling],
                "degraded": self.degraded(),
            },
            "gateways": [self._entry(child) for child in in_order(self._daemon.fleet.children.values())],
        }

    def degraded(self) -> list[str]:
        """What is wrong with the supervisor itself."""
        return [
            *self._chronicle.trouble,
            *filter(
                None, (self._hands.guard.trouble, self._hands.casebook.trouble, self._reserve.trouble, self.unheard)
            ),
            *(log.trouble for log in self._hands.outputs.logs.values() if log.trouble),
        ]

    def story(self, name: str) -> dict[str, Any] | None:
        """One gateway with its last output and events, and its definition without the values of its environment."""
        child = self._daemon.fleet.children.get(name)
        if child is None:
            return None
        definition = child.definition.model_dump(mode="json", exclude={"env_hash"}) if child.definition else None
        log = self._place.state_dir / "logs" / f"{name}.log"
        return {
            **self._entry(child),
            "definition": definition,
            "log_path": str(log),
            "log_tail": tail(log, STORY_LINES),
            "events": self._events(name),
        }

    def ask(self, verb: str, name: str, *, at_once: bool) -> None:
        """Post what an operator asked for."""
        events: Mapping[str, Callable[[], Event]] = {
            "start": lambda: StartAsked(name),
            "stop": lambda: StopAsked(name, at_once),
            "restart": lambda: RestartAsked(name),
            "repair": lambda: self._repair(name),
        }
        self._daemon.post(events[verb]())

    def consent(self, verb: str, name: str) -> str | None:
        """Why a living gateway may not be restarted: its config would not start it again; None while that is being found out."""
        child = self._daemon.fleet.children.get(name)
        if verb != "restart" or child is None or child.definition is None or life_of(child.state) is None:
            return ""
        key = f"{name} {self._hands.guard.key(child.definition)}"
        if key not in self._verdicts:
            self._verdicts[key] = None
            self._hands.begin(self._find_out, key, child.definition)
        verdict = self._verdicts[key]
        if verdict is None:
            return None
        del self._verdicts[key]
        if verdict.valid is not False:
            return ""
        self._chronicle.note([record.Line("restart_refused", name, {"why": verdict.why})])
        return f"its config would not start it again: {verdict.why} (--force restarts it all the same)"

    async def _find_out(self, key: str, definition: Definition) -> None:
        self._verdicts[key] = await self._hands.guard.verdict(definition)

    def _repair(self, name: str) -> Event:
        definition = self._daemon.fleet.children[name].definition
        if definition is None:
            return StartAsked(name)
        return RepairAsked(name, self._hands.guard.key(definition), self._hands.guard.knows(definition))

    async def reload(self, *, prune: bool, dry: bool, force: bool = False) -> Reloading:
        """Read conf.d anew, tell what that changes and, unless `dry`, begin to put it into effect."""
        roster = self._readings.roster(dry=dry)
        changes = plan(self._daemon.fleet.children, roster, prune=prune)
        begun = Reloading([asdict(change) for change in changes], anyio.Event())
        if not dry:
            again = [change.name for change in changes if change.effect in {"restart", "replace"}]
            self._checking += again
            self._hands.begin(self._apply, Reloaded(roster, prune=prune), again, force, begun.decided)
        return begun

    async def _apply(self, event: Reloaded, again: list[str], force: bool, decided: anyio.Event) -> None:
        """Hand the roster to policy, with the names of those whose config would not start again: they are not restarted."""
        async with self._turn:
            unfit = []
            for name in () if force else again:
                child = self._daemon.fleet.children.get(name)
                if child is not None and child.definition is not None:
                    verdict = await self._hands.guard.verdict(child.definition)
                    unfit += [name] if verdict.valid is False else []
            self._daemon.post(replace(event, unfit=tuple(unfit)))
            await self._daemon.decided()
        for name in again:
            self._checking.remove(name)
        decided.set()

    async def changed(self) -> None:
        """Return at the next change of the fleet."""
        await self._daemon.changed()

    async def decided(self) -> None:
        """Return once all that was asked before is decided, and on record."""
        await self._daemon.decided()

    def _entry(self, child: Child) -> shown.GatewayEntry:
        life = life_of(child.state)
        rss = processes.resident_bytes(life.pid) if life is not None and life.pid is not None else 0
        return shown.entry(
            child, self._daemon.fleet, at=self._at, rss_bytes=rss, config=self._hands.guard.status(child)
        )

    def _at(self, instant: float) -> str:
        """An instant of the monotonic clock as UTC; the same text from every brain of a keeper, unless the wall clock was set."""
        epoch = datetime.now(UTC).timestamp() - anyio.current_time()
        if abs(epoch - self._epoch) > CLOCK_SET_S:
            self._epoch = epoch
        moment = datetime.fromtimestamp(self._epoch + instant, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _events(self, name: str) -> list[dict[str, Any]]:
        mine = [
            line
            for line in read_journal(self._place.state_dir / "events.jsonl", last=200)
            if line.get("gateway") == name
        ]
        return [{key: value for key, value in line.items() if key not in ("decision", "crc")} for line in mine][
            -STORY_EVENTS:
        ]
