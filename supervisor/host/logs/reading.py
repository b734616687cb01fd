"""Shows a log to people: its last lines, and what comes; over all its parts, while another process writes and rotates it."""

import gzip
import os
import time
import zlib
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from supervisor.host.logs import rotation

_BLOCK_BYTES = 64 * 1024
_GAP = "[clawsup: the log was taken away under its reader, lines may be missing here]"


def tail(file: Path, lines: int) -> list[str]:
    """The last `lines` lines of the log, oldest first, without their ends; [] where there is no log."""
    older, log = _snapshot(file)
    try:
        *whole, begun = _pieces(older, log, lines)
    finally:
        if log:
            log.close()
    return _last([*whole, begun] if begun else whole, lines)


def follow(
    file: Path, *, lines: int = 10, stop: Callable[[], bool] = lambda: False, poll_s: float = 0.2
) -> Iterator[str]:
    """The last `lines` lines, then each line as it ends, until `stop()`; looks every `poll_s` s and blocks in between."""
    older, log = _snapshot(file)
    try:
        *whole, begun = _pieces(older, log, lines)
        yield from _last(whole, lines)
        while not stop():
            if log and (data := log.read(_BLOCK_BYTES)):
                *whole, begun = (begun + data).split(b"\n")
                yield from map(_text, whole)
                continue
            successor, gap = _successor(file, log)
            if successor is None:
                if log and _was_truncated(log, file):
                    log.seek(0)
                    begun = b""
                time.sleep(poll_s)
                continue
            if log:
                # The last look may have been just before the last write.
                *whole, begun = (begun + log.read()).split(b"\n")
                yield from map(_text, whole)
                begun = _carried(log, begun, successor)
                log.close()
            if gap:
                yield _GAP
            log = successor
    finally:
        if log:
            log.close()


def _pieces(older: list[Path], log: FileIO | None, lines: int) -> list[bytes]:
    """At least the last `lines` lines and, as last element, the line that has only begun; leaves `log` at its end."""
    blocks: list[bytes] = []
    ends = 0
    for block in _backwards(older, log):
        blocks.append(block)
        ends += block.count(b"\n")
        if ends > lines:
            break
    return b"".join(reversed(blocks)).split(b"\n")


def _last(pieces: list[bytes], lines: int) -> list[str]:
    return [_text(piece) for piece in pieces[max(0, len(pieces) - lines) :]]


def _text(line: bytes) -> str:
    return line.decode(errors="replace")


def _backwards(older: list[Path], log: FileIO | None) -> Iterator[bytes]:
    if log:
        yield from _blocks(log, log.seek(0, os.SEEK_END))
    for part in reversed(older):
        if source := _open_plain(part):
            with source:
                yield from _blocks(source, os.fstat(source.fileno()).st_size)
        else:
            packed = part if part.suffix == ".gz" else Path(f"{part}.gz")
            try:
                yield gzip.decompress(packed.read_bytes())
            except (OSError, EOFError, zlib.error):
                continue


def _blocks(source: FileIO, end: int) -> Iterator[bytes]:
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        yield os.pread(source.fileno(), end - start, start)
        end = start


def _successor(file: Path, log: FileIO | None) -> tuple[FileIO | None, bool]:
    """The file that goes on where `log` ended, None if there is none yet; whether lines may be missing in between."""
    older, current = _snapshot(file)
    if log is None:
        return current, False
    ours = os.fstat(log.fileno())
    if current and os.path.samestat(ours, os.fstat(current.fileno())):
        current.close()
        return None, False
    place = next((index for index, part in enumerate(older) if _is(part, ours)), None)
    if place is None:
        return current, True
    if place == len(older) - 1:
        return current, False
    following = _open_plain(older[place + 1])
    if following is None:
        return current, True
    if current:
        current.close()
    return following, False


def _was_truncated(log: FileIO, file: Path) -> bool:
    # A rotation shortens its file too, but has taken it from its path before.
    found = os.fstat(log.fileno())
    return log.tell() > found.st_size and _is(file, found)


def _carried(log: FileIO, begun: bytes, successor: FileIO) -> bytes:
    """What is left of a begun line: a rotation moves it to the head of the next file, before it cuts it off this one."""
    cut_off = log.tell() - os.fstat(log.fileno()).st_size
    if cut_off > 0:
        begun = begun[:-cut_off]
    moved = len(begun) < rotation.LONGEST_TAIL and begun == os.pread(successor.fileno(), len(begun), 0)
    return b"" if moved else begun


def _snapshot(file: Path) -> tuple[list[Path], FileIO | None]:
    """The older parts and the present log, open, with no rotation in between: it would have made a new part."""
    while True:
        older = _parts(file)
        log = _open(file)
        if older == _parts(file):
            return older, log
        if log:
            log.close()


def _parts(file: Path) -> list[Path]:
    try:
        return rotation.parts(file)
    except OSError:
        return []


def _is(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), found)
    except OSError:
        return False


def _open(path: Path) -> FileIO | None:
    try:
        return FileIO(path)
    except OSError:
        return None


def _open_plain(path: Path) -> FileIO | None:
    return None if path.suffix == ".gz" else _open(path)
