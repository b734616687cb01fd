"""What the model host writes down by itself about each gateway, to hold every decision against."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.policy.actions import Action, Kill, Spawn, Terminate
from supervisor.policy.definition import Definition
from supervisor.policy.events import (
    Event,
    Exited,
    ObstacleChanged,
    Reloaded,
    RepairAsked,
    RepairStepped,
    RestartAsked,
    ShutdownAsked,
    StartAsked,
    StopAsked,
)
from supervisor.policy.facts import Cause
from supervisor.policy.fleet import Fleet
from supervisor.policy.state import Blocked, life_of

BURST, WINDOW_S = 3, 310.0


@dataclass(slots=True)
class Place:
    """One gateway from outside. `held`: an operator stopped it; `excused`: its next boot is planned and may break the burst limit."""

    definition: Definition
    port_stolen: bool = False
    config_version: int = 1
    file: str = "good"
    held: bool = False
    excused: bool = False
    unclean: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Process:
    """A gateway; `deaf` to SIGTERM or not."""

    name: str
    life: int
    pid: int
    alive: bool = True
    deaf: bool = False
    started: bool = False


Places = Mapping[str, Place]


def account(places: Places, before: Fleet, event: Event, after: Fleet, now: float) -> None:
    """Write down unclean boots, and what an operator wants."""
    match event:
        case Exited():
            _account_exit(places[event.name], before, event, after, now)
        case StartAsked() | RestartAsked():
            places[event.name].held, places[event.name].excused = False, True
        case RepairStepped() | RepairAsked():
            # A start by a rung waits for nothing; who asks for a repair by hand wants the gateway up.
            places[event.name].excused = True
            if event.name in after.children:
                places[event.name].held &= not after.children[event.name].wanted
        case StopAsked():
            places[event.name].held = True
        case ObstacleChanged():
            was = before.children[event.name].state
            if isinstance(was, Blocked) and was.obstacle.what == "config":
                places[event.name].excused = True
        case Reloaded():
            for name, place in places.items():
                if name not in after.children:
                    # What a reload forgets has no past.
                    place.held, place.unclean = False, []
                elif name in before.children and isinstance(before.children[name].state, Blocked):
                    place.excused = True
        case _:
            pass


def _account_exit(place: Place, before: Fleet, event: Exited, after: Fleet, now: float) -> None:
    last, life = after.children[event.name].last_exit, life_of(before.children[event.name].state)
    assert last is not None
    assert life is not None
    planned = last.cause in (Cause.HANDOFF, Cause.UPGRADED, Cause.ASKED)
    early = event.code == 78 and life.started is None
    if not early and (not planned or (last.cause is Cause.ASKED and event.signal == 9)):
        place.unclean.append(now)
    place.excused = planned


def check(places: Places, fleet: Fleet, action: Action, now: float) -> None:
    """No spawn of what was stopped or over the burst limit, no signal to a dead life."""
    match action:
        case Spawn():
            place = places[action.name]
            assert not place.held, f"{action.name} was stopped"
            recent = [at for at in place.unclean if now < at + WINDOW_S]
            burst = place.definition.restart.burst
            assert place.excused or burst == 0 or len(recent) < burst, f"{action.name}: unclean boots at {recent}"
        case Terminate() | Kill():
            life = life_of(fleet.children[action.name].state)
            assert life is not None, f"{action.kind} to nobody"
            assert life.number == action.life, f"{action.kind} to a dead life"
        case _:
            pass


def check_order_of_stopping(before: Fleet, event: Event, after: Fleet) -> None:
    """The rescue is told to close only when the others are down, unless all shall be down at once."""
    if isinstance(event, ShutdownAsked) and event.at_once:
        return
    was, now = before.children.get("rescue"), after.children.get("rescue")
    # One whose definition was never readable has no known role, and nothing to stop.
    if was is not None and was.definition is not None and now is not None and now.closing and not was.closing:
        assert all(life_of(one.state) is None for name, one in after.children.items() if name != "rescue")
