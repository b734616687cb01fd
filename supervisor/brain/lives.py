"""The gateway processes that live, and what of ours must not: known by run token, by mark and, where there is one, by cgroup.

A token is found in an environment, and proves who somebody is; but who clears his environment hides it. A mark cannot be
cleared so; it only says whose tree somebody grew from. A cgroup holds a whole tree together, and ends it at once.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from supervisor.brain.identity import Identity, life_in
from supervisor.host import cgroups, locks, processes, strangers
from supervisor.policy.definition import Definition
from supervisor.policy.state import Life

# A sweep looks again, so often at most, until so many looks in a row have found nothing: who re-forks may slip through one.
SWEEP_ROUNDS = 100
SWEEP_PAUSE_S = 0.01
SWEEP_LOOKS = 3
# Where the machine is short of what a look takes, the next one waits so long.
SWEEP_BLIND_S = 0.5
# A look waits while more and more are to be looked for, but no more than this many pauses.
SWEEP_CROWD = 10
# Who has been killed is gone after this long, unless it hangs in the kernel.
DYING_S = 1.0
# While a process turns into another program, its environment cannot be read for a moment: so many looks in a row must have seen it.
EXEC_ROUNDS = 20
EXEC_LOOKS = 3
EXEC_PAUSE_S = 0.005


class Living:
    """One gateway process, pinned, and what must be compared at its end.

    `started` is false until a probe has said so, `tls` None until its config was read, `said_before` what its log had taken in
    before it, None where that was not seen.
    """

    def __init__(self, life: int, process: processes.Process, definition: Definition, launcher: object) -> None:
        self.life = life
        self.process = process
        self.definition = definition
        self.launcher = launcher
        self.started = False
        self.tls: bool | None = None
        self.config_key = ""
        self.said_before: int | None = None
        self.is_told_to_end = False
        self.over = anyio.Event()


class Lives:
    """All present lives, at most one a gateway."""

    def __init__(self, identity: Identity, ground: Path | None) -> None:
        self._identity = identity
        self._ground = ground
        self._living: dict[str, Living] = {}
        self._unburied: dict[tuple[str, int], processes.Process] = {}
        # By mark: the looks in a row that found nothing of it, and all looks so far.
        self._doomed: dict[int, tuple[int, int]] = {}
        self._sweeper = anyio.Lock()

    def begin(self, name: str, living: Living) -> None:
        """From now on this is the gateway's life; that an earlier one is over is on record, since this one has been decided."""
        for other, life in list(self._unburied):
            # The one before may have ended in the same decision, whose Sweep is yet to come.
            if other == name and life != living.life - 1:
                self.bury(name, life)
        self._living[name] = living

    def end(self, name: str, living: Living) -> None:
        """It is over; `bury` follows once that is on record, so that until then another brain could learn its status."""
        if self._living.get(name) is living:
            del self._living[name]
        self._unburied[name, living.life] = living.process
        living.over.set()

    def bury(self, name: str, life: int) -> int:
        """Let go of the process of a life that is over; the most memory it had, 0 where that is not known."""
        process = self._unburied.pop((name, life), None)
        return processes.reap(process) if process is not None else 0

    def of(self, name: str, life: int | None = None) -> Living | None:
        """The gateway's present life; with a number, only if it is that one."""
        living = self._living.get(name)
        return living if living is not None and life in (None, living.life) else None

    def token(self, name: str, life: int) -> str:
        """The run token of a life."""
        return self._identity.token(name, life)

    @contextmanager
    def cradle(self, name: str, life: int) -> Iterator[int]:
        """Where a life is to be born, and the mark to give it."""
        with cgroups.inside(self._leaf(name, life)):
            yield self._identity.mark(self.token(name, life))

    def find(
        self, name: str, state_dir: Path, recorded: Life | None, lives: int
    ) -> tuple[int, processes.Process] | None:
        """The living gateway of that name: its life and its process, pinned; OSError when /proc cannot be read.

        What is on record must be found as it is there, pid, start ticks and token. Where the pid is not, or the life is later
        than the `lives` on record, the gateway is who has the token, leads a session and holds the lock of the state dir; if
        several do, the eldest.
        """
        readable = 0
        for _ in range(EXEC_ROUNDS):
            found = self._found(name, state_dir, recorded, lives)
            near = [] if found is not None else self._near(state_dir, recorded)
            # In the middle of an exec nobody's token can be read, and that may end between two looks.
            readable = 0 if any(strangers.run_token(pid) is None for pid in near) else readable + 1
            if not near or readable == EXEC_LOOKS:
                return found
            time.sleep(EXEC_PAUSE_S)
        return None

    def _found(
        self, name: str, state_dir: Path, recorded: Life | None, lives: int
    ) -> tuple[int, processes.Process] | None:
        tokens = strangers.find_tokens(self._identity.prefix)
        ours = {pid: life for pid, token in tokens.items() if (life := self._life_of(name, token)) is not None}
        holders = set(locks.holders(state_dir, known=ours)) if ours else set()
        found: list[tuple[int, processes.Process]] = []
        for pid, life in ours.items():
            process = processes.pin(pid)
            if process is None:
                continue
            if recorded is not None and recorded.number == life and recorded.pid is not None:
                is_it = (recorded.pid, recorded.start_ticks) == (pid, process.start_ticks)
            else:
                may_live = life > lives or (recorded is not None and recorded.number == life)
                is_it = may_live and pid in holders and processes.leads_a_session(pid)
            if is_it and strangers.run_token(pid) == self.token(name, life):
                found.append((life, process))
            else:
                os.close(process.pidfd)
        found.sort(key=lambda each: (-each[0], each[1].start_ticks, each[1].pid))
        for _, process in found[1:]:
            os.close(process.pidfd)
        return found[0] if found else None

    def is_leftover(self, pid: int) -> bool:
        """Whether a process carries a token or a mark of ours that no present life has."""
        try:
            marks = self._marks_of(pid)
        except OSError:
            return False  # it cannot be looked at now, and a stranger is never killed
        return bool(marks) and marks.isdisjoint(self._present())

    def gateway_at(self, pid: int) -> str | None:
        """Whose process that is, while it lives."""
        return next((name for name, living in self._living.items() if living.process.pid == pid), None)

    def told(self, pid: int) -> frozenset[str]:
        """The gateways whose signs, token or mark, a process carries; "" stands for one of ours that is no present life's."""
        names = {self._identity.mark(self.token(name, living.life)): name for name, living in self._living.items()}
        try:
            return frozenset(names.get(mark, "") for mark in self._marks_of(pid))
        except OSError:
            return frozenset({""})  # it cannot be looked at now, and any doubt lowers its rights

    async def sweep(self, name: str, life: int) -> None:
        """Kill whatever is left of a life, until a look finds nothing."""
        if (leaf := self._leaf(name, life)) is not None:
            cgroups.end(leaf)
        if (living := self.of(name, life)) is not None:
            with anyio.move_on_after(DYING_S):
                await living.over.wait()
        if leaf is not None:
            await self._sweep_leaf(leaf)
        doomed = self._identity.mark(self.token(name, life))
        self._doomed[doomed] = (0, 0)
        # Whoever has the lock sweeps for all who wait for it: a hundred gateways that end at once cost one look at a time.
        pause = SWEEP_PAUSE_S
        async with self._sweeper:
            while doomed in self._doomed:
                await self._let_others_go_first(pause)
                struck = self._strike(lambda marks: not marks.isdisjoint(self._doomed))
                pause = SWEEP_PAUSE_S if struck is not None else SWEEP_BLIND_S
                self._look(struck)

    async def _let_others_go_first(self, pause: float) -> None:
        """Wait a pause for a successor that is due, and for who ends in the same moment: one look serves them all."""
        for _ in range(SWEEP_CROWD):
            crowd = len(self._doomed)
            await anyio.sleep(pause)
            if len(self._doomed) <= crowd:
                return

    async def sweep_the_rest(self) -> None:
        """Kill whatever of ours belongs to no present life."""
        if self._ground is not None:
            present = {self._leaf(name, living.life) for name, living in self._living.items()}
            for leaf in cgroups.leaves(self._ground, f"clawsup-{self._identity.instance}-"):
                if leaf not in present:
                    await self._sweep_leaf(leaf)
        looks = 0
        for _ in range(SWEEP_ROUNDS):
            struck = self._strike(self._present().isdisjoint)
            looks = looks + 1 if struck == frozenset() else 0
            if looks == SWEEP_LOOKS:
                return
            await anyio.sleep(SWEEP_PAUSE_S if struck is not None else SWEEP_BLIND_S)

    async def _sweep_leaf(self, leaf: Path) -> None:
        for _ in range(SWEEP_ROUNDS):
            if cgroups.end(leaf):
                return
            await anyio.sleep(SWEEP_PAUSE_S)

    def _look(self, struck: frozenset[int] | None) -> None:
        """Note for each doomed mark what a strike has met; one that is not met any more is done."""
        for mark, (before, looks) in list(self._doomed.items()):
            in_vain = before + 1 if struck is not None and mark not in struck else 0
            if in_vain == SWEEP_LOOKS or looks == SWEEP_ROUNDS:
                del self._doomed[mark]
            else:
                self._doomed[mark] = (in_vain, looks + 1)

    def _strike(self, is_doomed: Callable[[frozenset[int]], bool]) -> frozenset[int] | None:
        """Kill what is doomed; the marks of what was, or None when /proc cannot be read.

        One by one and the newest first, so that a process that lives for milliseconds is met within microseconds of the list.
        """

        def still(pid: int) -> bool:
            marks = self._marks_of(pid)
            return bool(marks) and is_doomed(marks)

        struck: set[int] = set()
        try:
            for pid in processes.pids():
                marks = self._marks_of(pid)
                if marks and is_doomed(marks) and processes.kill_all((pid,), still):
                    struck |= marks
        except OSError:
            return None
        return frozenset(struck)

    def _near(self, state_dir: Path, recorded: Life | None) -> list[int]:
        """Who may be the gateway by all but its token: has our mark, leads a session, and is on record or holds the lock."""
        marked = [
            pid
            for pid in processes.pids()
            if self._identity.is_ours(processes.mark_of(pid))
            and processes.leads_a_session(pid)
            and not processes.is_zombie(pid)
        ]
        holders = locks.holders(state_dir, known=marked) if marked else ()
        return [pid for pid in marked if pid in holders or (recorded is not None and recorded.pid == pid)]

    def _marks_of(self, pid: int) -> frozenset[int]:
        """What a process says, or cannot help saying, about where it grew; nothing about ourselves, wherever we were started."""
        if pid in (os.getpid(), os.getppid()):
            return frozenset()
        mark, token = processes.mark_of(pid), strangers.run_token(pid) or ""
        inherited = {mark} if self._identity.is_ours(mark) else set()
        return frozenset(
            inherited | ({self._identity.mark(token)} if token.startswith(self._identity.prefix) else set())
        )

    def _present(self) -> frozenset[int]:
        return frozenset(self._identity.mark(self.token(name, living.life)) for name, living in self._living.items())

    def _life_of(self, name: str, token: str) -> int | None:
        life = life_in(token)
        return life if life is not None and self.token(name, life) == token else None

    def _leaf(self, name: str, life: int) -> Path | None:
        return None if self._ground is None else self._ground / f"clawsup-{self._identity.instance}-{name}-{life}"
