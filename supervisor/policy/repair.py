"""The ladder for a config that OpenClaw refuses: which rung comes next, and what follows when there is none (DESIGN.md §3).

An incident of cause config climbs the rungs in the order of `[repair] steps`, each at most once for a refused content. A rung
that put something in place is tried by a start, which waits neither for backoff nor for the burst limit; what that start comes
to decides whether there is a next rung. What the rungs changed in vain is put back before anybody else, a rescue or a person,
looks at it. Nothing is ever done about a content that this very OpenClaw has run on, nor about an exit 78 that was not about
the config.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from supervisor.openclaw import validation
from supervisor.policy.actions import Action, CancelRepair, RepairEnd, RepairStep, Unwatch, Watch
from supervisor.policy.events import RepairStepped
from supervisor.policy.facts import Cause, Guarded, Obstacle, Rung
from supervisor.policy.rules import restart_rule
from supervisor.policy.state import Blocked, Child, Queued, Repair, Repairing, Stopped, Tried, enter, life_of

Step: TypeAlias = tuple[Child, tuple[Action, ...]]

BUDGET_S: Final[dict[Rung, float]] = {
    "rollback": 120.0,
    "rollback_booted": 120.0,
    "doctor": 240.0,
    "restore": 30.0,
    "rescue": 900.0,
}
"""How long a rung may take; what has not come to an end by then has failed."""

SPENT = 64
"""So many (content, rung) pairs are remembered."""

_UNREADABLE = "unreadable"
_WORDS: Final[dict[Rung, str]] = {
    "rollback": "rolls back to the last good config",
    "rollback_booted": "rolls back to the last config that it was started on",
    "doctor": "openclaw doctor --fix",
    "restore": "puts your config back",
    "rescue": "asks the rescue",
}


def words(rung: Rung) -> str:
    """What is being done, for people."""
    return _WORDS[rung]


def refused(child: Child, obstacle: Obstacle, guarded: Guarded, now: float) -> Step:
    """OpenClaw would not start on a config: the first rung, the next one, or none that is left."""
    repair = child.repair
    if repair is not None:
        changed = obstacle.key not in (repair.broken, repair.left)
        repair = replace(repair, good=guarded.good, booted=guarded.booted, obstacle=obstacle, left=obstacle.key)
        # Somebody else's edit came between the rung and its start: it is what goes back in the end.
        repair = replace(repair, broken=obstacle.key) if changed else repair
        repair = replace(repair, other=guarded.other)
        return _climb(replace(child, repair=repair), now)
    if guarded.other or guarded.proven:
        return _not_the_config(child, obstacle, guarded, now)
    repair = Repair(obstacle.key, now, obstacle, left=obstacle.key, good=guarded.good, booted=guarded.booted)
    begun = replace(child, repair=repair)
    # A config that never existed is nothing to be mended.
    if next(_rungs(begun), None) is None or not (obstacle.key or guarded.good):
        before: list[Rung] = [rung for key, rung in child.spent if key == obstacle.key]
        return _given_up(child, obstacle, "tried before", before, now)
    return _climb(begun, now)


def lacking(child: Child, obstacle: Obstacle, guarded: Guarded, now: float) -> Step:
    """Before a start: OpenClaw would put an older config of its own in place. Ours first, if that may be; else let it start."""
    repair = Repair(obstacle.key, now, obstacle, left=obstacle.key, good=guarded.good, booted=guarded.booted)
    begun = replace(child, repair=repair)
    if child.repair is None and next(_rungs(begun), None) == "rollback":
        return _climb(begun, now)
    return enter(child, Queued(now, urgent=True), now), ()


def asked(child: Child, key: str, guarded: Guarded, now: float) -> Step:
    """By hand: what has been tried before may be tried again, on whatever is in place, but never beside a living gateway.

    What is blocked by anything but its config stays so: the ladder would not mend that, and nobody would wait for it any more.
    """
    if (
        child.closing
        or life_of(child.state) is not None
        or isinstance(child.state, Repairing)
        or child.definition is None
        or (isinstance(child.state, Blocked) and child.state.obstacle.what != "config")
    ):
        return child, ()
    unwatch = (Unwatch(child.name),) if isinstance(child.state, Blocked) else ()
    obstacle = Obstacle(
        "config",
        Cause.CONFIG,
        f"no step of the repair ladder mended {child.definition.config_path}",
        f"correct that file, or try it as it is: clawsup start {child.name}",
        key,
    )
    repair = Repair(key, now, obstacle, left=key, good=guarded.good, booted=guarded.booted)
    spent = tuple(pair for pair in child.spent if pair[0] != key)
    child = replace(child, wanted=True, held=False, spent=spent, repair=repair)
    child, actions = _climb(child, now)
    return child, (*unwatch, *actions)


def stepped(child: Child, event: RepairStepped, now: float) -> Step:
    """A rung has come to an end: a start to see what it is worth, or the next one."""
    state, repair = child.state, child.repair
    if not isinstance(state, Repairing) or repair is None or state.rung != event.rung:
        return child, ()
    tried = (*repair.tried, Tried(event.rung, event.outcome, event.detail))
    repair = replace(repair, tried=tried, left=event.key)
    # Somebody has edited the file meanwhile, if only just after it was put back: theirs is what goes back, and it may well start.
    changed = event.outcome == "changed" or (event.outcome == "done" and event.key != repair.broken)
    if changed:
        repair = replace(repair, broken=event.key)
    child = replace(child, repair=repair)
    if event.outcome == "start" or changed:
        return enter(child, Queued(now, urgent=True), now), ()
    return _climb(child, now)


def overdue(child: Child, state: Repairing, now: float) -> Step:
    """A rung has used up its time."""
    late = RepairStepped(
        child.name, state.rung, "useless", f"not done in {BUDGET_S[state.rung]:g} s", child_left(child)
    )
    child, actions = stepped(child, late, now)
    return child, (CancelRepair(child.name), *actions)


def mended(child: Child) -> Step:
    """A life is started: the incident is over."""
    if child.repair is None:
        return child, ()
    return replace(child, repair=None), (RepairEnd(child.name, mended=True),)


def dropped(child: Child) -> Step:
    """Nobody wants it up any more: what is under way ends, with what the present rung had changed put back, and was not tried."""
    repair = child.repair
    if repair is None:
        return child, ()
    end = RepairEnd(child.name, mended=False)
    if not isinstance(child.state, Repairing):
        return replace(child, repair=None), (end,)
    spent = tuple(pair for pair in child.spent if pair != (repair.broken, child.state.rung))
    return replace(child, repair=None, spent=spent), (CancelRepair(child.name), end)


def resumed(child: Child, state: Repairing) -> Step:
    """A new brain: the rung that the last one was at is begun again, since nobody knows how far it came."""
    return child, (replace(_action(child, state.rung), again=True),)


def forgiven(child: Child) -> Child:
    """A life was stable: a file that goes missing after that is a new mishap, although it has no bytes to tell it by."""
    return replace(child, spent=tuple(pair for pair in child.spent if pair[0]))


def child_left(child: Child) -> str:
    """The content that the last rung left in place, as far as it is known."""
    return child.repair.left if child.repair is not None else ""


def _climb(child: Child, now: float) -> Step:
    repair = child.repair
    if repair is None:
        return child, ()
    if not child.wanted or child.closing:
        child, actions = dropped(child)
        return enter(child, Stopped(), now), actions
    rung = next(_rungs(child), None)
    if rung is None:
        return _ended(child, repair, now)
    spent = (*child.spent, (repair.broken, rung))[-SPENT:] if rung != "restore" else child.spent
    child = enter(replace(child, spent=spent), Repairing(rung, now + BUDGET_S[rung]), now)
    return child, (_action(child, rung),)


def _rungs(child: Child) -> Iterator[Rung]:
    """The rungs that are left, in order."""
    repair = child.repair
    if repair is None or child.definition is None:
        return
    steps = () if repair.other else child.definition.repair.steps
    # A rung that somebody's edit has overtaken has not done anything yet.
    used = {each.rung for each in repair.tried if each.outcome != "changed"} | {
        rung for key, rung in child.spent if key == repair.broken
    }
    for step in steps:
        if step == "rescue":
            yield from _restore(repair)
        for rung in _of_step(step, repair):
            if rung not in used:
                yield rung
    yield from _restore(repair)


def _of_step(step: str, repair: Repair) -> Iterator[Rung]:
    if step == "rollback":
        if repair.good not in ("", repair.broken):
            yield "rollback"
        if repair.booted not in ("", repair.broken, repair.good):
            yield "rollback_booted"
    elif step == "doctor":
        # Where there is no file doctor writes one that cannot start.
        if repair.broken and not repair.broken.startswith(_UNREADABLE):
            yield "doctor"
    elif step == "rescue":
        yield "rescue"


def _restore(repair: Repair) -> Iterator[Rung]:
    has_bytes = bool(repair.broken) and not repair.broken.startswith(_UNREADABLE)
    if has_bytes and repair.left != repair.broken and (not repair.tried or repair.tried[-1].rung != "restore"):
        yield "restore"


def _action(child: Child, rung: Rung) -> RepairStep:
    repair = child.repair
    broken, left = (repair.broken, repair.left) if repair is not None else ("", "")
    match rung:
        case "rollback":
            to = repair.good if repair is not None else ""
        case "rollback_booted":
            to = repair.booted if repair is not None else ""
        case "restore":
            to = broken
        case _:
            to = ""
    return RepairStep(child.name, rung, broken, left, to)


def _ended(child: Child, repair: Repair, now: float) -> Step:
    """Nothing helped: the gateway waits for the file, or for a person, with what was refused in its place."""
    if repair.other:
        obstacle, guarded = replace(repair.obstacle, key=repair.left), Guarded(other=repair.other)
        child, actions = _not_the_config(replace(child, repair=None), obstacle, guarded, now)
        return child, (*actions, RepairEnd(child.name, mended=False))
    tried: list[Rung] = [each.rung for each in repair.tried if each.rung != "restore"]
    obstacle = replace(repair.obstacle, key=repair.left)
    child, actions = _given_up(replace(child, repair=None), obstacle, "tried in vain", tried, now)
    return child, (*actions, RepairEnd(child.name, mended=False))


def _given_up(child: Child, obstacle: Obstacle, how: str, tried: Sequence[Rung], now: float) -> Step:
    """No rung is left: failed, or blocked where there never was one; in either case its file wakes it."""
    vain = tuple(dict.fromkeys(tried))
    if vain:
        names = ", ".join(dict.fromkeys(rung.removesuffix("_booted") for rung in vain))
        obstacle = replace(obstacle, reason=f"{obstacle.reason}; {how}: {names}")
    return enter(child, Blocked(obstacle, vain=vain), now), (Watch(child.name, obstacle),)


def _not_the_config(child: Child, obstacle: Obstacle, guarded: Guarded, now: float) -> Step:
    """It has run with these very bytes, or says itself that it is about something else: nothing in the file can mend that."""
    why = guarded.other or "although it has run with this very config"
    obstacle = replace(
        obstacle, reason=f"OpenClaw refuses to start (exit 78): {why}", mend=_other_mend(child, guarded.other)
    )
    until = now + restart_rule(child).cap
    return enter(child, Blocked(obstacle, until=until), now), (Watch(child.name, obstacle),)


def _other_mend(child: Child, said: str) -> str:
    """What a person can do where the config is not to blame, and neither a rung nor an edit would help."""
    where = child.definition.state_dir if child.definition is not None else "its state dir"
    match validation.refusal(said):
        case "schema":
            mend = f"put back the newer OpenClaw that wrote {where}, or a copy of that directory from before"
        case "lock":
            mend = f"stop the other OpenClaw process on {where} (clawsup doctor)"
        case "unreadable":
            mend = f"give {where} back to the user that it runs as"
        case "disk":
            mend = f"make room on the disk of {where}"
        case _:
            return f"see clawsup logs {child.name}; it is tried again when the config changes, and now and then"
    return f"{mend}, then: clawsup start {child.name}"
