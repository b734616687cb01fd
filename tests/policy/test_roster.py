"""Definitions against each other: who can run, who gives way, and the roles."""

import pytest

from supervisor.policy.definition import Definition, applied
from supervisor.policy.facts import Cause
from supervisor.policy.roster import Fault, judge
from tests.policy.candidates import MACHINE, candidate, usable, verdict


def test_main_and_rescue_of_the_page_are_all_right() -> None:
    """R9, R10: 18789 and 19789."""
    judged = verdict(candidate("main", 18789, role="main"), candidate("rescue", 19789, role="rescue"))
    assert judged.faults == ()
    assert usable(judged) == ["main", "rescue"]


def test_a_fault_is_shown_as_file_line_key_and_text() -> None:
    assert str(Fault("/c/a.toml", 3, "port", "is bad", "mend it")) == "/c/a.toml:3: port: is bad"
    assert str(Fault("/c/a.toml", None, "", "is a directory", "mend it")) == "/c/a.toml: is a directory"


def test_a_second_rescue_is_an_error() -> None:
    """R9."""
    judged = verdict(candidate("a", 18789, role="rescue"), candidate("b", 19789, role="rescue"))
    assert [(fault.key, fault.names) for fault in judged.faults] == [("role", ("b", "a"))]
    assert usable(judged) == ["a"]


def test_patients_that_do_not_exist_fail_the_check_and_not_the_rescue() -> None:
    """R25: it is needed most when something is missing."""
    judged = verdict(
        candidate("main", 18789, role="main"),
        candidate("rescue", 19789, role="rescue", patients=("mian", "rescue", "main"), patients_said=True),
    )
    assert [(fault.key, fault.severity) for fault in judged.faults] == [("patients", "error")] * 2
    assert any('did you mean "main"?' in fault.text for fault in judged.faults)
    assert usable(judged) == ["main", "rescue"]
    assert judged.roster.definitions[1].patients == ("main",)


@pytest.mark.parametrize(("said", "patients"), [(False, ("main", "other")), (True, ())])
def test_the_rescues_patients_are_every_main_unless_it_says_none(patients: tuple[str, ...], *, said: bool) -> None:
    judged = verdict(
        candidate("main", 18789, role="main"),
        candidate("other", 20789, role="main"),
        candidate("extra", 21789),
        candidate("rescue", 19789, role="rescue", patients_said=said),
    )
    assert judged.roster.definitions[-1].patients == patients


def test_who_conflicts_only_with_one_that_is_out_can_run() -> None:
    judged = verdict(
        candidate("rescue", 18789, role="rescue"), candidate("main", 18799, role="main"), candidate("extra", 18818)
    )
    assert usable(judged) == ["extra", "rescue"]
    assert len([fault for fault in judged.faults if fault.severity == "error"]) == 2


def test_who_is_not_enabled_gives_way_to_who_is() -> None:
    judged = verdict(candidate("main", 18789, role="main", enabled=False), candidate("extra", 18789))
    assert usable(judged) == ["extra"]


def test_an_error_of_the_reading_alone_costs_only_its_gateway() -> None:
    """R22: one broken file never keeps the others from running."""
    broken = Fault("/conf.d/a.toml", 1, "", "is not valid TOML", "correct it", names=("a",))
    judged = judge(["a", "b"], [candidate("b", 18789)], [broken], MACHINE)
    assert usable(judged) == ["b"]
    ((name, obstacle),) = judged.roster.broken
    assert (name, obstacle.cause, obstacle.mend) == ("a", Cause.CONFIG, "correct it")
    assert "/conf.d/a.toml:1" in obstacle.reason


@pytest.mark.parametrize(
    ("field", "how"),
    [("port", "restart"), ("state_dir", "identity"), ("probe", "live"), ("role", "live"), ("env", "restart")],
)
def test_every_field_says_how_its_change_is_applied(field: str, how: str) -> None:
    assert applied(field) == how
    assert {applied(name) for name in Definition.model_fields} == {"live", "restart", "identity"}
