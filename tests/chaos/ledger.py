"""What was done to whom in a run, what of it still holds on, and who must not be blamed for what came of it."""

import time
from collections import Counter, defaultdict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from tests.chaos.schedule import Fault

EVERYBODY = ""
# Who dies so long before the last holder of its FIFO may have words in it that nobody has moved yet.
UNMOVED_S = 1.0
# A brain that is at work has moved what waited, and its keeper holds all FIFOs, after so long.
HOLDS_S = 1.0


@dataclass(slots=True)
class Ledger:
    """What was done: to which pid, to which gateway, what holds on, and when the last of it was taken back.

    `hindered` are the spans of wall time in which a gateway's port was stolen or its config broken, `ends` when each pid was gone. `unheld` are the lives that
    ended while neither brain nor keeper can have held what they had to say: `keeperless` from a keeper's death until the next has
    a brain at work.
    """

    counted: Counter[str] = field(default_factory=Counter)
    pids: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    hindered: list[tuple[str, float, float]] = field(default_factory=list)
    holds_on: Counter[str] = field(default_factory=Counter)
    lifted: dict[str, float] = field(default_factory=dict)
    costs: list[tuple[float, str, Fault]] = field(default_factory=list)
    ends: dict[int, float] = field(default_factory=dict)
    unheld: set[int] = field(default_factory=set)
    keeperless: bool = False
    _living: AbstractSet[int] = frozenset()
    _vanished: list[tuple[float, int]] = field(default_factory=list)

    def begin(self, name: str) -> None:
        """A fault on a gateway, or on everybody, begins to hold on."""
        self.holds_on[name] += 1

    def end(self, name: str, now: float) -> None:
        """It was taken back."""
        self.holds_on[name] -= 1
        self.lifted[name] = now

    def excused(self, name: str, now: float) -> float:
        """The instant at which the last fault that touches a gateway was lifted; now, if one still holds on."""
        if self.holds_on[name] or self.holds_on[EVERYBODY]:
            return now
        return max(self.lifted.get(name, 0.0), self.lifted.get(EVERYBODY, 0.0))

    def hinder(self, name: str, lasts: float) -> None:
        """From now on, and for so long, a gateway cannot start though nobody touches it."""
        self.hindered.append((name, time.time(), time.time() + lasts))

    def see(self, now: float, living: AbstractSet[int], *, since: float | None) -> None:
        """Who lives, and since when a brain has been at work and left alone."""
        self._vanished += [(now, pid) for pid in self._living - living]
        self.ends |= dict.fromkeys(self._living - living, time.time())
        self._living = living
        if self.keeperless:
            self.unheld.update(pid for _, pid in self._vanished)
        if since is not None and now - since >= HOLDS_S:
            self.keeperless = False
            self._vanished = [each for each in self._vanished if each[0] > now - UNMOVED_S]
