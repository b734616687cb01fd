"""What `restart-handoff consume` prints decides whether an exit 0 counts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw import handoff
from supervisor.openclaw.output import last_object


@pytest.mark.parametrize(
    ("code", "output", "verdict"),
    [
        (0, '{"ok": true, "status": "accepted"}', (True, "accepted")),
        (0, 'warning: old Node\n{\n  "status": "accepted",\n  "reason": "update"\n}\n', (True, "update")),
        (1, '{"status": "rejected", "reason": "pid-mismatch"}', (False, "pid-mismatch")),
        (1, '{"status": "rejected", "reason": "expired"}', (None, "expired")),
        (0, '{"ok": true, "status": "none", "reason": "missing"}', (None, "missing")),
        (1, "OpenClaw does not know this command", (None, "no answer (exit 1)")),
        (None, "", (None, "no answer")),
        (0, "{}", (None, "no verdict")),
    ],
)
def test_an_answer_is_accepted_rejected_or_no_answer(
    code: int | None, output: str, verdict: tuple[bool | None, str]
) -> None:
    assert handoff.verdict(code, output) == verdict


@given(st.text())
def test_whatever_is_printed_has_a_verdict(output: str) -> None:
    accepted, why = handoff.verdict(0, output)
    assert accepted is None
    assert why


@given(st.text(alphabet="a:1 \n"), st.dictionaries(st.text(max_size=3), st.integers(), max_size=3))
def test_the_last_object_is_found_behind_other_lines(noise: str, document: dict[str, int]) -> None:
    assert last_object(f"{noise}\n{{}}\n{json.dumps(document)}\n") == document
