"""What crosses the control socket, and who stands at its other end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from supervisor.control.outcome import Verb


@dataclass(frozen=True, slots=True)
class Caller:
    """The peer of a connection, as the kernel recorded it when it connected; pid 0 is outside our pid namespace."""

    pid: int
    uid: int
    gid: int


class Ask(BaseModel):
    """The body of a verb. `at_once` skips the grace of a stop; `all` stands for every gateway the verb makes sense for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    names: Annotated[list[str], Field(max_length=1024)] | None = None
    all: bool = False
    wait: bool = True
    at_once: bool = False


def read_ask(body: bytes) -> Ask | str:
    """Read a verb's body, an empty one as all defaults; a string says what is wrong with it."""
    try:
        return Ask.model_validate_json(body or b"{}")
    except ValidationError as error:
        return "; ".join(
            ".".join(str(part) for part in (*fault["loc"],)) + (": " if fault["loc"] else "") + fault["msg"]
            for fault in error.errors(include_url=False, include_input=False)
        )


class Supervised(Protocol):
    """What the server shows and steers: the daemon, or a fleet in memory."""

    def status(self) -> dict[str, Any]:
        """Give the document of INTERFACE.md §5."""
        ...

    def story(self, name: str) -> dict[str, Any] | None:
        """Give one gateway's entry and its `log_tail`, `events` and `definition`; None when there is no such gateway."""
        ...

    def ask(self, verb: Verb, name: str, *, at_once: bool) -> None:
        """Post what an operator asked for; the daemon comes to it in its turn."""
        ...

    async def changed(self) -> None:
        """Return at the next change of anything after the call."""
        ...


def gateways_of(supervised: Supervised) -> dict[str, Mapping[str, Any]]:
    """Give the status entries by name."""
    return {entry["name"]: entry for entry in supervised.status()["gateways"]}
