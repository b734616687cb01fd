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
        ("exited", {"code": 1, "signal": None, "ran_s": 2.04, "cause": "crash"}, "exited: exit 1 after 2.0 s (crash)"),
        ("exited", {"code": None, "signal": 9}, "exited: killed by signal 9"),
        ("exited", {"code": None, "signal": None}, "exited: exit status unknown"),
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
