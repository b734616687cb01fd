"""Every state of a child and every event, in full product."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from supervisor.policy.actions import Kill, Report
from supervisor.policy.events import (
    Adopted,
    Booted,
    ConfigPromoted,
    Event,
    Exited,
    HandoffAnswered,
    ObstacleChanged,
    Probed,
    Reloaded,
    RepairAsked,
    RepairStepped,
    RestartAsked,
    ShutdownAsked,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    StartAsked,
    StopAsked,
    Ticked,
)
from supervisor.policy.facts import Cause, Guarded, Roster, RungOutcome
from supervisor.policy.fleet import Fleet, decide
from supervisor.policy.state import State, life_of
from tests.policy.builders import (
    BROKEN,
    NOT_YET,
    NOW,
    SILENT,
    STARTED,
    STATES,
    answer,
    child,
    definition,
    fleet,
    obstacle,
    only,
)
from tests.policy.invariants import hold

LIVES = {"past": 2, "present": 3, "future": 4}
GUARDED = {
    "good": Guarded(good="k-good", booted="k-booted"),
    "proven": Guarded(proven=True, good="k-bad"),
    "other": Guarded(good="k-good", other="uses newer schema version 19"),
    "moved": Guarded(good="k-good", moved=True),
}
OUTCOMES: tuple[RungOutcome, ...] = ("start", "useless", "unavailable", "changed", "done")
CHANGED = definition(env={"A": "b"})


def events_of_a_life(number: int) -> Iterator[tuple[str, Event]]:
    yield "spawned", Spawned("main", number, 303, 1)
    yield "refused", SpawnRefused("main", number, obstacle(key="new"))
    yield "spawn-failed", SpawnFailed("main", number, "no process slot")
    yield "cut-short", SpawnFailed("main", number, "the brain died", cut_short=True)
    yield "adopted", Adopted("main", number, 303, 1)
    for code, signal in ((0, None), (1, None), (78, None), (143, None), (None, 9), (None, 15), (None, None)):
        yield f"exit-{code}-{signal}", Exited("main", number, code, signal, config_key="k2")
    yield "exit-conflict", Exited("main", number, 1, None, obstacle=obstacle())
    yield "exit-missing", Exited("main", number, 1, None, obstacle=obstacle("launcher", Cause.MISSING))
    yield "exit-upgraded", Exited("main", number, 1, None, upgraded=True)
    yield "exit-no-config", Exited("main", number, 78, None)
    for name, known in GUARDED.items():
        yield f"exit-{name}", Exited("main", number, 78, None, config_key="k-bad", guarded=known)
    no_meta = SpawnRefused("main", number, obstacle("config", Cause.CONFIG, "k-bad"), GUARDED["good"])
    yield "refused-config", no_meta
    yield "promoted", ConfigPromoted("main", number, "k1", "hot")
    yield "parked", Probed("main", number, answer(live=False, refused=True), "k1")
    yield "starved", Probed("main", number, answer(live=False, excuse="starved"), "k1")
    yield "slept", Probed("main", number, answer(live=False, excuse="slept"), "k1")
    for name, said in (("started", STARTED), ("not-yet", NOT_YET), ("silent", SILENT), ("no", answer(ready=False))):
        yield f"probed-{name}", Probed("main", number, said)
    for accepted in (True, False, None):
        yield f"handoff-{accepted}", HandoffAnswered("main", number, accepted)


def events() -> Iterator[tuple[str, Event]]:
    for when, number in LIVES.items():
        for name, event in events_of_a_life(number):
            yield f"{when}-{name}", event
    yield "freed", ObstacleChanged("main", None)
    yield "other-obstacle", ObstacleChanged("main", obstacle(key="other"))
    yield "same-obstacle", ObstacleChanged("main", obstacle())
    for outcome in OUTCOMES:
        yield f"rolled-{outcome}", RepairStepped("main", "rollback", outcome, "", "k-now")
        yield f"doctored-{outcome}", RepairStepped("main", "doctor", outcome, "", "k-now")
    yield "repair", RepairAsked("main", "k-bad", GUARDED["good"])
    yield "start", StartAsked("main")
    yield "restart", RestartAsked("main")
    yield "stop", StopAsked("main")
    yield "stop-now", StopAsked("main", at_once=True)
    yield "tick", Ticked()
    yield "boot-first", Booted(first=True)
    yield "boot-again", Booted(first=False)
    yield "reload-same", Reloaded(Roster((definition(),)))
    yield "reload-changed", Reloaded(Roster((CHANGED,)))
    yield "reload-disabled", Reloaded(Roster((definition(enabled=False),)))
    yield "reload-removed", Reloaded(Roster(()))
    yield "reload-broken", Reloaded(Roster((), (("main", BROKEN),)))
    yield "shutdown", ShutdownAsked()
    yield "shutdown-now", ShutdownAsked(at_once=True)
    yield "nobody", StartAsked("nobody")


EVENTS = dict(events())


def variants(state: State) -> Iterator[Fleet]:
    """The state in every setting that may stand around it."""
    for wanted in (True, False):
        if not wanted and life_of(state) is None and state.kind != "stopped":
            continue  # Nothing that nobody wants waits for anything.
        held = not wanted
        for definition_ in (definition(), definition(role="rescue"), None):
            made = child(state, wanted=wanted, held=held, definition=definition_)
            yield fleet(made)
            yield fleet(replace(made, closing=True), closing=True)
            yield fleet(replace(made, pending=CHANGED, orphaned=True, handoff=None), rescue_by=NOW + 9, cores=0)
            yield replace(fleet(made), booted=False)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_event_in_every_state_keeps_the_rules(state: State, event: Event) -> None:
    for before in variants(state):
        for now in (NOW, NOW + 5, NOW + 2000):
            after, actions = decide(before, event, now)

            hold(before, event, after, actions, now)


def is_impossible(state: State, event: Event) -> bool:
    """By the book: answers about a life other than the present one, or to a question that was answered already."""
    life = life_of(state)
    present = (
        life is not None
        and isinstance(event, Spawned | SpawnRefused | SpawnFailed | Adopted | Exited)
        and (life.number == event.life)
    )
    match event:
        case Spawned() | SpawnRefused() | SpawnFailed():
            return not present or life is None or life.pid is not None
        case Exited():
            return not present
        case Adopted():
            return life is not None and not present
        case StartAsked(name="nobody"):
            return True
        case _:
            return False


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_exactly_the_impossible_changes_nothing_and_is_reported(state: State, event: Event) -> None:
    before = fleet(child(state, wanted=True), cores=0, rescue_by=NOW + 9)
    before, _ = decide(before, Ticked(), NOW)
    state = before.children["main"].state

    after, actions = decide(before, event, NOW)

    assert bool(only(Report, actions)) == is_impossible(state, event)
    if is_impossible(state, event):
        assert after.children == before.children
        assert not [a for a in actions if not isinstance(a, Report | Kill)]


def test_a_process_that_belongs_to_no_present_life_is_killed() -> None:
    """Nobody would ever look at it again."""
    _, actions = decide(fleet(child(STATES["stopped"], wanted=False)), Spawned("main", 3, 303, 1), NOW)

    assert only(Kill, actions) == [Kill("main", 3)]


def test_a_process_that_is_announced_twice_is_left_alone() -> None:
    _, actions = decide(fleet(child(STATES["ready"])), Spawned("main", 3, 303, 1), NOW)

    assert only(Kill, actions) == []
