"""What OpenClaw's three health endpoints mean by an HTTP status and a body.

/startupz decides *started*, /healthz decides *hung*, /readyz only informs. The status decides; the body gives the words
(FACTS §5). Every status with every body has a meaning.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

STARTUP = "/startupz"
LIVE = "/healthz"
READY = "/readyz"

_PHRASE = 120


@dataclass(frozen=True, slots=True)
class Startup:
    """How far the boot is. `too old`: this OpenClaw has no /startupz, ask /healthz; `odd`: no answer of an OpenClaw."""

    state: Literal["started", "starting", "draining", "too old", "odd"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Yes, no, or None where this OpenClaw cannot say; `detail` says why not yes."""

    yes: bool | None
    detail: str = ""


class _Body(BaseModel):
    status: str | None = None
    pending: str | None = Field(default=None, alias="pendingReason")
    failing: tuple[str, ...] = ()


def startup(status: int, body: bytes) -> Startup:
    """Interpret an answer to GET /startupz."""
    if _is_yes(status):
        return Startup("started")
    if status == HTTPStatus.NOT_FOUND:
        return Startup("too old", f"{STARTUP} is not known to this OpenClaw")
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return Startup("odd", _answered(STARTUP, status))
    told = _read(body)
    if told.status == "draining":
        return Startup("draining", "draining")
    return Startup("starting", _phrase("starting", told.pending or ""))


def live(status: int) -> Verdict:
    """Interpret an answer to GET /healthz; what it says is of no matter."""
    return Verdict(yes=True) if _is_yes(status) else Verdict(yes=False, detail=_answered(LIVE, status))


def ready(status: int, body: bytes) -> Verdict:
    """Interpret an answer to GET /readyz."""
    if _is_yes(status):
        return Verdict(yes=True)
    if status == HTTPStatus.NOT_FOUND:
        return Verdict(yes=None, detail=f"{READY} is not known to this OpenClaw")
    if status != HTTPStatus.SERVICE_UNAVAILABLE:
        return Verdict(yes=False, detail=_answered(READY, status))
    return Verdict(yes=False, detail=_phrase("not ready", ", ".join(_read(body).failing)))


def _is_yes(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _answered(path: str, status: int) -> str:
    return f"{path} answered {status}"


def _read(body: bytes) -> _Body:
    try:
        return _Body.model_validate_json(body)
    except ValidationError:
        return _Body()


def _phrase(state: str, why: str) -> str:
    """One printable line: the words come from the gateway, and end up on an operator's terminal."""
    clean = "".join(letter if letter.isprintable() else " " for letter in why).strip()
    text = f"{state}: {clean}" if clean else state
    return text if len(text) <= _PHRASE else f"{text[: _PHRASE - 1]}…"
