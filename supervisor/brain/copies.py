"""The copies that are kept of each gateway's config; what a disk refuses to take waits, and is tried again."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from supervisor.host.snapshots import Snapshots
from supervisor.openclaw.content import Content

RETRY_S = 5.0
WAITING = 50


@dataclass(frozen=True, slots=True)
class _Copy:
    """One that could not be kept yet."""

    content: Content
    version: str
    ran: bool
    refused: str


class Copies:
    """The copies of all gateways of one brain; at most `WAITING` of them wait, and the oldest give way."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._waiting: dict[tuple[str, str], _Copy] = {}
        self._refusals: dict[tuple[str, str], str] = {}
        self._retry_at = 0.0
        with suppress(OSError):
            for each in directory.iterdir():
                Snapshots(each).sweep()

    @property
    def trouble(self) -> str:
        """Why a copy, or that it is good, cannot be kept at present; "" if all can."""
        return next(iter(self._refusals.values()), "")

    def store(self, name: str) -> Snapshots:
        """What is kept of one gateway's config."""
        return Snapshots(self._directory / name)

    def keep(self, name: str, content: Content, *, version: str, ran: bool = False, refused: str = "") -> None:
        """Remember a content, or that it is there again, now or as soon as that can be."""
        place = (name, content.key)
        before = self._waiting.pop(place, None)
        if before is not None:
            ran, refused = ran or before.ran, refused or before.refused
        if self._was_kept(place, self.store(name).keep(content, version=version, ran=ran, refused=refused)):
            return
        self._waiting[place] = _Copy(content, version, ran, refused)
        if len(self._waiting) > WAITING:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest], self._refusals[oldest]

    def promote(self, name: str, key: str, *, hot: bool, version: str) -> bool:
        """A gateway was stable on this content. False where that cannot be kept now: ask again, or give it up."""
        return self._was_kept((name, f"good {key}"), self.store(name).promote(key, hot=hot, version=version))

    def give_up(self, name: str, key: str) -> None:
        """That this content is good is nobody's concern any more."""
        self._refusals.pop((name, f"good {key}"), None)

    def tend(self, now: float) -> None:
        """Try again to keep what waits; to be called now and then."""
        if self._waiting and now >= self._retry_at:
            self._retry_at = now + RETRY_S
            for (name, _), copy in list(self._waiting.items()):
                self.keep(name, copy.content, version=copy.version, ran=copy.ran, refused=copy.refused)

    def _was_kept(self, place: tuple[str, str], refusal: str) -> bool:
        if refusal:
            self._refusals[place] = refusal
        else:
            self._refusals.pop(place, None)
        return not refusal
