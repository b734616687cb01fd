"""Brings a brain to life: adopts what lives, serves the control socket, runs until all has stopped or it dies."""

import argparse
import errno
import os
import signal
import sys
from pathlib import Path

import anyio
from anyio.abc import TaskStatus
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
from supervisor.host.descriptors import SHORTAGES, Reserve
from supervisor.host.line import Hello, Line
from supervisor.host.records import Records, prepare_directory
from supervisor.policy import record
from supervisor.policy.events import Booted, Reloaded, ShutdownAsked, SpawnFailed
from supervisor.policy.fleet import Fleet
from supervisor.policy.state import life_of
from supervisor.policy.status import headline

# A brain beats three times within its keeper's patience.
BEATS = 3
# What a disk that is full or read-only, or a machine that is short of something, says to a new socket; it is asked again.
REFUSALS = SHORTAGES | {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
SERVE_AGAIN_S = 5.0
# The status line is said anew no more often than this.
HEADLINE_PAUSE_S = 0.1
# A stop that takes longer than the unit allows asks for so much more with each beat.
MORE_TIME_S = 30


class Brain:
    """One brain's parts, in the order in which they come to life."""

    def __init__(self, place: Place, slot: locks.LowSlot, reserve: Reserve, line: Line, hello: Hello) -> None:
        self._place = place
        self._line = line
        self._hello = hello
        self._readings = Readings(place.conf_dir)
        self._reserve = reserve
        self._beaten = 0.0
        self._said = ""
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
        self._overview = Overview(place, hello, self._daemon, self._hands, self._chronicle, self._readings, reserve)
        hands = self._hands
        hands.calling.attach(lambda: self._daemon.fleet.children, self._chronicle.note)
        hands.guard.turns.attach(lambda: self._daemon.fleet.children)
        self._gatekeeper = Gatekeeper(
            hands.lives,
            self._chronicle,
            lambda: self._daemon.fleet.children,
            lambda: gateways_of(self._overview),
            hello.keeper_pid,
        )
        self._errands = Errands(place, self._gatekeeper, hands.guard, hands.commands, hands.calling)

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
            await tasks.start(self._serve)
            self._line.notify("READY=1")
            tasks.start_soon(self._tell_headline)
            tasks.start_soon(self._hands.guard.watch, self._chronicle.note)
            await self._daemon.run()
            await self._hands.finish()
            tasks.cancel_scope.cancel()
        self._chronicle.note([record.Line("supervisor_stopped", None, {})])
        self._chronicle.journal.flush()
        self._line.notify("STOPPING=1")

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        """Answer on the control socket; while a disk refuses to take one, the gateways are looked after all the same."""
        served = _Served(task_status, self._overview)
        while True:
            try:
                await serve(
                    self._place.state_dir / "control.sock",
                    self._overview,
                    allowed=self._gatekeeper.may,
                    errands=self._errands,
                    guests=self._gatekeeper.guests,
                    reserve=self._reserve,
                    task_status=served,
                )
            except ClawsupError as error:
                if not isinstance(error.__cause__, OSError) or error.__cause__.errno not in REFUSALS:
                    raise
                served.started()
                self._overview.unheard = error.what
            await anyio.sleep(SERVE_AGAIN_S)

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
                    SpawnFailed(child.name, life.number, "the supervisor died while it started it", cut_short=True)
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
        self._hands.outputs.drain_all()
        self._chronicle.journal.flush()
        os._exit(0)

    async def _reload(self) -> None:
        try:
            await self._overview.reload(prune=False, dry=False)
        except ClawsupError as error:
            logger.warning(f"reload: {error}")

    async def _tell_headline(self) -> None:
        """Keep systemd's status line true; one that has not changed is not said again."""
        while True:
            self._say_headline()
            await self._daemon.changed()
            await anyio.sleep(HEADLINE_PAUSE_S)

    def _say_headline(self) -> None:
        said = headline(self._daemon.fleet)
        if degraded := self._overview.degraded():
            said += f"; degraded: {'; '.join(degraded)}"
        if said != self._said:
            self._said = said
            self._line.notify(f"STATUS={said}")

    def _beat(self) -> None:
        now = anyio.current_time()
        if now - self._beaten >= self._hello.silence_s / (BEATS + 1):
            self._beaten = now
            self._line.beat()
            if self._daemon.fleet.closing:
                self._line.notify(f"EXTEND_TIMEOUT_USEC={MORE_TIME_S * 1_000_000}")
            self._chronicle.tend(self._hands.outputs.logs)
            self._hands.outputs.release(self._daemon.fleet.children)
            self._reserve.look()
            self._chronicle.tell(self._overview.degraded())
            self._say_headline()
            self._hands.casebook.tend(self._daemon.fleet.children.values(), now)

    def _beginning(self) -> record.Line:
        fields = {"pid": os.getpid(), "keeper_pid": self._hello.keeper_pid, "brains": self._hello.brains}
        return record.Line("supervisor_started", None, {**fields, **record.beginning(self._daemon.fleet)})


class _Served:
    """Tells its first start to who waits for it, and by each that the socket can be heard."""

    def __init__(self, waiting: TaskStatus[None], overview: Overview) -> None:
        self._waiting: TaskStatus[None] | None = waiting
        self._overview = overview

    def started(self, value: None = None) -> None:  # noqa: ARG002 (the shape of TaskStatus)
        """The socket takes connections."""
        self._overview.unheard = ""
        if self._waiting is not None:
            self._waiting.started()
            self._waiting = None


def main(arguments: list[str]) -> int:
    """`python -m supervisor.brain`, started by the keeper."""
    # The lock's number in a gateway must be low, so it is reserved before anything else is opened.
    slot = locks.LowSlot()
    reserve = Reserve()
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
        anyio.run(_live, place, slot, reserve, options.keeper_fd)
    except (ClawsupError, BaseExceptionGroup) as error:
        told = _innermost(error)
        if not isinstance(told, ClawsupError):
            raise
        logger.error(str(told))
        return told.exit_code
    return 0


async def _live(place: Place, slot: locks.LowSlot, reserve: Reserve, keeper_fd: int) -> None:
    line = Line(keeper_fd)
    hello = await line.hello()
    be_alone(place.state_dir, line.keeper_lives)
    await Brain(place, slot, reserve, line, hello).run()


def _unheard(number: int, frame: object) -> None:
    """A signal that was meant for the keeper."""


def _innermost(error: BaseException) -> BaseException:
    """The first error in a group of groups: task groups wrap what their tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
