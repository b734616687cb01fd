"""The files of one log: NAME.log and its older parts NAME.log.YYYYMMDDTHHMMSSffffffZ[.gz].

A log is the concatenation of its parts, oldest first. A rotation takes four steps, and a kill between any two loses and doubles
nothing once `recover` has run: the line that has only begun is copied to NAME.log.new; NAME.log becomes the newest
part; NAME.log.new becomes NAME.log; the copied line is cut off the part. The newest part is never compressed, so that
the last step can always be made up for.
"""

import gzip
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

_STAMP = "%Y%m%dT%H%M%S%fZ"
_PART = re.compile(r"\.(\d{8}T\d{12}Z)(\.gz)?")
LONGEST_TAIL = 64 * 1024


def parts(file: Path) -> list[Path]:
    """The older parts of the log, oldest first; of a part that is there plain and compressed, the compressed one.

    Raises OSError.
    """
    found: dict[str, Path] = {}
    for path in sorted(file.parent.iterdir()):
        if path.name.startswith(file.name) and (match := _PART.fullmatch(path.name, len(file.name))):
            found[match[1]] = path
    return [path for _, path in sorted(found.items())]


def rotate(file: Path, fd: int, now: datetime, max_bytes: int) -> None:
    """Make the log, open as `fd`, its newest part and begin a new one with the line that has only begun; raises OSError."""
    size = os.fstat(fd).st_size
    tail = _unfinished_line(fd, size, max_bytes)
    successor = _successor(file)
    _write_whole(successor, tail)
    file.rename(_next_part(file, now))
    successor.rename(file)
    os.ftruncate(fd, size - len(tail))


def recover(file: Path, max_bytes: int) -> None:
    """Finish what a kill interrupted in `rotate` or `compress`; raises OSError."""
    successor = _successor(file)
    if file.exists():
        successor.unlink(missing_ok=True)
    elif successor.exists():
        successor.rename(file)
    for path in parts(file):
        if path.suffix == ".gz":
            path.with_suffix("").unlink(missing_ok=True)
        else:
            Path(f"{path}.gz.tmp").unlink(missing_ok=True)
    newest = parts(file)[-1:]
    if newest and newest[0].suffix != ".gz" and file.exists():
        _cut_doubled_tail(newest[0], file, max_bytes)


def prune(file: Path, keep: int, max_total: int) -> None:
    """Remove the oldest parts, until at most `keep` with at most `max_total` bytes are left; raises OSError."""
    total = 0
    for age, path in enumerate(reversed(parts(file))):
        try:
            total += path.stat().st_size
            if age >= keep or total > max_total:
                path.unlink()
        except FileNotFoundError:
            continue


def compress(file: Path) -> None:
    """Compress every part but the newest; what cannot be compressed stays as it is. Slow: not for an event loop."""
    try:
        older = parts(file)[:-1]
    except OSError:
        return
    for path in older:
        if path.suffix == ".gz":
            continue
        small = Path(f"{path}.gz")
        half_done = Path(f"{small}.tmp")
        try:
            with (
                path.open("rb") as source,
                open(half_done, "wb", opener=_private) as raw,
                gzip.GzipFile(path.name, "wb", 6, raw) as target,
            ):
                shutil.copyfileobj(source, target, 256 * 1024)
            half_done.rename(small)
            path.unlink(missing_ok=True)
        except OSError:
            half_done.unlink(missing_ok=True)


def set_aside(path: Path, now: datetime) -> None:
    """Rename what stands in the way to PATH.bad-STAMP; raises OSError."""
    path.rename(path.with_name(f"{path.name}.bad-{now.strftime(_STAMP)}"))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _successor(file: Path) -> Path:
    return file.with_name(f"{file.name}.new")


def _next_part(file: Path, now: datetime) -> Path:
    # Order lies in the names alone, so a wall clock that was set back must not make a new part look old.
    stamp = now.strftime(_STAMP)
    for path in parts(file)[-1:]:
        newest = path.name.removeprefix(f"{file.name}.").removesuffix(".gz")
        if stamp <= newest:
            later = datetime.strptime(newest, _STAMP).replace(tzinfo=UTC) + timedelta(microseconds=1)
            stamp = later.strftime(_STAMP)
    return file.with_name(f"{file.name}.{stamp}")


def _write_whole(path: Path, data: bytes) -> None:
    with open(path, "wb", opener=_private) as target:
        target.write(data)


def _unfinished_line(fd: int, size: int, max_bytes: int) -> bytes:
    """What follows the last line end; nothing if that is so long that the line has to be cut.

    Half a log is the most, so that a log of one endless line still rotates to something shorter.
    """
    longest = min(LONGEST_TAIL, max_bytes // 2)
    end = os.pread(fd, longest, max(0, size - longest))
    cut = end.rfind(b"\n")
    return end[cut + 1 :] if cut >= 0 else b""


def _cut_doubled_tail(part: Path, file: Path, max_bytes: int) -> None:
    # A finished rotation leaves a part that ends with a line end or in a line too long to be copied.
    fd = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        tail = _unfinished_line(fd, size, max_bytes)
        with file.open("rb") as log:
            doubled = log.read(len(tail)) == tail
        if tail and doubled:
            os.ftruncate(fd, size - len(tail))
    finally:
        os.close(fd)
