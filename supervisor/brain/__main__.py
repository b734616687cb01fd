"""Brings a brain to life: adopts what lives, serves the control socket, runs until all has stopped or it dies."""

import argparse
import os
import signal
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
from loguru import logger

from supervisor.brain.chronicle import Chronicle, speak
from supervisor.brain.hands import Hands
from supervisor.brain.identity import Identity, load
from supervisor.brain.launchers import Place
from supervisor.brain.overview import Overview
from supervisor.control.server import serve
from supervisor.daemon import Daemon
from supervisor.errors import ClawsupError, DefinitionsUnusable
from supervisor.host import definitions, locks
from supervisor.host.line import Hello, Line
from supervisor.host.records import Records, prepare_directory
from supervisor.policy import record
from supervisor.policy.definition import Definition
from supervisor.policy.fleet import Fleet
from supervisor.policy.messages import (
    Adopted,
    Booted,
    Event,
    Reloaded,
    Roster,
    ShutdownAsked,
    SpawnFailed,
)
from supervisor.policy.state import life_of

# A brain beats three times within its keeper's patience.
BEATS = 3


class Brain:
    """One brain's parts, in the order in which they come to life."""

    def __init__(self, place: Place, slot: locks.LowSlot, line: Line, hello: Hello) -> None:
        self._place = place
        self._line = line
        self._hello = hello
        self._environments: Mapping[str, Mapping[str, str]] = {}
        self._beaten = 0.0
        for directory in (place.state_dir, place.state_dir / "logs", place.state_dir / "children"):
            refused = prepare_directory(directory)
            if refused:
                raise ClawsupError(refused, mend="give the supervisor a state dir of its own (--state-dir)")
        self._identity: Identity = load(Records(place.state_dir))
        self._chronicle = Chronicle(place.state_dir, Records(place.state_dir / "children"))
        self._hands = Hands(place, self._identity, line, slot, self._extra)
        children = self._chronicle.children(anyio.current_time())
        self._daemon = Daemon(
            Fleet(children=children, cores=os.cpu_count() or 1),
            self._hands,
            self._chronicle,
            beat=self._beat,
            beat_s=hello.silence_s / BEATS,
        )

    async def run(self) -> None:
        """Live."""
        roster = self._read()
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._hands.run, self._daemon.post)
            tasks.start_soon(self._listen)
            self._chronicle.note([self._beginning()])
            self._daemon.decide(Reloaded(roster))
            await self._take_over()
            first = self._hello.brains == 1
            self._daemon.decide(Booted(first=first))
            overview = Overview(self._place, self._hello, self._daemon, self._hands, self._chronicle)
            await tasks.start(partial(serve, self._place.state_dir / "control.sock", overview))
            self._line.notify("READY=1")
            await self._daemon.run()
            await self._hands.finish()
            tasks.cancel_scope.cancel()
        self._chronicle.note([record.Line("supervisor_stopped", None, {})])
        self._chronicle.journal.flush()
        self._line.notify("STOPPING=1")

    async def _take_over(self) -> None:
        """Adopt every gateway of an earlier brain that lives, and learn how the others ended."""
        for child in list(self._daemon.fleet.children.values()):
            life = life_of(child.state)
            number = life.number if life is not None else self._hands.newest_life(child.name)
            if number is None or child.definition is None:
                continue
            process = self._hands.adopt(child.name, number, child.definition)
            if process is not None:
                self._daemon.decide(Adopted(child.name, number, process.pid, process.start_ticks))
            elif life is not None and life.pid is None:
                self._daemon.decide(SpawnFailed(child.name, number, "the supervisor died while it started it"))
            elif life is not None and life.pid is not None:
                patient = self._hello.brains > 1
                self._daemon.decide(
                    await self._hands.ended_unseen(child.name, number, life.pid, child.definition, patient=patient)
                )
        lives = {name: life_of(child.state) for name, child in self._daemon.fleet.children.items()}
        await self._hands.sweep_the_rest({name: life.number for name, life in lives.items() if life is not None})

    def _read(self) -> Roster:
        """All definitions; when not one can be read, those that the present children run by."""
        try:
            reading = definitions.read(self._place.conf_dir)
        except DefinitionsUnusable as unusable:
            kept = tuple(child.definition for child in self._daemon.fleet.children.values() if child.definition)
            if not kept:
                raise
            logger.warning(str(unusable))
            return Roster(kept)
        self._environments = reading.environments
        for fault in reading.faults:
            logger.warning(str(fault))
        if not reading.roster.definitions and not self._daemon.fleet.children:
            raise DefinitionsUnusable(
                f"{self._place.conf_dir}: not one definition can be used",
                mend="clawsup check",
            )
        return reading.roster

    def _extra(self, definition: Definition) -> Mapping[str, str]:
        return self._environments.get(definition.name, definition.env)

    async def _listen(self) -> None:
        """Hear the keeper; without it this brain has no right to go on, and leaves the gateways to the next."""
        await self._line.listen(self._hear)
        os._exit(1)

    def _hear(self, word: str) -> None:
        match word:
            case "STOP":
                self._daemon.post(ShutdownAsked())
            case "STOP NOW":
                self._daemon.post(ShutdownAsked(at_once=True))
            case "RELOAD":
                self._daemon.post(self._reload())
            case _:
                logger.warning(f"the keeper said {word!r}")

    def _reload(self) -> Event:
        try:
            return Reloaded(self._read())
        except ClawsupError as error:
            logger.warning(f"reload: {error}")
            return Reloaded(Roster(tuple(c.definition for c in self._daemon.fleet.children.values() if c.definition)))

    def _beat(self) -> None:
        now = anyio.current_time()
        if now - self._beaten >= self._hello.silence_s / (BEATS + 1):
            self._beaten = now
            self._line.notify("WATCHDOG=1")
            self._chronicle.tend(self._hands.logs)

    def _beginning(self) -> record.Line:
        fields = {"pid": os.getpid(), "keeper_pid": os.getppid(), "brains": self._hello.brains}
        return record.Line("supervisor_started", None, {**fields, **record.beginning(self._daemon.fleet)})


def main(arguments: list[str]) -> int:
    """`python -m supervisor.brain`, started by the keeper."""
    # The lock's number in a gateway must be low, so it is reserved before anything else is opened.
    slot = locks.LowSlot()
    parser = argparse.ArgumentParser(prog="supervisor.brain")
    parser.add_argument("--conf-dir", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--keeper-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    speak()
    # To stop is the keeper's to hear. A handler and not SIG_IGN: what is ignored stays ignored in a gateway, over its exec.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _unheard)
    place = Place(options.conf_dir, options.state_dir, str(Path(sys.executable).parent), dict(os.environ))
    try:
        anyio.run(_live, place, slot, options.keeper_fd)
    except (ClawsupError, BaseExceptionGroup) as error:
        told = _innermost(error)
        if not isinstance(told, ClawsupError):
            raise
        logger.error(str(told))
        return told.exit_code
    return 0


async def _live(place: Place, slot: locks.LowSlot, keeper_fd: int) -> None:
    line = Line(keeper_fd)
    await Brain(place, slot, line, await line.hello()).run()


def _unheard(number: int, frame: object) -> None:
    """A signal that was meant for the keeper."""


def _innermost(error: BaseException) -> BaseException:
    """The first error in a group of groups: task groups wrap what their tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
