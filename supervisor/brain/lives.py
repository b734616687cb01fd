"""The gateway processes that live, and what of ours must not: known by their run tokens."""

import os
from collections.abc import Callable

import anyio

from supervisor.brain.identity import Identity, life_in
from supervisor.host import processes, strangers
from supervisor.policy.definition import Definition

# A sweep looks again this often until nothing carries the token any more; a re-forking process needs several looks.
SWEEP_ROUNDS = 100
SWEEP_PAUSE_S = 0.01


class Living:
    """One gateway process, pinned, and what must be compared at its end; `tls` is None until its config was read."""

    def __init__(self, life: int, process: processes.Process, definition: Definition, launcher: object) -> None:
        self.life = life
        self.process = process
        self.definition = definition
        self.launcher = launcher
        self.tls: bool | None = None


class Lives:
    """All present lives, at most one a gateway."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._living: dict[str, Living] = {}

    def begin(self, name: str, living: Living) -> None:
        """From now on this is the gateway's life."""
        self._living[name] = living

    def end(self, name: str, living: Living) -> None:
        """It is over; its pidfd is closed."""
        if self._living.get(name) is living:
            del self._living[name]
        os.close(living.process.pidfd)

    def of(self, name: str, life: int | None = None) -> Living | None:
        """The gateway's present life; with a number, only if it is that one."""
        living = self._living.get(name)
        return living if living is not None and life in (None, living.life) else None

    def token(self, name: str, life: int) -> str:
        """The run token of a life."""
        return self._identity.token(name, life)

    def newest(self, name: str) -> int | None:
        """The newest life of a gateway that some process carries the token of, for when no record tells."""
        tokens = set(strangers.find_tokens(self._identity.prefix).values())
        lives = [life for token in tokens if (life := life_in(token)) is not None]
        return max((life for life in lives if self._identity.token(name, life) in tokens), default=None)

    def is_leftover(self, pid: int) -> bool:
        """Whether a process carries a token of ours that no present life has."""
        token = strangers.run_token(pid)
        if token is None or not token.startswith(self._identity.prefix):
            return False
        return token not in {self._identity.token(name, living.life) for name, living in self._living.items()}

    async def sweep(self, is_doomed: Callable[[str], bool]) -> None:
        """Kill every process with a doomed token of ours, until a look finds none."""

        def still(pid: int) -> bool:
            token = strangers.run_token(pid)
            return token is not None and token.startswith(self._identity.prefix) and is_doomed(token)

        for _ in range(SWEEP_ROUNDS):
            try:
                found = strangers.find_tokens(self._identity.prefix)
            except OSError:
                found = {}
            if not processes.kill_all([pid for pid, token in found.items() if is_doomed(token)], still):
                return
            await anyio.sleep(SWEEP_PAUSE_S)
