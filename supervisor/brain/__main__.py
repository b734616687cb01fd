"""Brings a brain to life: adopts what lives, serves the control socket, runs until all has stopped or it dies."""

import argparse
import os
import signal
import sys
from functools import partial
from pathlib import Path

import anyio
from loguru import logger

from supervisor.brain.alone import be_alone
from supervisor.brain.chronicle import Chronicle, speak
from supervisor.brain.errands import Errands
from supervisor.brain.gatekeeper import Gatekeeper
from supervisor.brain.hands import Hands
from supervisor.brain.identity import Identity, load
from supervisor.brain.launchers import Place
from supervisor.brain.overview import Overview
from supervisor.brain.readings import Readings
from supervisor.control.models import gateways_of
from supervisor.control.server import serve
from supervisor.daemon import Daemon
from supervisor.errors import ClawsupError
from supervisor.host import locks
from supervisor.host.line import Hello, Line
from supervisor.host.records import Records, prepare_directory
from supervisor.policy import record
from supervisor.policy.events import Booted, Reloaded, ShutdownAsked, SpawnFailed
from supervisor.policy.fleet import Fleet
from supervisor.policy.state import life_of
from supervisor.policy.status import headline

# A brain beats three times within its keeper's patience.
BEATS = 3


class Brain:
    """One brain's parts, in the order in which they come to life."""

    def __init__(self, place: Place, slot: locks.LowSlot, line: Line, hello: Hello) -> None:
        self._place = place
        self._line = line
        self._hello = hello
        self._readings = Readings(place.conf_dir)
        self._beaten = 0.0
        for directory in (place.state_dir, place.state_dir / "logs", place.state_dir / "children"):
            refused = prepare_directory(directory)
            if refused:
                raise ClawsupError(refused, mend="give the supervisor a state dir of its own (--state-dir)")
        self._identity: Identity = load(Records(place.state_dir), place.state_dir)
        self._chronicle = Chronicle(place.state_dir, Records(place.state_dir / "children"))
        self._hands = Hands(place, self._identity, line, slot, self._readings.extra)
        children = self._chronicle.children(anyio.current_time())
        self._daemon = Daemon(
            Fleet(children=children, cores=os.cpu_count() or 1),
            self._hands,
            self._chronicle,
            beat=self._beat,
            beat_s=hello.silence_s / BEATS,
        )
        self._overview = Overview(place, hello, self._daemon, self._hands, self._chronicle, self._readings)
        hands = self._hands
        hands.calling.attach(lambda: self._daemon.fleet.children, self._chronicle.note)
        self._gatekeeper = Gatekeeper(
            hands.lives,
            self._chronicle,
            lambda: self._daemon.fleet.children,
            lambda: gateways_of(self._overview),
            hello.keeper_pid,
        )
        self._errands = Errands(self._gatekeeper, hands.guard, hands.launchers, self._readings.extra, hands.calling)

    async def run(self) -> None:
        """Live."""
        roster = self._readings.first_roster(self._daemon.fleet.children)
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._hands.run, self._daemon.post)
            tasks.start_soon(self._listen)
            self._chronicle.note([self._beginning()])
            self._daemon.decide(Reloaded(roster))
            await self._take_over()
            if self._hello.stopping:
                # Nothing may start in the middle of a stop.
                self._daemon.decide(ShutdownAsked(at_once=self._hello.stopping > 1))
            else:
                self._daemon.decide(Booted(first=self._hello.first))
            socket = self._place.state_dir / "control.sock"
            await tasks.start(
                partial(serve, socket, self._overview, allowed=self._gatekeeper.may, errands=self._errands)
            )
            self._line.notify("READY=1")
            tasks.start_soon(self._tell_headline)
            tasks.start_soon(self._hands.guard.watch, lambda: self._daemon.fleet.children, self._chronicle.note)
            await self._daemon.run()
            await self._hands.finish()
            tasks.cancel_scope.cancel()
        self._chronicle.note([record.Line("supervisor_stopped", None, {})])
        self._chronicle.journal.flush()
        self._line.notify("STOPPING=1")

    async def _take_over(self) -> None:
        """Adopt every gateway of an earlier brain that lives, and learn how the others ended."""
        for child in list(self._daemon.fleet.children.values()):
            if child.definition is None:
                continue
            life = life_of(child.state)
            adopted = self._hands.adopt(child.name, child.definition, life, child.lives)
            # A life that is not on record, because a disk was full, may have followed the one that is.
            if life is not None and (adopted is None or adopted.life != life.number):
                self._daemon.decide(
                    SpawnFailed(child.name, life.number, "the supervisor died while it started it")
                    if life.pid is None
                    else await self._hands.ended_unseen(child.name, life, child.definition)
                )
            if adopted is not None:
                self._daemon.decide(adopted)
        await self._hands.sweep_the_rest()

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
                self._hands.begin(self._reload)
            case "REPLACE":
                self._make_room()
            case _:
                logger.warning(f"the keeper said {word!r}")

    def _make_room(self) -> None:
        """End between two decisions, with all that is known on disk: to the gateways this is no more than a brain's death."""
        self._hands.drain()
        self._chronicle.journal.flush()
        os._exit(0)

    async def _reload(self) -> None:
        try:
            await self._overview.reload(prune=False, dry=False)
        except ClawsupError as error:
            logger.warning(f"reload: {error}")

    async def _tell_headline(self) -> None:
        """Keep systemd's status line true; one that has not changed is not said again."""
        told = ""
        while True:
            said = headline(self._daemon.fleet)
            if said != told:
                told = said
                self._line.notify(f"STATUS={said}")
            await self._daemon.changed()

    def _beat(self) -> None:
        now = anyio.current_time()
        if now - self._beaten >= self._hello.silence_s / (BEATS + 1):
            self._beaten = now
            self._line.beat()
            self._chronicle.tend(self._hands.logs)
            self._hands.casebook.tend(self._daemon.fleet.children.values(), now)

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
    hello = await line.hello()
    be_alone(place.state_dir, line.keeper_lives)
    await Brain(place, slot, line, hello).run()


def _unheard(number: int, frame: object) -> None:
    """A signal that was meant for the keeper."""


def _innermost(error: BaseException) -> BaseException:
    """The first error in a group of groups: task groups wrap what their tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
