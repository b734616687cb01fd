"""Which faults come when: drawn from the seed alone, round after round, so that a seed is a schedule."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

ROUND_S = 14.0
GAP_S = 0.7

# How often each kind comes, in parts of all. Those of `GATEWAY` have a target.
GATEWAY: Mapping[str, int] = {
    "kill": 14,
    "term": 6,
    "freeze": 6,  # SIGSTOP, SIGCONT after a while
    "stun": 3,  # SIGSTOP, for good
    "hang": 3,  # it sleeps on, whatever comes
    "crash": 3,  # it exits by itself
    "handoff": 3,  # it asks for a new life
    "kill, then brain": 7,
    "steal port": 5,
    "break config": 6,
    "kill helper": 4,
    "stop, then start": 4,
    "restart": 4,
}
SUPERVISOR: Mapping[str, int] = {
    "kill brain": 9,
    "freeze brain": 3,
    "freeze keeper": 2,
    "kill keeper": 3,
    "kill both": 3,
    "second supervisor": 3,
    "reload": 3,
    "hangup": 2,
    "replace": 2,
}
DISK: Mapping[str, int] = {"fill logs": 2, "fill state": 2}
# How long what lasts does, in seconds.
LASTS: Mapping[str, tuple[float, float]] = {
    "freeze": (0.3, 4.0),
    "freeze brain": (0.5, 4.0),
    "freeze keeper": (0.3, 3.0),
    "hang": (0.5, 5.0),
    "steal port": (1.0, 4.0),
    "break config": (1.0, 4.0),
    "stop, then start": (1.0, 6.0),
    "fill logs": (1.0, 3.0),
    "fill state": (1.0, 3.0),
    "kill, then brain": (0.0, 0.25),
    "kill keeper": (0.0, 1.0),
    "kill both": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, `at` s into its round, for `lasts` s where it lasts (for a keeper: how long systemd waits); `twist` is a die for variants."""

    at: float
    kind: str
    target: str = ""
    lasts: float = 0.0
    twist: float = 0.0

    def __str__(self) -> str:
        lasts = f" for {self.lasts:.2f} s" if self.lasts else ""
        return f"{self.at:6.2f}  {self.kind}{' ' if self.target else ''}{self.target}{lasts}"


def weights(*, disk_full: bool, only: Sequence[str] = ()) -> dict[str, int]:
    """How often each kind shall come; with `only`, no other kinds."""
    every = {**GATEWAY, **SUPERVISOR, **(DISK if disk_full else {})}
    return {kind: weight for kind, weight in every.items() if not only or kind in only}


def rounds(
    seed: int, names: Sequence[str], kinds: Mapping[str, int], *, round_s: float = ROUND_S, gap_s: float = GAP_S
) -> Iterator[tuple[Fault, ...]]:
    """Give the faults of one round after another, without end."""
    number = 0
    while True:
        number += 1
        yield tuple(_round(random.Random(f"{seed}:{number}"), names, kinds, round_s, gap_s))  # noqa: S311 (no secret)


def _round(
    dice: random.Random, names: Sequence[str], kinds: Mapping[str, int], round_s: float, gap_s: float
) -> Iterator[Fault]:
    at = dice.expovariate(1 / gap_s)
    while at < round_s:
        kind = dice.choices(list(kinds), list(kinds.values()))[0]
        # What the operator stops shall be down, and the rescue's downtime is measured.
        may = [name for name in names if name != "rescue"] if kind == "stop, then start" else names
        target = dice.choice(may) if kind in GATEWAY else ""
        yield Fault(at, kind, target, dice.uniform(*LASTS.get(kind, (0.0, 0.0))), dice.random())
        at += dice.expovariate(1 / gap_s)
