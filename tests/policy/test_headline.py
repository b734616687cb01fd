"""The one line that systemd shows of the whole fleet."""

from dataclasses import replace

from supervisor.policy.facts import Cause, Obstacle
from supervisor.policy.fleet import Fleet
from supervisor.policy.state import Backoff, Blocked, Child, Life, Ready, State, Stopped
from supervisor.policy.status import headline
from tests.policy.builders import definition

UP = Ready(Life(1, 0.0, pid=7), since=1.0, asked=2.0)
SECRET = Obstacle("port", Cause.CONFLICT, "held by curl --token s3cret", "stop it", "port 1")


def fleet(**states: State) -> Fleet:
    """Children in these states; one that is stopped is not wanted."""
    children = {
        name: Child(name, definition(name), state, 0.0, wanted=not isinstance(state, Stopped))
        for name, state in states.items()
    }
    return Fleet(children=children, booted=True)


def test_all_is_well_in_three_words() -> None:
    """R26: STATUS=."""
    assert headline(fleet(main=UP, rescue=UP)) == "2/2 ready"


def test_what_nobody_wants_is_not_missing() -> None:
    """R26: an operator stopped it."""
    assert headline(fleet(main=UP, work=Stopped())) == "1/1 ready"
    assert headline(fleet(main=Stopped())) == "no gateway is wanted"
    assert headline(Fleet()) == "no gateway is wanted"


def test_what_is_wrong_is_named_by_kind_and_not_in_others_words() -> None:
    """R26: anyone on the host may read it, so no reason that could hold a secret."""
    said = headline(fleet(rescue=UP, main=Blocked(SECRET), work=Backoff(until=9.0, why="it said: token s3cret")))
    assert said == "1/3 ready: main blocked (port), work backoff"


def test_a_stop_tells_who_is_still_there() -> None:
    """R26: it may take minutes."""
    closing = replace(fleet(rescue=UP, main=UP, work=Stopped()), closing=True)
    assert headline(closing) == "stopping: rescue, main"
    assert headline(replace(fleet(main=Stopped()), closing=True)) == "stopped"
