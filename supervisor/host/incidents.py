"""Keeps what is known about each failure: one directory an incident, bounded in number and size, for its owner alone.

`incident.json` is the account, the files beside it the evidence. Text comes here masked; `config.rejected` alone is as it was.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

KEPT = 50
WAITING_BYTES = 8 * 1024 * 1024
FILE_BYTES = 1024 * 1024
_ACCOUNT = "incident.json"
_STAMP = "%Y%m%dT%H%M%S%fZ"  # milliseconds are read as the first digits of %f
_TICK = timedelta(milliseconds=1)
_ID = re.compile(r"[0-9]{8}T[0-9]{9}Z-[a-z0-9-]{1,40}")
_EVIDENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


class Incidents:
    """All incidents of one state dir, `KEPT` a gateway. Nothing here raises.

    `trouble` is "" or why files wait in memory for a disk that refuses them; at most 8 MiB of them do, and the oldest give way.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._clock = clock
        self._waiting: dict[tuple[str, str], bytes] = {}
        self.trouble = ""

    def open(self, gateway: str, account: Mapping[str, Any], evidence: Mapping[str, bytes]) -> str:
        """Begin an incident; its id. Evidence longer than 1 MiB keeps its end."""
        now = self._clock()
        ident = f"{self._stamp(now)}-{gateway}"
        self.update(ident, {"schema": 1, "id": ident, "gateway": gateway, "at": _text(now), **account})
        for name, data in evidence.items():
            self.add(ident, name, data)
        self._prune(gateway)
        return ident

    def update(self, ident: str, account: Mapping[str, Any]) -> None:
        """Overlay the account of an incident."""
        known = self.account(ident) or {}
        self._write(
            ident, _ACCOUNT, json.dumps({**known, **account}, indent=1, ensure_ascii=False).encode(errors="replace")
        )

    def add(self, ident: str, name: str, data: bytes) -> None:
        """Add a file of evidence."""
        if _EVIDENCE.fullmatch(name):
            self._write(ident, name, data[-FILE_BYTES:])

    def account(self, ident: str) -> dict[str, Any] | None:
        """The account of one incident; None where there is none that can be read."""
        if not _ID.fullmatch(ident):
            return None
        with suppress(OSError, ValueError):
            waiting = self._waiting.get((ident, _ACCOUNT))
            found = json.loads((self._directory / ident / _ACCOUNT).read_bytes() if waiting is None else waiting)
            return found if isinstance(found, dict) else None
        return None

    def evidence(self, ident: str, name: str) -> bytes | None:
        """One file of evidence."""
        if not (_ID.fullmatch(ident) and _EVIDENCE.fullmatch(name)):
            return None
        if (ident, name) in self._waiting:
            return self._waiting[ident, name]
        with suppress(OSError):
            return (self._directory / ident / name).read_bytes()
        return None

    def files(self, ident: str) -> list[str]:
        """The names of an incident's evidence."""
        with suppress(OSError):
            names = (path.name for path in (self._directory / ident).iterdir())
            return sorted(name for name in names if _EVIDENCE.fullmatch(name) and name != _ACCOUNT)
        return []

    def ids(self, gateway: str | None = None) -> list[str]:
        """The ids of all incidents, of one gateway if named, the newest first."""
        names = {ident for ident, _ in self._waiting}
        with suppress(OSError):
            names |= {path.name for path in self._directory.iterdir()}
        mine = [name for name in names if _ID.fullmatch(name) and gateway in (None, name.partition("-")[2])]
        return sorted(mine, reverse=True)

    def sweep(self) -> None:
        """Remove the drafts of an earlier brain that was killed; only one writes."""
        with suppress(OSError):
            for draft in self._directory.glob("*/.*"):
                draft.unlink(missing_ok=True)

    def _prune(self, gateway: str) -> None:
        for ident in self.ids(gateway)[KEPT:]:
            shutil.rmtree(self._directory / ident, ignore_errors=True)

    def tend(self) -> None:
        """Write what waits; while there is `trouble`, to be called now and then."""
        try:
            for (ident, name), data in list(self._waiting.items()):
                _write(self._directory, ident, name, data)
                del self._waiting[ident, name]
        except OSError as refusal:
            self.trouble = f"{self._directory}: {refusal.strerror}"
        else:
            self.trouble = ""

    def _write(self, ident: str, name: str, data: bytes) -> None:
        self._waiting[ident, name] = data
        self.tend()
        while sum(map(len, self._waiting.values())) > WAITING_BYTES:
            del self._waiting[next(iter(self._waiting))]

    def _stamp(self, now: datetime) -> str:
        """The moment as part of an id, but later than any other: a clock that was set back makes no incident look old."""
        newest = max((ident.partition("-")[0] for ident in self.ids()), default="")
        stamp = _stamped(now)
        return stamp if stamp > newest else _stamped(datetime.strptime(newest, _STAMP).replace(tzinfo=UTC) + _TICK)


def _write(home: Path, ident: str, name: str, data: bytes) -> None:
    directory = home / ident
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    draft = directory / f".{name}.{secrets.token_hex(4)}"
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        draft.rename(directory / name)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _stamped(moment: datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}Z"


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
