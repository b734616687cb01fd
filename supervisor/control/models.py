"""What crosses the control socket."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from supervisor.control.outcome import Verb
from supervisor.host.callers import Caller

T = TypeVar("T", bound=BaseModel)


class Ask(BaseModel):
    """The body of a verb. `all` stands for every gateway the verb makes sense for.

    `at_once` skips the grace of a stop, `force` restarts onto a config that would not start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    names: Annotated[list[str], Field(max_length=1024)] | None = None
    all: bool = False
    wait: bool = True
    at_once: bool = False
    force: bool = False


class ReloadAsk(BaseModel):
    """The body of a reload: `plan` only tells, `prune` stops gateways whose definition is gone, `force` as in Ask."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    plan: bool = False
    prune: bool = False
    force: bool = False
    wait: bool = True


class ErrandAsk(BaseModel):
    """The body of an errand: `text` is a whole config for `put`, `key` a snapshot's beginning, `words` a command for `exec` or `tell`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: str | None = None
    words: Annotated[list[str], Field(max_length=64)] | None = None
    key: str | None = None
    note: Annotated[str, Field(max_length=4096)] | None = None


def read_ask(body: bytes, model: type[T]) -> T | str:
    """Read a verb's body, an empty one as all defaults; a string says what is wrong with it."""
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        return "; ".join(
            ".".join(str(part) for part in (*fault["loc"],)) + (": " if fault["loc"] else "") + fault["msg"]
            for fault in error.errors(include_url=False, include_input=False)
        )


@dataclass(frozen=True, slots=True)
class Reloading:
    """What a reload changes, a change a gateway; `decided` once policy has it, and it is no longer only planned."""

    changes: list[dict[str, Any]]
    decided: anyio.Event


class Supervised(Protocol):
    """What the server shows and steers: the daemon, or a fleet in memory."""

    def status(self) -> dict[str, Any]:
        """Give the document of INTERFACE.md §5."""
        ...

    def story(self, name: str) -> dict[str, Any] | None:
        """Give one gateway's entry and its `log_tail`, `events` and `definition`; None when there is no such gateway."""
        ...

    def consent(self, verb: Verb, name: str) -> str | None:
        """Say why this may not be done now; "" it may; None: that is not known yet, ask again soon."""
        ...

    def ask(self, verb: Verb, name: str, *, at_once: bool) -> None:
        """Post what an operator asked for; the daemon comes to it in its turn."""
        ...

    async def reload(self, *, prune: bool, dry: bool, force: bool = False) -> Reloading:
        """Read the definitions anew; `dry` begins nothing. ClawsupError when none can be read."""
        ...

    async def changed(self) -> None:
        """Return at the next change of anything after the call."""
        ...

    async def decided(self) -> None:
        """Return once all that was asked before is decided, and so will not be forgotten."""
        ...


class Errands(Protocol):
    """What is done for a gateway beside the daemon: its config, a command in its environment, an incident's end."""

    def who(self, caller: Caller) -> str:
        """Name the caller: `operator`, a gateway's name, or `observer`."""
        ...

    async def run(self, verb: str, name: str, ask: ErrandAsk) -> dict[str, Any]:
        """Do it, and give what came of it; ClawsupError when it could not be done."""
        ...


def gateways_of(supervised: Supervised) -> dict[str, Mapping[str, Any]]:
    """Give the status entries by name."""
    return {entry["name"]: entry for entry in supervised.status()["gateways"]}
