"""One event, one line of JSON that carries its own checksum; and where older lines are kept.

The checksum is the CRC-32 of the bytes before `,"crc"`, always the last member. An older part of the journal is called PATH.N, N being
the number of its last event in twelve digits.
"""

import json
import re
import zlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=str)
_CRC = b',"crc":"%08x"}'
_CRC_BYTES = len(_CRC % 0)
_PART = re.compile(r"\.(\d{12})")


def encode(seq: int, at: datetime, gateway: str | None, event: str, fields: Mapping[str, object]) -> bytes:
    """The line with its end. A field that bears the name of a fixed member is lost; fields that JSON cannot tell are named."""
    head = {
        "seq": seq,
        "at": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
        "gateway": gateway,
        "event": event,
    }
    members = {**head, **fields, **head}
    members.pop("crc", None)
    try:
        text = _ENCODER.encode(members)
    except (TypeError, ValueError, RecursionError) as refusal:
        text = _ENCODER.encode({**head, "untellable": f"{type(refusal).__name__}: {refusal}"})
    return _seal(text[:-1].encode())


def gap(first: int, last: int, at: datetime) -> bytes:
    """The line that stands for the events `first` … `last`, which are lost; its own number is `last`."""
    return encode(last, at, None, "journal_gap", {"from": first, "to": last})


def renumber(line: bytes, seq: int) -> bytes:
    """The same line with another number."""
    _, rest = line[: -_CRC_BYTES - 1].split(b",", 1)
    return _seal(b'{"seq":%d,%b' % (seq, rest))


def is_whole(line: bytes) -> bool:
    """Whether a line, without its end, is what was written once."""
    return line[-_CRC_BYTES:] == _CRC % zlib.crc32(line[:-_CRC_BYTES])


def decode(line: bytes) -> tuple[int, dict[str, object]] | None:
    """Number and members of a line without its end; None if the line is damaged."""
    if not is_whole(line):
        return None
    try:
        members = json.loads(line)
    except ValueError:
        return None
    match members:
        case {"seq": int(seq)}:
            return seq, members
        case _:
            return None


def parts(path: Path) -> list[tuple[int, Path]]:
    """The older parts, oldest first, each with the number of its last event; raises OSError."""
    return sorted(
        (int(match[1]), part)
        for part in path.parent.iterdir()
        if part.name.startswith(path.name) and (match := _PART.fullmatch(part.name, len(path.name)))
    )


def _seal(body: bytes) -> bytes:
    return body + _CRC % zlib.crc32(body) + b"\n"
