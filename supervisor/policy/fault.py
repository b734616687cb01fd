"""One thing that is wrong with the definitions, said so that it can be mended."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """`text` says what is wrong and what was expected; `names` are the gateways involved, first the one it is laid to.

    `line` is None where a line would mean nothing (a directory, a file that cannot be read). An error that is not `blocking`
    fails `check` and leaves the gateway usable.
    """

    file: str
    line: int | None
    key: str
    text: str
    mend: str
    severity: Literal["error", "warning"] = "error"
    names: tuple[str, ...] = ()
    blocking: bool = True

    def __str__(self) -> str:
        """`FILE:LINE: KEY: text`, without what does not apply."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)
