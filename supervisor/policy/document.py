"""A TOML file as it was written: its values, and the line of each key."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from supervisor.policy.fault import Fault
from supervisor.policy.toml_lines import KEY_PART, Path, key_lines, line_of

MAX_DEPTH: Final = 32

# tomllib's time is quadratic in the parts of a key (5,000 took 0.3 s, and a file has room for 500,000). Nobody means such a key.
_ENDLESS_KEY = re.compile(
    rf"(?:^|[{{,])[ \t\[]*(?:(?:{KEY_PART})[ \t]*\.[ \t]*){{{MAX_DEPTH}}}",
    re.MULTILINE,
)
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """`values` is what tomllib made of the file."""

    file: str
    values: Mapping[str, Any]
    lines: Mapping[Path, int]

    def line(self, *path: str | int) -> int:
        """The line of a key, or of the nearest table around it."""
        return line_of(self.lines, path)


def parse(file: str, data: bytes, names: tuple[str, ...]) -> Document | Fault:
    """The document, or why the bytes are none; `names` are the gateways that would come of it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Fault(
            file, line, "", f"is not UTF-8: byte 0x{data[error.start]:02x}", "save the file as UTF-8", names=names
        )
    text = text.replace("\r\n", "\n")
    deep = Fault(file, 1, "", "is nested too deeply", "remove the nested arrays or tables", names=names)
    if _ENDLESS_KEY.search(text):
        return deep
    try:
        values = tomllib.loads(text)
    except RecursionError:
        return deep
    except ValueError as error:
        return _not_toml(file, text, error, names)
    return deep if _is_deep(values) else Document(file, values, key_lines(text))


def _is_deep(values: Mapping[str, Any]) -> bool:
    """Whether anything lies deeper than whoever walks the values should have to recurse."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        nodes = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list))
        level = [child for node in nodes for child in node]
    return bool(level)


def _not_toml(file: str, text: str, error: ValueError, names: tuple[str, ...]) -> Fault:
    message = str(error)
    found = _POSITION.search(message)
    line = text.rstrip("\n").count("\n") + 1
    if found is None:
        # tomllib lets int() speak for itself when a number has thousands of digits, and then knows no position.
        line = 1
    elif found.group(1):
        line = int(found.group(1))
    what = message[: found.start()] if found else message.partition(";")[0]
    return Fault(file, line, "", f"is not valid TOML: {what}", "correct that line, then `clawsup check`", names=names)
