"""A reload touches what changed, and nothing else."""

from dataclasses import replace

import pytest

from supervisor.policy.definition import Definition, Probe
from supervisor.policy.facts import Cause, Obstacle, Roster
from supervisor.policy.plan import Change, Difference, effect_of, plan, with_live
from supervisor.policy.state import Blocked, Child, Life, Ready, Stopped

MAIN = Definition(
    name="main",
    port=20000,
    role="main",
    profile="main",
    state_dir="/s",
    config_path="/s/openclaw.json",
    env={"TOKEN": "secret-1", "TZ": "UTC"},
)


def up(definition: Definition) -> Child:
    return Child(definition.name, definition, Ready(Life(1, 0.0, pid=7, started=1.0), since=1.0, asked=2.0), since=1.0)


def down(definition: Definition) -> Child:
    return Child(definition.name, definition, Stopped(), since=0.0, wanted=False)


def changes(child: Child | None, *definitions: Definition, prune: bool = False) -> tuple[Change, ...]:
    return plan({child.name: child} if child else {}, Roster(definitions), prune=prune)


def test_an_unchanged_definition_is_no_change() -> None:
    assert changes(up(MAIN), MAIN.model_copy()) == (Change("main", "none"),)


@pytest.mark.parametrize(
    ("update", "effect", "difference"),
    [
        ({"probe": Probe(interval=5)}, "live", Difference("probe.interval", "15.0", "5.0")),
        ({"port": 20200}, "restart", Difference("port", "20000", "20200")),
        ({"command": ("openclaw", "--x")}, "restart", Difference("command", "openclaw", "openclaw --x")),
        ({"state_dir": "/t"}, "replace", Difference("state_dir", "/s", "/t")),
    ],
)
def test_a_change_has_the_effect_that_its_key_declares(
    update: dict[str, object], effect: str, difference: Difference
) -> None:
    assert changes(up(MAIN), MAIN.model_copy(update=update)) == (Change("main", effect, (difference,)),)  # type: ignore[arg-type]  # a literal by parametrisation


def test_the_strictest_key_decides() -> None:
    changed = MAIN.model_copy(update={"probe": Probe(interval=5), "port": 20200, "config_path": "/t/openclaw.json"})

    assert effect_of(MAIN, changed) == "replace"


def test_values_of_the_environment_are_never_told() -> None:
    (change,) = changes(up(MAIN), MAIN.model_copy(update={"env": {"TOKEN": "secret-2", "NEW": "x"}}))

    assert change.effect == "restart"
    assert change.differences == (
        Difference("env.NEW", "", "***"),
        Difference("env.TOKEN", "***", "***"),
        Difference("env.TZ", "***", ""),
    )


def test_a_new_definition_is_started_unless_it_is_not_enabled() -> None:
    off = MAIN.model_copy(update={"enabled": False})

    assert changes(None, MAIN) == (Change("main", "start"),)
    assert changes(None, off) == (Change("main", "none"),)


def test_enabled_starts_and_stops() -> None:
    off = MAIN.model_copy(update={"enabled": False})

    assert changes(up(MAIN), off)[0].effect == "stop"
    assert changes(down(off), MAIN)[0].effect == "start"


def test_a_definition_that_is_gone_stops_its_gateway_only_when_asked_to() -> None:
    assert changes(up(MAIN))[0].effect == "orphaned"
    assert changes(up(MAIN), prune=True)[0].effect == "stop"
    assert changes(down(MAIN))[0].effect == "forget"


def test_a_gateway_that_is_down_takes_any_change_at_once() -> None:
    assert changes(down(MAIN), MAIN.model_copy(update={"state_dir": "/t"}))[0].effect == "live"


def test_a_definition_that_cannot_be_read_changes_nothing_and_says_why() -> None:
    obstacle = Obstacle("definition", Cause.CONFIG, "main.toml:3: port: is a string", "mend it", "x")

    assert plan({"main": up(MAIN)}, Roster((), (("main", obstacle),)), prune=True) == (
        Change("main", "broken", reason="main.toml:3: port: is a string"),
    )


def test_live_keys_are_taken_over_and_the_others_wait() -> None:
    changed = MAIN.model_copy(update={"probe": Probe(interval=5), "port": 20200})

    assert with_live(MAIN, changed) == MAIN.model_copy(update={"probe": Probe(interval=5)})


def test_another_content_of_the_env_file_needs_a_new_life_and_tells_nothing_of_either() -> None:
    before = MAIN.model_copy(update={"env_file": "/e", "env_hash": "1"})

    for old, new, said in [("1", "2", ("***", "***")), ("", "2", ("", "***")), ("1", "", ("***", ""))]:
        (change,) = changes(
            up(before.model_copy(update={"env_hash": old})), before.model_copy(update={"env_hash": new})
        )
        assert change == Change("main", "restart", (Difference("env_file.content", *said),))


def test_a_definition_that_is_mended_as_it_was_starts_its_gateway() -> None:
    obstacle = Obstacle("definition", Cause.CONFIG, "main.toml:3: port: is a string", "mend it", "x")
    blocked = replace(up(MAIN), state=Blocked(obstacle), broken=obstacle)

    assert changes(blocked, MAIN) == (Change("main", "start"),)
    assert changes(replace(up(MAIN), broken=obstacle), MAIN) == (Change("main", "none"),)
