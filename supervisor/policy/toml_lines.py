"""Where each key of a TOML document stands: the line numbers that tomllib does not give.

The text has passed tomllib, so this is a scanner, not a second parser: it needs to know where strings, comments and brackets
end, and nothing of what values mean. It holds its own stack, so that no nesting that tomllib survived can overflow it.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

KEY_PART: Final = r'[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY_PART = re.compile(KEY_PART)
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}|' + r"'''(?:[^']|'(?!''))*'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> Mapping[Path, int]:
    """The line, from 1, of every key, table header and array element of a document that tomllib accepts."""
    return _Scanner(text).scan()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of a key, or of the nearest table around it; 1 when there is none."""
    return next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), 1)


class _Scanner:
    """One pass over one document."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._lines: dict[Path, int] = {}
        self._tables: dict[Path, int] = {}  # how many elements each array of tables has so far

    def scan(self) -> Mapping[Path, int]:
        table: Path = ()
        while self._skip(_BLANK):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Move past what the pattern matches here; say whether anything is left."""
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else len(self._text)
        return self._at < len(self._text)

    def _mark(self, path: Path, start: int) -> None:
        self._lines.setdefault(path, bisect_right(self._breaks, start) + 1)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            found = _KEY_PART.match(self._text, self._at)
            if found is None:
                return tuple(parts)
            self._at = found.end()
            part = found.group()
            parts.append(_unquoted(part))
            self._skip(_SPACE)
            if self._text[self._at : self._at + 1] != ".":
                return tuple(parts)
            self._at += 1

    def _header(self) -> Path:
        start = self._at
        many = self._text.startswith("[[", start)
        self._at += 2 if many else 1
        *outer, last = self._key() or ("",)
        path: Path = ()
        for part in outer:
            path = self._newest((*path, part))
            self._mark(path, start)
        path = (*path, last)
        self._mark(path, start)
        if many:
            self._tables[path] = self._tables.get(path, 0) + 1
        path = self._newest(path)
        self._mark(path, start)
        self._at = max(self._at, start + 1) + (2 if many else 1)
        return path

    def _newest(self, path: Path) -> Path:
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        """A key, its `=` and its whole value; `open_` holds the arrays and inline tables that are not closed yet."""
        open_: list[tuple[Path, bool, int]] = []
        path = self._named(table)
        while True:
            self._skip(_SPACE)
            path, done = self._value(path, open_)
            if done:
                return

    def _named(self, table: Path) -> Path:
        """Read `key =` and give the path of what follows."""
        start = self._at
        path = table
        for part in self._key():
            path = (*path, part)
            self._mark(path, start)
        self._at = max(self._at, start) + 1
        return path

    def _value(self, path: Path, open_: list[tuple[Path, bool, int]]) -> tuple[Path, bool]:
        """Read a value, or the opening of one, then all that follows it up to the next value of the same statement."""
        match self._text[self._at : self._at + 1]:
            case "[":
                self._at += 1
                open_.append((path, False, -1))
            case "{":
                self._at += 1
                open_.append((path, True, -1))
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)
        while open_ and self._skip(_BLANK):
            outer, inline, index = open_[-1]
            character = self._text[self._at]
            if character in "]}":
                self._at += 1
                open_.pop()
            elif character == ",":
                self._at += 1
            elif inline:
                return self._named(outer), False
            else:
                open_[-1] = (outer, inline, index + 1)
                self._mark((*outer, index + 1), self._at)
                return (*outer, index + 1), False
        return path, True


def _unquoted(part: str) -> str:
    if part.startswith("'"):
        return part[1:-1]
    if part.startswith('"'):
        return str(tomllib.loads(f"key = {part}")["key"])
    return part
