"""Every line of the journal has its words, whatever version of us wrote it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy.sentence import sentence, span

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["code", "signal", "ran_s", "cause", "why", "in_s", "obstacle", "warnings", "pid", "after_s", "reason", "x"]
)
EVENTS = st.sampled_from(
    ["spawned", "adopted", "exited", "started", "backoff", "failed", "blocked", "hung", "degraded", "else"]
)


@pytest.mark.parametrize(
    ("event", "fields", "said"),
    [
        ("exited", {"code": 1, "signal": None, "ran_s": 2.04, "cause": "crash"}, "exited: code 1 after 2.0 s (crash)"),
        ("exited", {"code": None, "signal": 9}, "exited: killed by signal 9"),
        ("exited", {"code": None, "signal": None}, "exited: status unknown"),
        ("backoff", {"why": "exit 1", "in_s": 300.0}, "backoff: exit 1; tried again in 5 min"),
        (
            "blocked",
            {"obstacle": {"reason": "port 1 is held", "mend": "free it"}},
            "blocked: port 1 is held (mend: free it)",
        ),
        (
            "failed",
            {"obstacle": {"reason": "refused", "mend": "correct it"}, "until": None, "vain": ["doctor"]},
            "failed: refused (mend: correct it)",
        ),
        ("repair_started", {"broken": "ab" * 32, "why": "OpenClaw refuses x"}, "repair started: OpenClaw refuses x"),
        ("repairing", {"rung": "rollback_booted", "until": 27761.04}, "repairing: rollback booted"),
        (
            "repair_step",
            {"rung": "doctor", "outcome": "useless", "detail": "it changed nothing", "key": "ab" * 32},
            "repair step: doctor: useless (it changed nothing)",
        ),
        (
            "repair_ended",
            {"mended": False, "tried": "doctor: useless"},
            "repair ended: not mended; tried doctor: useless",
        ),
        (
            "config_promoted",
            {"key": "0123456789abcdef" * 4, "how": "booted"},
            "config promoted: key 01234567, how booted",
        ),
        ("spawned", {"pid": 7, "life": 1, "warnings": ["port 9 is held"]}, "spawned: pid 7; port 9 is held"),
        ("started", {"after_s": 8.25, "life": 1}, "started: after 8.2 s"),
        ("stopped", {}, "stopped"),
        ("supervisor_started", {"pid": 3, "brains": 1, "fleet": {"much": 1}}, "started: pid 3, brains 1"),
    ],
)
def test_an_event_is_told_in_words(event: str, fields: dict[str, object], said: str) -> None:
    assert sentence(event, fields) == said


@given(event=EVENTS, fields=st.dictionaries(KEYS, JSON))
def test_whatever_a_line_holds_it_is_told(event: str, fields: dict[str, object]) -> None:
    assert sentence(event, fields).startswith(event.partition("_")[0])


@pytest.mark.parametrize(("seconds", "said"), [(0.05, "0.1 s"), (59.6, "60 s"), (600, "10 min"), (7200, "2.0 h")])
def test_a_duration_is_told_as_people_do(seconds: float, said: str) -> None:
    assert span(seconds) == said
