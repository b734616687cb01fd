"""The bytes of a config file and of all it includes, as they were at one moment, and what tells one content from another."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.openclaw.config import ConfigFacts, load_config, read_config

_INCLUDE = b"$include"


@dataclass(frozen=True, slots=True)
class Content:
    """`files` are (path, bytes), first the config file itself; none when it is not there or, `unreadable` says why, cannot be read."""

    files: tuple[tuple[str, bytes], ...] = ()
    unreadable: str = ""

    @property
    def key(self) -> str:
        """The SHA-256 of the one file, or of the list of all; "" where there is no file."""
        if not self.files:
            return f"unreadable: {self.unreadable}" if self.unreadable else ""
        if len(self.files) == 1:
            return hashlib.sha256(self.files[0][1]).hexdigest()
        listed = (f"{path}\0{hashlib.sha256(data).hexdigest()}\n" for path, data in sorted(self.files))
        return hashlib.sha256("".join(listed).encode()).hexdigest()

    @property
    def text(self) -> str:
        """The config file itself, for people."""
        return self.files[0][1].decode("utf-8", errors="replace") if self.files else ""


def collect(path: str, read: Callable[[str], bytes]) -> Content:
    """Read a config file and what it includes, broken ones too; `read` gives a file's bytes or raises OSError."""
    found: dict[str, bytes] = {}

    def kept(file: str) -> bytes:
        found[file] = read(file)
        return found[file]

    try:
        kept(path)
    except FileNotFoundError:
        return Content()
    except OSError as error:
        return Content(unreadable=error.strerror or type(error).__name__)
    if _INCLUDE in found[path]:
        # To parse JSON5 is slow, so only what speaks of other files is parsed for their names.
        read_config(path, kept)
    return Content(tuple(found.items()))


def parsed_of(content: Content | None) -> Mapping[str, Any] | None:
    """What a content says; None where that cannot be known."""
    if content is None or not content.files:
        return None
    found = load_config(content.files[0][0], _reader(content))
    return found if isinstance(found, Mapping) else None


def facts_of(content: Content) -> ConfigFacts | None:
    """What of it concerns a supervisor; None where that cannot be known."""
    if not content.files:
        return None
    found = read_config(content.files[0][0], _reader(content))
    return found if isinstance(found, ConfigFacts) else None


def _reader(content: Content) -> Callable[[str], bytes]:
    files = dict(content.files)

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file", path)
        return files[path]

    return read
