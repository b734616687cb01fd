"""What a run came to, as a table; and how long what was done to a gateway may have kept it down."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.invariants import Spell, Violation
from tests.chaos.outputs import Account
from tests.chaos.schedule import Fault

# Seconds beyond what the fault itself lasts, on a machine that has much else to do.
COSTS: Mapping[str, float] = {
    "kill": 3.0,
    "term": 3.0,
    "freeze": 3.0,
    "stun": 9.0,
    "hang": 10.0,
    "crash": 3.0,
    "handoff": 3.0,
    "kill, then brain": 5.0,
    "steal port": 4.0,
    "break config": 4.0,
    "restart": 3.0,
}
# A supervisor's own troubles prolong a downtime only where there is one.
COSTS_IN_SPELL: Mapping[str, float] = {
    "kill brain": 2.0,
    "kill, then brain": 2.0,
    "freeze brain": 1.0,
    "freeze keeper": 1.0,
    "kill keeper": 4.0,
    "kill both": 4.0,
    "replace": 2.0,
    "hangup": 0.5,
    "reload": 0.5,
    "fill logs": 0.5,
    "fill state": 0.5,
}
_BEFORE_S = 1.0


def allowed_s(costs: Sequence[tuple[float, str, Fault]], name: str, spells: Sequence[Spell]) -> float:
    """The sum of what each fault may cost a gateway in a whole run, so that no fault renews the patience with another."""
    total = 0.0
    for at, target, fault in costs:
        if target == name:
            total += COSTS.get(fault.kind, 0.0) + fault.lasts
            continue
        for spell in spells:
            until = spell.until if spell.until is not None else math.inf
            if fault.kind in COSTS_IN_SPELL and at - _BEFORE_S <= until and spell.since - _BEFORE_S <= at + fault.lasts:
                total += COSTS_IN_SPELL[fault.kind] + max(0.0, min(at + fault.lasts, until) - max(at, spell.since))
    return total


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a run; durations in seconds, downtimes spell by spell."""

    lasted_s: float
    faults: Mapping[str, int]
    verbs: Mapping[str, int]
    brain_deaths: int
    keeper_deaths: int
    failpoints: int
    adopted: int
    events: int
    accounts: Mapping[str, Account]
    downtimes: Mapping[str, Sequence[float]]
    rescue_allowed_s: float
    violations: Sequence[Violation]

    def lines(self) -> Iterator[str]:
        """The table, and below it what was violated."""
        yield from (f"{'':4}{count:5}  {kind}" for kind, count in sorted(self.faults.items()))
        others = [length for name, lengths in self.downtimes.items() if name != "rescue" for length in lengths]
        rescue = self.downtimes["rescue"]
        accounts = self.accounts.values()
        rows = {
            "lasted": f"{self.lasted_s:.0f} s",
            "faults": sum(count for kind, count in self.faults.items() if not kind.startswith(" ")),
            "verbs": ", ".join(f"{count} {verb}" for verb, count in sorted(self.verbs.items())),
            "brain deaths": f"{self.brain_deaths}, of these {self.failpoints} at failpoints",
            "keeper deaths": self.keeper_deaths,
            "adopted": self.adopted,
            "journal": f"{self.events} events",
            "log lines": sum(account.printed for account in accounts),
            "lost": f"{sum(account.lost for account in accounts)} lines, {sum(account.lost_bytes for account in accounts)} bytes",
            "declared": f"{sum(account.declared_bytes for account in accounts)} bytes dropped",
            "unheld": f"{sum(account.excused for account in accounts)} lines of gateways that died while no supervisor lived",
            "rescue": f"worst {max(rescue, default=0):.1f} s, in all {sum(rescue):.1f} s of {self.rescue_allowed_s:.1f} s allowed",
            "others": f"worst {max(others, default=0):.1f} s, in all {sum(others):.1f} s",
            "violations": len(self.violations),
        }
        yield from (f"{name:14} {value}" for name, value in rows.items())
        yield from map(str, self.violations)
