"""Deliberately broken builds, each with what it is that must notice it: an invariant that no mutant violates judges nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.builds import Edit
from tests.chaos.schedule import Fault

_UNLOCKED = Edit("host/locks.py", "taken = lock_descriptor(fd, blocking=False)", "taken = True")
_UNADOPTED = Edit(
    "brain/hands.py", "found = self.lives.find(name, Path(definition.state_dir), recorded, lives)", "found = None"
)
_UNSWEPT = Edit("brain/lives.py", "if marks and is_doomed(marks) and processes", "if False and processes")
# What happens on a full disk would still be told from the reserve.
_UNRESERVED = Edit("host/journal/writing.py", "_RESERVE_BYTES = 64 * 1024", "_RESERVE_BYTES = 0")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One door broken by `edits`; under the faults of `script`, round by round, one of `caught_by` must not hold.

    `gateways` is how many there are, the rescue first; with two the other one is `main`.
    """

    caught_by: frozenset[str]
    edits: Sequence[Edit]
    script: Sequence[Sequence[Fault]]
    gateways: int = 2


def _once(*faults: Fault) -> Sequence[Sequence[Fault]]:
    return (faults,)


_BRAINS = tuple(Fault(0.5 + 2.5 * number, "kill brain") for number in range(5))

MUTANTS: Mapping[str, Mutant] = {
    # The keeper lets go of the FIFOs: what is in one when its gateway dies without a brain is lost.
    "noholder": Mutant(
        frozenset({"log"}),
        (Edit("keeper.py", "self.held[name] = descriptors.pop()", "os.close(descriptors.pop())"),),
        _once(
            *(
                fault
                for at in (1.0, 5.0, 9.0)
                for fault in (
                    Fault(at, "kill helper", "main"),
                    Fault(at + 0.3, "kill brain"),
                    Fault(at + 0.6, "kill", "main"),
                )
            )
        ),
    ),
    # Output passes through the brain's memory, and stays there for a moment.
    "readwrite": Mutant(
        frozenset({"log"}),
        (
            Edit("host/logs/pump.py", "self._can_splice = True", "self._can_splice = False"),
            Edit(
                "host/logs/pump.py",
                "data = _read(self._pipe, count)\n        taken = 0",
                'data = _read(self._pipe, count)\n        __import__("time").sleep(0.1)\n        taken = 0',
            ),
        ),
        _once(*_BRAINS),
    ),
    "nosweep": Mutant(frozenset({"no orphan"}), (_UNSWEPT,), _once(Fault(0.5, "kill", "main"), Fault(9.0, "reload"))),
    # The last brain does not wait until what it has begun to end has ended.
    "hasty": Mutant(
        frozenset({"orderly stop"}),
        (
            Edit(
                "brain/hands.py",
                "while self._sweeping:\n            await self._swept",
                "while False:\n            await self._swept",
            ),
        ),
        _once(Fault(1.0, "reload")),
    ),
    # A lock that nobody holds counts only after HANDOVER_S.
    "nolock": Mutant(frozenset({"one holder"}), (_UNLOCKED,), _once(Fault(4.0, "reload"))),
    "noadopt": Mutant(frozenset({"blame"}), (_UNADOPTED,), _once(Fault(1.0, "kill brain"))),
    # Nothing of what a token is made of is on disk before it is given to a gateway, nor afterwards.
    "nointent": Mutant(
        frozenset({"back in bound"}),
        (
            Edit("brain/identity.py", "kept = records.load(_RECORD)", "kept = None"),
            Edit("brain/identity.py", "elif os.path.lexists(state_dir / _RECORD):", "elif False:"),
            Edit("brain/identity.py", "identity = _recovered(state_dir) or Identity(", "identity = Identity("),
        ),
        _once(Fault(1.0, "kill brain")),
    ),
    "blind": Mutant(
        frozenset({"one gateway"}),
        (
            *(_UNLOCKED, _UNADOPTED, _UNSWEPT),
            Edit("brain/preflight.py", "busy = ports.look(family.ports())", "busy: list[ports.Busy] = []"),
        ),
        _once(Fault(1.0, "kill brain")),
    ),
    # Everything that a gateway starts inherits the lock with it.
    "highfd": Mutant(
        frozenset({"one holder"}),
        (
            Edit("host/locks.py", "highest: ClassVar[int] = 16", "highest: ClassVar[int] = 99"),
            Edit("host/locks.py", "fcntl.F_DUPFD_CLOEXEC, 3)", "fcntl.F_DUPFD_CLOEXEC, 40)"),
        ),
        _once(Fault(1.0, "reload")),
    ),
    # A brain's death gives a hung gateway a new start, with all the patience that a start has.
    "noready": Mutant(
        frozenset({"rescue total"}),
        (
            Edit(
                "policy/child.py",
                "adopted=True)\n        child = replace(child, state=_with_life(child.state, life)",
                "adopted=True)\n        child = replace(child, state=Starting(life, now + start_rule(child).timeout, now)",
            ),
        ),
        _once(Fault(1.0, "stun", "rescue"), Fault(2.0, "kill brain")),
        gateways=1,
    ),
    # A brain's death forgives what a gateway has missed so far.
    "forgiving": Mutant(
        frozenset({"rescue total"}),
        (
            Edit(
                "policy/child.py",
                '        case _:\n            return child, (Probe(child.name, life.number, "health", now),)',
                '        case Ready() as state:\n            child = replace(child, state=replace(state, misses=0, silent=None))\n            return child, (Probe(child.name, life.number, "health", now),)\n'
                '        case _:\n            return child, (Probe(child.name, life.number, "health", now),)',
            ),
        ),
        _once(Fault(1.0, "stun", "rescue"), *(Fault(3.2 + 3.0 * number, "kill brain") for number in range(9))),
        gateways=1,
    ),
    "torn": Mutant(
        frozenset({"journal"}),
        (_UNRESERVED, Edit("host/journal/writing.py", "os.ftruncate(self._fd, self._size)", "os.fstat(self._fd)")),
        _once(Fault(1.0, "fill state", lasts=3.0), *(Fault(1.5 + 0.5 * number, "kill", "main") for number in range(4))),
    ),
    "renumbering": Mutant(
        frozenset({"journal"}),
        (
            Edit(
                "host/journal/writing.py",
                "self._number_from(findings.last)",
                "self._number_from(max(0, findings.last - 1))",
            ),
        ),
        _once(Fault(1.0, "kill brain")),
    ),
    "unreplayable": Mutant(
        frozenset({"replay"}),
        (
            Edit(
                "daemon.py",
                "record.lines(before, event, after, actions, now)",
                "record.lines(before, event, after, actions, now + 1)",
            ),
        ),
        _once(Fault(1.0, "kill", "main")),
    ),
    # A new brain knows nothing of what an operator has stopped.
    "forgetful": Mutant(
        frozenset({"operator wins"}),
        (
            Edit(
                "brain/chronicle.py",
                "found[child.name] = child if same_boot",
                'child = __import__("dataclasses").replace(child, wanted=True, held=False)\n            found[child.name] = child if same_boot',
            ),
        ),
        _once(Fault(0.5, "stop, then start", "main", lasts=12.0), Fault(3.0, "kill brain")),
    ),
    # Whoever holds a port is taken for one of ours.
    "ruthless": Mutant(
        frozenset({"stranger"}),
        (
            Edit(
                "brain/preflight.py",
                "if vital[0].pid is not None and ours(vital[0].pid):",
                "if vital[0].pid is not None:",
            ),
            Edit(
                "brain/births.py",
                "processes.kill_all(found.pids, self._lives.is_leftover)",
                "processes.kill_all(found.pids, lambda pid: True)",
            ),
        ),
        _once(Fault(1.0, "steal port", "main", lasts=3.0)),
    ),
    "twofold": Mutant(
        frozenset({"second supervisor"}),
        (
            Edit(
                "keeper.py",
                "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)",
                "fcntl.flock(descriptor, fcntl.LOCK_SH)",
            ),
        ),
        _once(Fault(1.0, "second supervisor")),
    ),
    # What a full disk refuses is dropped at once, and in silence.
    "silent": Mutant(
        frozenset({"log"}),
        (
            Edit("host/logs/pump.py", "fcntl.F_GETPIPE_SZ) // 2", "fcntl.F_GETPIPE_SZ) * 0"),
            Edit("host/logs/pump.py", "self._untold += count", "self._untold += 0"),
        ),
        _once(Fault(1.0, "fill logs", lasts=3.0)),
    ),
    # The gateway writes into its log by itself, and meets the full disk by itself.
    "direct": Mutant(
        frozenset({"blame"}),
        (
            Edit(
                "host/logs/pump.py",
                'return os.open(f"/proc/self/fd/{self._pipe}", os.O_RDWR | os.O_CLOEXEC)',
                "return os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)",
            ),
        ),
        _once(Fault(1.0, "fill logs", lasts=3.0)),
    ),
    # The disk's trouble is the brain's.
    "fragile": Mutant(
        frozenset({"supervisor lives"}),
        (_UNRESERVED, Edit("host/journal/writing.py", "self._retry_at = time.monotonic() + _RETRY_S", "raise")),
        _once(Fault(1.0, "fill state", lasts=3.0), Fault(1.5, "kill", "main"), Fault(2.5, "kill", "main")),
    ),
    # The rescue has to wait as if it were of no use to anybody.
    "sluggish": Mutant(
        frozenset({"rescue total"}),
        (
            Edit(
                "policy/exits.py",
                "    delay = backoff.delay(child.score, ready_s, rule)\n    allowed",
                "    delay = 12.0 + backoff.delay(child.score, ready_s, rule)\n    allowed",
            ),
        ),
        _once(Fault(1.0, "kill", "rescue")),
        gateways=1,
    ),
}

# The product itself has to come through everything that a mutant does not.
SOUND = Mutant(
    frozenset(), (), list(dict.fromkeys(tuple(faults) for each in MUTANTS.values() for faults in each.script))
)
BUILDS: Mapping[str, Mutant] = {**MUTANTS, "sound": SOUND}
