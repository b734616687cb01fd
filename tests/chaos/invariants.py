"""What must be true at every look, judged by what was seen from outside alone; no clock and no machine in here."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.chaos.sight import Seen

ORPHAN_S = 5.0
# A gateway process that two looks this far apart both show is there.
SURE_S = 0.15
# How long a brain may have a state directory's lock for itself, and a new gateway may not have it yet.
HANDOVER_S = 2.0
STOPPED_S = 1.0


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold: when (seconds into the run), which, and what shows it."""

    at: float
    invariant: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.at:7.2f}  {self.invariant}: {self.evidence}"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at everything; `holders` is None where nobody looked at the locks.

    `supervised` is the instant since which a supervisor has lived and nobody has disturbed it, None while there is none;
    `held` are the gateways that an operator has stopped, and since when.
    """

    at: float
    processes: Mapping[int, Seen]
    supervised: float | None = None
    holders: Mapping[str, frozenset[int]] | None = None
    held: Mapping[str, float] = field(default_factory=dict)

    def gateways(self, name: str) -> list[Seen]:
        """The gateway processes on one state directory."""
        return [seen for seen in self.processes.values() if seen.runs and seen.gateway == name]


Judge = Callable[[Look], Iterator[Violation]]


class Persisting:
    """Tells of what is seen for long enough, once."""

    def __init__(self, invariant: str, after_s: float) -> None:
        self._invariant = invariant
        self._after_s = after_s
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def judge(self, at: float, seen: Mapping[str, float]) -> Iterator[Violation]:
        """`seen` is what is wrong at this look, each with the instant from which on it counts at the earliest."""
        self._since = {what: self._since.get(what, at) for what in seen}
        for what, earliest in seen.items():
            if at - max(self._since[what], earliest) >= self._after_s and what not in self._told:
                self._told.add(what)
                yield Violation(at, self._invariant, what)


class OneGateway:
    """(1) Never two gateway processes on a state directory."""

    def __init__(self) -> None:
        self._pairs = Persisting("one gateway", SURE_S)

    def __call__(self, look: Look) -> Iterator[Violation]:
        """Two that one look shows may have followed each other; two looks in a row leave no doubt."""
        pairs = {}
        for name in {seen.gateway for seen in look.processes.values() if seen.runs}:
            both = sorted(look.gateways(name), key=lambda seen: seen.pid)
            if len(both) > 1:
                pairs[f"{name}: " + " and ".join(map(str, both))] = 0.0
        yield from self._pairs.judge(look.at, pairs)


class OneHolder:
    """(1) A gateway that is up is the one that has its state directory's lock, and nobody has it who is no gateway."""

    def __init__(self) -> None:
        self._strangers = Persisting("one holder", SURE_S)
        self._brains = Persisting("one holder", HANDOVER_S)
        self._nobody = Persisting("one holder", HANDOVER_S)

    def __call__(self, look: Look) -> Iterator[Violation]:
        """Judge the locks, where this look has them."""
        if look.holders is None:
            return
        strangers, brains, nobody = {}, {}, {}
        for name, pids in look.holders.items():
            seen = [look.processes[pid] for pid in sorted(pids) if pid in look.processes]
            runs = look.gateways(name)
            for each in seen:
                if each.is_brain:
                    if not each.is_stopped and look.supervised is not None:
                        brains[f"{name}: still held by a brain: {each}"] = look.supervised
                elif not each.runs or each.gateway != name:
                    strangers[f"{name}: held by {each}"] = 0.0
            if len([each for each in seen if each.runs]) > 1:
                strangers[f"{name}: held by {' and '.join(map(str, seen))}"] = 0.0
            for each in runs:
                if each.pid not in pids:
                    nobody[f"{name}: not held by its gateway: {each}"] = 0.0
        yield from self._strangers.judge(look.at, strangers)
        yield from self._brains.judge(look.at, brains)
        yield from self._nobody.judge(look.at, nobody)


class NoOrphans:
    """(2) While a supervisor lives, no process of a dead life outlives it by more than 5 s."""

    def __init__(self) -> None:
        self._orphans = Persisting("no orphan", ORPHAN_S)

    def __call__(self, look: Look) -> Iterator[Violation]:
        """A life is dead when the gateway itself is; the clock stands still while nobody supervises."""
        if look.supervised is None:
            return
        alive = {seen.token for seen in look.processes.values() if seen.runs}
        orphans = {
            f"{seen}": look.supervised for seen in look.processes.values() if seen.token and seen.token not in alive
        }
        yield from self._orphans.judge(look.at, orphans)


class StaysStopped:
    """(9) What the operator stopped stays stopped."""

    def __init__(self) -> None:
        self._up = Persisting("operator wins", SURE_S)

    def __call__(self, look: Look) -> Iterator[Violation]:
        """From the moment on at which the operator was told that it is done."""
        up = {
            f"{name} was stopped, and runs: {seen}": since + STOPPED_S
            for name, since in look.held.items()
            for seen in look.gateways(name)
        }
        yield from self._up.judge(look.at, up)


@dataclass(slots=True)
class Spell:
    """One downtime of a gateway that is wanted; `until` is None while it lasts, `excused` the instant its last fault was lifted."""

    since: float
    until: float | None = None
    excused: float = 0.0


class Downtime:
    """(3), (4): when a gateway was down though it was wanted, spell by spell."""

    def __init__(self, name: str, bound_s: float) -> None:
        self.name = name
        self.spells: list[Spell] = []
        self._bound_s = bound_s
        self._told = False

    def tell(self, at: float, *, up: bool, wanted: bool, excused: float) -> Iterator[Violation]:
        """How it is now; `excused` is the instant at which the last fault that touched it was lifted, `at` if none is yet."""
        spell = self.spells[-1] if self.spells and self.spells[-1].until is None else None
        if up or not wanted:
            if spell is not None:
                spell.until = at
            return
        if spell is None:
            spell = Spell(at)
            self.spells.append(spell)
            self._told = False
        spell.excused = max(spell.since, excused)
        if at - spell.excused > self._bound_s and not self._told:
            self._told = True
            text = f"{self.name} is not ready {at - spell.excused:.1f} s after its last fault was lifted"
            yield Violation(at, "back in bound", text)

    def lengths(self, now: float) -> list[float]:
        """How long each spell was, in seconds; the one that lasts counts until now."""
        return [(now if spell.until is None else spell.until) - spell.since for spell in self.spells]
