"""All definitions, checked against each other: which can run, and everything that is wrong.

Of two that cannot both run, the one of lower precedence gives way, and only if the other can run itself: so one wrong file
costs one gateway. An error against a definition that is itself out is still reported, and costs nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import combinations

from supervisor.policy import isolation, port_plan
from supervisor.policy.candidate import Candidate, Machine, Place
from supervisor.policy.definition import Definition
from supervisor.policy.facts import Cause, Obstacle, Roster
from supervisor.policy.fault import Fault

__all__ = ["Candidate", "Fault", "Machine", "Place", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`faults` are all of them, by file and line; `known` every definition that could be read, also those that may not run."""

    roster: Roster
    faults: tuple[Fault, ...]
    known: tuple[Definition, ...]


def judge(names: Iterable[str], candidates: Sequence[Candidate], found: Sequence[Fault], machine: Machine) -> Verdict:
    """Check everything against everything.

    `names` are the gateways that have a file, `candidates` those whose file could be read, `found` the faults of the reading.
    """
    every = sorted(names)
    ordered = sorted(candidates, key=lambda candidate: candidate.precedence)
    faults = (*found, *_faults(every, ordered, machine))
    usable = _usable(ordered, faults)
    filled = {candidate.name: _with_patients(candidate, ordered, every) for candidate in ordered}
    return Verdict(
        roster=Roster(
            definitions=tuple(filled[name] for name in every if name in usable),
            broken=tuple((name, _obstacle(name, faults)) for name in every if name not in usable),
        ),
        faults=tuple(sorted(set(faults), key=lambda fault: (fault.file, fault.line or 0, fault.key, fault.text))),
        known=tuple(filled[name] for name in every if name in filled),
    )


def _faults(names: Sequence[str], ordered: Sequence[Candidate], machine: Machine) -> Iterator[Fault]:
    for candidate in ordered:
        yield from isolation.own_faults(candidate)
        yield from port_plan.own_faults(candidate, machine)
        yield from _patient_faults(candidate, names)
    for upper, lower in combinations(ordered, 2):
        taken = [other.family.span for other in ordered if other is not lower]
        yield from isolation.pair_faults(upper, lower)
        yield from port_plan.pair_faults(upper, lower, machine, taken)
        yield from _role_faults(upper, lower)


def _role_faults(upper: Candidate, lower: Candidate) -> Iterator[Fault]:
    if upper.definition.role == lower.definition.role == "rescue":
        text = f'is "rescue", and so is that of {upper.shown()}: there can be only one'
        yield lower.error("role", text, 'role = "extra"', against=upper)


def _patient_faults(candidate: Candidate, names: Sequence[str]) -> Iterator[Fault]:
    """None of them keeps the rescue from running: it is needed most when something is missing."""
    for index, patient in enumerate(candidate.definition.patients):
        if patient == candidate.name:
            text, mend = f'names "{patient}", the rescue itself', "remove it"
        elif patient not in names:
            close = next(iter(get_close_matches(patient, names, n=1)), None)
            guess = f'; did you mean "{close}"?' if close else f", expected some of {', '.join(names)}"
            text, mend = (
                f'names "{patient}", which has no definition{guess}',
                f"add {patient}.toml, or correct the name",
            )
        else:
            continue
        document = candidate.document
        line = document.line("patients", index)
        yield Fault(document.file, line, "patients", text, mend, names=(candidate.name,), blocking=False)


def _usable(ordered: Sequence[Candidate], faults: Sequence[Fault]) -> frozenset[str]:
    usable: set[str] = set()
    for candidate in ordered:
        blocking = (fault for fault in faults if _blocks(fault, candidate.name))
        if not any(len(fault.names) == 1 or fault.names[1] in usable for fault in blocking):
            usable.add(candidate.name)
    return frozenset(usable)


def _blocks(fault: Fault, name: str) -> bool:
    return fault.severity == "error" and fault.blocking and fault.names[:1] == (name,)


def _with_patients(candidate: Candidate, ordered: Sequence[Candidate], names: Sequence[str]) -> Definition:
    """The rescue's patients: those it names and that exist, by default every main."""
    definition = candidate.definition
    if definition.role != "rescue":
        return definition
    named = definition.patients
    if not candidate.patients_said:
        named = tuple(sorted(other.name for other in ordered if other.definition.role == "main"))
    there = tuple(name for name in dict.fromkeys(named) if name in names and name != candidate.name)
    return definition.model_copy(update={"patients": there})


def _obstacle(name: str, faults: Sequence[Fault]) -> Obstacle:
    """What stands in the way of a gateway whose definition cannot be used; it changes when anything about the faults does."""
    blocking = [fault for fault in faults if _blocks(fault, name)]
    first = blocking[0]
    more = f" (and {len(blocking) - 1} more: `clawsup check`)" if len(blocking) > 1 else ""
    alone = any(len(fault.names) == 1 for fault in blocking)
    return Obstacle(
        what="definition",
        cause=Cause.CONFIG if alone else Cause.CONFLICT,
        reason=f"{first}{more}",
        mend=first.mend,
        key="\n".join(str(fault) for fault in blocking),
    )
