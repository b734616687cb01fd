"""Finds what a crash or a bad disk did to a journal, and puts the damage aside without losing a good line."""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from supervisor.host.journal import lines

_KEPT = 5


@dataclass(frozen=True, slots=True)
class Findings:
    """`last` is the number of the last good event, 0 if there is none; `mended` is None if the file needs no mending."""

    last: int
    mended: bytes | None = None
    damage: bytes = b""


def examine(path: Path, now: datetime) -> Findings:
    """Check every line of the present file (some 15 ms for 8 MiB); raises OSError."""
    older = lines.parts(path)
    last = older[-1][0] if older else 0
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Findings(last)
    *whole, torn = data.split(b"\n")
    if torn or not all(map(lines.is_whole, whole)):
        return _sort_out([*whole, torn], last, now)
    decoded = lines.decode(whole[-1]) if whole else None
    return Findings(decoded[0] if decoded else last)


def mend(path: Path, findings: Findings, now: datetime) -> Path | None:
    """Keep the good lines in PATH, and the damage where is said; a kill in between leaves all as it was. Raises OSError."""
    if findings.mended is None:
        return None
    kept = path.with_name(f"{path.name}.bad-{now:%Y%m%dT%H%M%S%fZ}") if findings.damage else None
    if kept is not None:
        _write(kept, findings.damage)
    draft = path.with_name(f"{path.name}.new")
    _write(draft, findings.mended)
    draft.rename(path)
    for bad in sorted(path.parent.glob(f"{path.name}.bad-*"))[:-_KEPT]:
        bad.unlink(missing_ok=True)
    return kept


def _sort_out(pieces: list[bytes], last: int, now: datetime) -> Findings:
    good: list[bytes] = []
    damage: list[bytes] = []
    for piece in pieces:
        decoded = lines.decode(piece)
        if decoded is None:
            damage.append(piece)
            continue
        seq = decoded[0]
        # A number that is missing behind damage was in the damage: the line says so, and no number is used twice.
        if damage and seq > last + 1:
            good.append(lines.gap(last + 1, seq - 1, now))
        good.append(piece + b"\n")
        last = seq
    return Findings(last, b"".join(good), b"\n".join(filter(None, damage)))


def _write(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
