"""Tells what a journal holds, over all its parts, while another process appends and rotates."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from supervisor.host.journal import lines


def read(path: Path, *, after: int = 0, last: int | None = None) -> Iterator[dict[str, object]]:
    """The events with a number above `after`, at most the `last` ones, oldest first; damaged lines are passed over."""
    if last is None:
        return (event for _, event in _forwards(path, after))
    newest = list(islice(_backwards(path, after), last))
    return reversed(newest)


def follow(
    path: Path, *, after: int = 0, stop: Callable[[], bool] = lambda: False, poll_s: float = 0.2
) -> Iterator[dict[str, object]]:
    """The events above `after`, then each that comes, until `stop()`; looks every `poll_s` s and blocks in between."""
    told = after
    begun = b""
    file: FileIO | None = None
    try:
        while not stop():
            if not _is_current(file, path):
                if file:
                    file.close()
                # Opened before the catching up, so that nothing falls between the two; what is met twice is known by its number.
                file, begun = _open(path), b""
                for seq, event in _forwards(path, told):
                    told = seq
                    yield event
            if file:
                *whole, begun = (begun + file.read()).split(b"\n")
                for seq, event in filter(None, map(lines.decode, whole)):
                    if seq > told:
                        told = seq
                        yield event
            time.sleep(poll_s)
    finally:
        if file:
            file.close()


def _forwards(path: Path, after: int) -> Iterator[tuple[int, dict[str, object]]]:
    with ExitStack() as stack:
        for file in _files(path, after, stack):
            for line in file:
                decoded = lines.decode(line.removesuffix(b"\n"))
                if decoded and decoded[0] > after:
                    after = decoded[0]
                    yield decoded


def _backwards(path: Path, after: int) -> Iterator[dict[str, object]]:
    before: int | None = None
    with ExitStack() as stack:
        for file in reversed(_files(path, after, stack)):
            for line in reversed(file.read().split(b"\n")):
                decoded = lines.decode(line)
                if decoded is None or (before is not None and decoded[0] >= before):
                    continue
                before, event = decoded
                if before <= after:
                    return
                yield event


def _files(path: Path, after: int, stack: ExitStack) -> list[BinaryIO]:
    """The files that may hold events above `after`, oldest first; one that a rotation renames meanwhile may come twice."""
    try:
        current = [stack.enter_context(path.open("rb"))]
    except OSError:
        current = []
    older: list[BinaryIO] = []
    try:
        for last, part in lines.parts(path):
            if last > after:
                older.append(stack.enter_context(part.open("rb")))
    except OSError:
        return older + current
    return older + current


def _is_current(file: FileIO | None, path: Path) -> bool:
    try:
        return file is not None and os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _open(path: Path) -> FileIO | None:
    try:
        return FileIO(path)
    except OSError:
        return None
