"""What must hold for every decision, whatever the state and the event."""

from supervisor.policy.actions import (
    Action,
    CancelRepair,
    ConsumeHandoff,
    Finish,
    RepairEnd,
    RepairStep,
    Report,
    Spawn,
    Unwatch,
    Watch,
)
from supervisor.policy.events import (
    Booted,
    Event,
    Exited,
    RepairAsked,
    RepairStepped,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    Ticked,
)
from supervisor.policy.facts import Obstacle
from supervisor.policy.fleet import Fleet, decide, wake_at
from supervisor.policy.state import Blocked, Child, Life, Repairing, Starting, Stopped, life_of

ENDS = (Exited, SpawnRefused, SpawnFailed)


def hold(before: Fleet, event: Event, after: Fleet, actions: tuple[Action, ...], now: float) -> None:
    """Raise AssertionError when a decision breaks a rule of the house."""
    _lives_end_only_by_their_end(before, event, after)
    _actions_are_about_a_life(before, event, after, actions)
    _watches_are_balanced(before, event, after, actions)
    _ladders_are_climbed_once(before, event, after, actions)
    never_busy(after, now)


def never_busy(fleet: Fleet, now: float) -> None:
    """Once the deadlines of an instant are dealt with, the next one lies ahead: time alone never makes a busy loop."""
    calm, _ = decide(fleet, Ticked(), now)
    due = wake_at(calm, now)
    assert due is None or due > now
    assert decide(calm, Ticked(), now) == (calm, ())


def _life(fleet: Fleet, name: str) -> Life | None:
    child = fleet.children.get(name)
    return None if child is None else life_of(child.state)


def _lives_end_only_by_their_end(before: Fleet, event: Event, after: Fleet) -> None:
    for name, child in before.children.items():
        old, new = life_of(child.state), _life(after, name)
        if old is not None and (new is None or new.number != old.number):
            assert isinstance(event, ENDS), f"{event.kind} took the life of {name}"
            assert (event.name, event.life) == (name, old.number)
            assert isinstance(event, Exited) or old.pid is None, f"{event.kind} took a process from {name}"


def _actions_are_about_a_life(before: Fleet, event: Event, after: Fleet, actions: tuple[Action, ...]) -> None:
    for action in actions:
        if isinstance(action, Finish | Report | Watch | Unwatch | CancelRepair | RepairEnd):
            continue
        if isinstance(action, RepairStep):
            child = after.children[action.name]
            assert child.wanted, f"{action.name} is repaired although nobody wants it"
            assert isinstance(child.state, Repairing) or after.closing
            assert after.closing or child.repair is not None
            assert after.closing or (isinstance(child.state, Repairing) and action.rung == child.state.rung)
            continue
        name, old, new = action.name, _life(before, action.name), _life(after, action.name)
        present = {life.number for life in (old, new) if life is not None}
        match action:
            case Spawn():
                assert not after.closing
                child = after.children[name]
                assert child.wanted, f"{name} is not wanted"
                assert isinstance(child.state, Starting)
                assert new is not None
                assert action.life == new.number == before_lives(before, name) + 1
                assert old is None or isinstance(event, ENDS)
            case ConsumeHandoff():
                assert new is not None
                assert action.life < new.number
            case _:
                stray = isinstance(event, Spawned) and event.name == name and event.life == action.life
                assert action.life in present or stray, f"{action.kind} is about nobody: {action}"


def before_lives(fleet: Fleet, name: str) -> int:
    """How many lives a gateway had had, under whatever definition."""
    child = fleet.children.get(name)
    return fleet.left.get(name, 0) if child is None else child.lives


def _watches_are_balanced(before: Fleet, event: Event, after: Fleet, actions: tuple[Action, ...]) -> None:
    if isinstance(event, Booted):
        return  # A new brain's hands watch nothing yet.
    for name in {*before.children, *after.children}:
        old, new = _watched(before.children.get(name)), _watched(after.children.get(name))
        mine = [a for a in actions if isinstance(a, Watch | Unwatch) and a.name == name]
        if new is not None and new != old:
            assert Watch(name, new) in mine, f"nobody watches {name}"
        elif new is None and old is not None:
            assert mine[-1:] == [Unwatch(name)], f"{name} is watched for ever"


def _ladders_are_climbed_once(before: Fleet, event: Event, after: Fleet, actions: tuple[Action, ...]) -> None:
    """A rung is begun when its state is entered, or by the boot, and ended or cancelled when that is left; never twice."""
    for name in {*before.children, *after.children}:
        old, new = before.children.get(name), after.children.get(name)
        was, now = _rung(old), _rung(new)
        steps = [a for a in actions if isinstance(a, RepairStep) and a.name == name]
        if new is not None and isinstance(new.state, Stopped) and old is not None and old.state != new.state:
            assert new.repair is None, f"{name} is stopped in the middle of a ladder"
        if not after.booted:
            assert steps == [], f"{name}: the boot begins this rung once more"
        elif now is not None and now != was:
            assert len(steps) == 1, f"nobody climbs for {name}"
            assert new is not None
            assert old is not None
            if steps[0].rung != "restore" and not isinstance(event, RepairAsked):
                assert (steps[0].broken, steps[0].rung) not in old.spent, f"{name}: {steps[0].rung} a second time"
        if was is not None and now is None and not isinstance(event, RepairStepped | Booted):
            assert CancelRepair(name) in actions, f"nobody stops what is climbed for {name}"


def _rung(child: Child | None) -> str | None:
    return child.state.rung if child is not None and isinstance(child.state, Repairing) else None


def _watched(child: Child | None) -> Obstacle | None:
    """What hands must be looking at for this child: not a definition or a contest, which no look at the machine ends."""
    if child is None or not isinstance(child.state, Blocked):
        return None
    return child.state.obstacle if child.state.obstacle.what not in ("definition", "contested") else None
