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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT = 50
FILE_BYTES = 1024 * 1024
_ACCOUNT = "incident.json"
_ID = re.compile(r"[0-9]{8}T[0-9]{9}Z-[a-z0-9-]{1,40}")
_EVIDENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")


class Incidents:
    """All incidents of one state dir, `KEPT` a gateway. Nothing here raises; `trouble` says what could not be kept last."""

    def __init__(self, directory: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._directory = directory
        self._clock = clock
        self.trouble = ""

    def open(self, gateway: str, account: Mapping[str, Any], evidence: Mapping[str, bytes]) -> str:
        """Begin an incident; its id, or "" where it cannot be kept. Evidence longer than 1 MiB keeps its end."""
        now = self._clock()
        ident = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z-{gateway}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self._directory / ident).mkdir(mode=0o700)
        except OSError as refusal:
            self.trouble = f"{refusal.filename}: {refusal.strerror}"
            return ""
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
            found = json.loads((self._directory / ident / _ACCOUNT).read_bytes())
            return found if isinstance(found, dict) else None
        return None

    def evidence(self, ident: str, name: str) -> bytes | None:
        """One file of evidence."""
        if not (_ID.fullmatch(ident) and _EVIDENCE.fullmatch(name)):
            return None
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
        try:
            names = [path.name for path in self._directory.iterdir()]
        except OSError:
            return []
        mine = [name for name in names if _ID.fullmatch(name) and gateway in (None, name.partition("-")[2])]
        return sorted(mine, reverse=True)

    def _prune(self, gateway: str) -> None:
        for ident in self.ids(gateway)[KEPT:]:
            shutil.rmtree(self._directory / ident, ignore_errors=True)

    def _write(self, ident: str, name: str, data: bytes) -> None:
        directory = self._directory / ident
        draft = directory / f".{name}.{secrets.token_hex(4)}"
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            draft.rename(directory / name)
            self.trouble = ""
        except OSError as refusal:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            self.trouble = f"{refusal.filename or directory}: {refusal.strerror}"


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
