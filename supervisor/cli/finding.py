"""One line of `clawsup doctor`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """`about` is one word for what was looked at; what is ok has no mend."""

    severity: Literal["ok", "warning", "error"]
    about: str
    text: str
    mend: str = ""


def ok(about: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", about, text)


def warning(about: str, text: str, mend: str) -> Finding:
    """It works, and may not for ever."""
    return Finding("warning", about, text, mend)


def error(about: str, text: str, mend: str) -> Finding:
    """It cannot work so."""
    return Finding("error", about, text, mend)
