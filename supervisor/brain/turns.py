"""Whose turn it is to ask OpenClaw about a config: one at a time, and begun while no gateway starts.

Who waits for the answer (the ladder, an operator) waits for others' starts no longer than twenty seconds; what nobody waits for
gives way to a start that begins meanwhile.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

import anyio

from supervisor.policy.fleet import COLD_START_S
from supervisor.policy.state import Child, Starting

LOOK_S = 0.1
# A cold start takes 6 to 20 s.
PATIENCE_S = 20.0

Children: TypeAlias = Callable[[], Mapping[str, Child]]
T = TypeVar("T")


class Turns:
    """The turns of one brain; before `attach` nobody starts."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._asking = anyio.Lock()
        self.children: Children = dict

    def attach(self, children: Children) -> None:
        """From now on it is known who starts."""
        self.children = children

    @property
    def is_starting(self) -> bool:
        """Whether a gateway is in its cold start; a slower one no longer counts, here as in policy."""
        now = anyio.current_time()
        states = (child.state for child in self.children().values())
        return any(isinstance(state, Starting) and now < state.life.begun + COLD_START_S for state in states)

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """The turn of somebody who waits for the answer."""
        until = anyio.current_time() + self._patience_s
        async with self._asking:
            with anyio.CancelScope(deadline=until):
                await self._until(starting=False)
            yield

    async def idly(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What `ask` gives, which takes the turn itself; None where a start was in the way, or came in between."""
        answer: T | None = None
        async with anyio.create_task_group() as tasks:

            async def give_way() -> None:
                await self._until(starting=True)
                tasks.cancel_scope.cancel()

            tasks.start_soon(give_way)
            answer = await ask()
            tasks.cancel_scope.cancel()
        return answer

    async def _until(self, *, starting: bool) -> None:
        while self.is_starting is not starting:  # noqa: ASYNC110 - a fleet tells each change, and this is looked at for seconds
            await anyio.sleep(LOOK_S)
