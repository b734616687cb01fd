"""(6) Every line that a gateway has printed is in its log, once and whole; what is not, was declared as dropped."""

import gzip
import re
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"^\S+ \[gateway\] (\d+)#(\d+) ")
_DROPPED = re.compile(r"\[clawsup: (\d+) bytes of output were dropped, the disk was full\]$")
_PART = re.compile(r"\.(\d{8}T\d{12}Z)(\.gz)?")
# A drop begins and ends in mid-line.
TORN_A_DROP = 2


@dataclass(slots=True)
class Account:
    """What became of one gateway's lines; `excused` were lost together with everybody who held the FIFO, as nobody could help."""

    printed: int = 0
    lost: int = 0
    lost_bytes: int = 0
    declared_bytes: int = 0
    excused: int = 0
    wrong: list[str] = field(default_factory=list)


def settle(printed: Sequence[str], log: Sequence[str], unheld: AbstractSet[int] = frozenset()) -> Account:
    """Compare what a gateway says it has printed with its log; `unheld` are lives that died while nobody held the FIFO.

    The last line of a life may be in the log only: it died before it had told us.
    """
    account = Account(printed=len(printed))
    drops = [int(match[1]) for line in log if (match := _DROPPED.search(line))]
    account.declared_bytes = sum(drops)
    want, have = Counter(printed), Counter(line for line in log if _LINE.match(line))
    last = {int(match[1]): int(match[2]) for line in printed if (match := _LINE.match(line))}
    missing = [line for line in printed if not have[line]]
    missing, ends = _without_last_words(missing, printed, unheld)
    account.excused = sum(ends.values())
    # Who died unheld may have left the beginning of a line.
    spare = len(drops) * TORN_A_DROP + len(ends)
    account.lost, account.lost_bytes = len(missing), sum(len(line) + 1 for line in missing)
    longest = max(map(len, printed), default=0) + 1
    if account.lost_bytes > account.declared_bytes + spare * longest:
        account.wrong.append(
            f"{len(missing)} lines lost, {account.lost_bytes} bytes, {account.declared_bytes} declared; the first: {missing[0]}"
        )
    account.wrong += [f"{have[line]} times in the log: {line}" for line in want if have[line] > want[line]]
    torn = [line for line in have if line not in want and not _is_last_word(line, last)]
    torn += [line for line in log if not _LINE.match(line) and not _DROPPED.search(line)]
    if len(torn) > spare:
        account.wrong.append(f"{len(torn)} lines in the log that nobody has printed so; the first: {torn[0]!r}")
    account.wrong += _disorder(log)
    return account


def read_log(file: Path) -> list[str]:
    """The lines of a log over all its parts, oldest first; of a part that is there twice, the compressed one."""
    parts = {}
    for path in sorted(file.parent.glob(f"{file.name}.*")):
        if match := _PART.fullmatch(path.name, len(file.name)):
            parts[match[1]] = path
    data = b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for _, path in sorted(parts.items())
    )
    return (data + (file.read_bytes() if file.exists() else b"")).decode(errors="replace").splitlines()


def _without_last_words(
    missing: list[str], printed: Sequence[str], unheld: AbstractSet[int]
) -> tuple[list[str], Counter[int]]:
    """Leave out what the last openers of a FIFO took with them, the end of a life's lines and only that; and count it."""
    gone, left, ends = set(missing), list[str](), Counter[int]()
    closed: set[int] = set()
    for line in reversed(printed):
        match = _LINE.match(line)
        pid = int(match[1]) if match else 0
        if line not in gone:
            closed.add(pid)
        elif pid in unheld and pid not in closed:
            ends[pid] += 1
        else:
            left.append(line)
    return left[::-1], ends


def _is_last_word(line: str, last: dict[int, int]) -> bool:
    match = _LINE.match(line)
    return match is not None and int(match[2]) == last.get(int(match[1]), 0) + 1


def _disorder(log: Sequence[str]) -> list[str]:
    before: dict[str, int] = {}
    for line in log:
        if match := _LINE.match(line):
            if int(match[2]) <= before.get(match[1], 0):
                return [f"not in their order: {line}"]
            before[match[1]] = int(match[2])
    return []
