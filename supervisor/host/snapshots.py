"""Keeps the contents that a gateway's config has had: by their bytes, outside the gateway's own directory, for its owner alone.

`STATE_DIR/snapshots/NAME/KEY.json` says what is known of one content, `blobs/SHA256` are its bytes. Each is written whole or not
at all, so that the supervisor and a person's command may both write.
"""

import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from supervisor.openclaw.content import Content

KEPT = 20
_PRIVATE_DIRECTORY = 0o700
_TICK_S = 1e-6
_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One content. `ran`: a gateway started on it; `good`: it was stable on it, `booted` or only reloaded into it (`hot`).

    `at` is when it was last seen in its place, `good_at` when it was last found good, in seconds since 1970; `version` is the
    OpenClaw that ran, or would have run, on it; `refused` is why one would not. `files` are (path, SHA-256).
    """

    key: str
    files: tuple[tuple[str, str], ...]
    at: float
    version: str = ""
    ran: bool = False
    booted: bool = False
    hot: bool = False
    good_at: float = 0.0
    refused: str = ""

    @property
    def good(self) -> bool:
        """Whether a gateway has been stable on it."""
        return self.booted or self.hot


_SNAPSHOT: TypeAdapter[Snapshot] = TypeAdapter(Snapshot)


class Snapshots:
    """The store of one gateway. Nothing here raises: what cannot be kept is told as text."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._blobs = directory / "blobs"
        self._clock = clock

    def keep(self, content: Content, *, version: str, ran: bool = False, refused: str = "") -> str:
        """Remember a content, or that it is there again; "" or why it cannot be kept. One without bytes is not."""
        if not content.files:
            return ""
        files = tuple((path, hashlib.sha256(data).hexdigest()) for path, data in content.files)
        known = self.find(content.key)
        snapshot = replace(known or Snapshot(content.key, files, 0.0), at=self._now())
        snapshot = replace(snapshot, version=version or snapshot.version, ran=snapshot.ran or ran)
        snapshot = replace(snapshot, refused="" if ran else refused or snapshot.refused)
        try:
            for (_, digest), (_, data) in zip(files, content.files, strict=True):
                if not (self._blobs / digest).exists():
                    _write(self._blobs, digest, data)
            self._save(snapshot)
        except OSError as refusal:
            return f"{refusal.filename or self._directory}: {refusal.strerror}"
        self._prune()
        return ""

    def promote(self, key: str, *, hot: bool, version: str) -> str:
        """It has proved good; "" or why that cannot be kept."""
        known = self.find(key)
        if known is None:
            return f"{self._directory / key}: no such snapshot"
        now = self._now()
        known = replace(known, version=version or known.version, good_at=now, at=now, refused="")
        try:
            self._save(replace(known, hot=True) if hot else replace(known, booted=True, ran=True))
        except OSError as refusal:
            return f"{refusal.filename or self._directory}: {refusal.strerror}"
        return ""

    def all(self) -> list[Snapshot]:
        """Every snapshot, the newest first; what cannot be read is not among them."""
        found = [self._load(path) for path in self._files()]
        return sorted((each for each in found if each is not None), key=lambda each: (each.at, each.key), reverse=True)

    def find(self, key: str) -> Snapshot | None:
        """The snapshot of just this key."""
        return self._load(self._directory / f"{key}.json") if key.isalnum() else None

    def named(self, prefix: str) -> list[Snapshot]:
        """Those whose key begins so."""
        return [each for each in self.all() if each.key.startswith(prefix)]

    def newest_good(self, *, booted: bool = False) -> Snapshot | None:
        """The one that was found good last; with `booted`, among those that a gateway has started on."""
        good = [each for each in self.all() if (each.booted if booted else each.good)]
        return max(good, key=lambda each: each.good_at, default=None)

    def content(self, key: str) -> Content | None:
        """The bytes; None where they are not there any more, or are not what they were."""
        known = self.find(key)
        if known is None:
            return None
        files: list[tuple[str, bytes]] = []
        for path, digest in known.files:
            try:
                data = (self._blobs / digest).read_bytes()
            except OSError:
                return None
            if hashlib.sha256(data).hexdigest() != digest:
                return None
            files.append((path, data))
        return Content(tuple(files))

    def sweep(self) -> None:
        """Remove the drafts of writers that were killed; while one writes that lives, nothing."""
        for directory in (self._directory, self._blobs):
            with suppress(OSError), _opened(directory) as home:
                fcntl.flock(home, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in directory.iterdir():
                    if _DRAFT.fullmatch(path.name):
                        path.unlink()

    def _now(self) -> float:
        """What the clock says, but later than anything kept: a clock that was set back makes nothing older than it is."""
        latest = max((max(each.at, each.good_at) for each in self.all()), default=0.0)
        return max(self._clock(), latest + _TICK_S)

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._directory.iterdir() if path.suffix == ".json" and path.stem.isalnum()]
        except OSError:
            return []

    def _load(self, path: Path) -> Snapshot | None:
        try:
            found = _SNAPSHOT.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        return found if found.key == path.stem else None

    def _save(self, snapshot: Snapshot) -> None:
        _write(self._directory, f"{snapshot.key}.json", _SNAPSHOT.dump_json(snapshot))

    def _prune(self) -> None:
        """Forget all but the last 20; the newest good and the newest booted one stay for as long as there is no newer."""
        kept = self.all()
        precious = {each.key for each in (self.newest_good(), self.newest_good(booted=True)) if each is not None}
        ordinary = [each for each in kept if each.key not in precious]
        doomed = ordinary[max(0, KEPT - len(precious)) :]
        with suppress(OSError):
            for each in doomed:
                (self._directory / f"{each.key}.json").unlink(missing_ok=True)
            if doomed:
                used = {digest for each in self.all() for _, digest in each.files}
                for path in self._blobs.iterdir():
                    if path.name not in used and not path.name.startswith("."):
                        path.unlink(missing_ok=True)


def changed_keys(snapshots: Sequence[Snapshot]) -> dict[str, str]:
    """Each key's shortest beginning, of at least eight characters, that no other one has."""
    keys = [each.key for each in snapshots]
    short = {}
    for key in keys:
        size = 8
        while any(other != key and other.startswith(key[:size]) for other in keys):
            size += 1
        short[key] = key[:size]
    return short


def _write(directory: Path, name: str, data: bytes) -> None:
    for each in reversed([directory, *directory.parents]):
        if not each.exists():
            each.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    with _opened(directory) as home:
        # A sweep leaves alone what is written under this; where the lock cannot be had, the write is tried all the same.
        with suppress(OSError):
            fcntl.flock(home, fcntl.LOCK_SH | fcntl.LOCK_NB)
        draft = directory / f".{name}.{secrets.token_hex(4)}"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(fd)
            draft.rename(directory / name)
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        os.fsync(home)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    home = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield home
    finally:
        os.close(home)
