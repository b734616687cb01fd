"""Runs one short OpenClaw command for a gateway, in its environment less the run token; whatever grew from it ends with it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import anyio

from supervisor.brain.launchers import Launchers, account_of
from supervisor.brain.lives import Lives
from supervisor.host import processes
from supervisor.openclaw import launch
from supervisor.policy.definition import Definition

Extra: TypeAlias = Callable[[Definition], Mapping[str, str]]
"""What a definition gives its gateway beside what we give it: `env_file` overlaid with `[env]`."""


class Commands:
    """The commands of one brain; each has a mark and a cgroup of its own, as a life has."""

    def __init__(self, launchers: Launchers, lives: Lives, extra: Extra) -> None:
        self._launchers = launchers
        self._lives = lives
        self._extra = extra
        self._last = 0

    async def run(
        self, definition: Definition, words: Sequence[str], timeout_s: float
    ) -> processes.Finished | processes.NotSpawned:
        """Run it to its end, or for `timeout_s`; cancelled or late, the command and its whole tree are killed."""
        launcher = self._launchers.find(definition)
        if launcher is None:
            return processes.NotSpawned(f"{definition.command[0]}: no such launcher", shortage=False)
        account = account_of(definition)
        # No gateway has such a name: should this brain die, the next one finds what no present life has, and sweeps it.
        self._last += 1
        name, number = f"{definition.name}.command", self._last
        try:
            return await processes.run(
                launch.openclaw_argv(definition, launcher, tuple(words)),
                self._launchers.environment(definition, launcher, self._extra(definition), None),
                definition.state_dir,
                timeout_s=timeout_s,
                account=account[1] if account else None,
                cradle=lambda: self._lives.cradle(name, number),
            )
        finally:
            with anyio.CancelScope(shield=True):
                await self._lives.sweep(name, number)
