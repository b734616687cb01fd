"""What makes a config unfit for a start, and what a mend has cost."""

import json
from typing import Any

import pytest

from supervisor.openclaw.validation import (
    is_same_but_meta,
    lost,
    other_refusal,
    overlooked,
    refusal,
    told,
    verdict,
)

GOOD: dict[str, Any] = {"gateway": {"mode": "local", "port": 1}, "skills": {"entries": {}}, "meta": {"v": 1}}


def test_validate_is_believed_when_it_refuses() -> None:
    issues = [{"path": "gateway.port", "message": "expected number"}, {"path": "", "message": "Unrecognized key"}]
    found = verdict(1, "(node) warning\n" + json.dumps({"ok": False, "valid": False, "issues": issues}))
    assert (found.valid, found.why) == (False, "gateway.port: expected number; Unrecognized key")


@pytest.mark.parametrize(
    ("code", "output", "valid"),
    [
        (0, '{"ok":true,"valid":true}', True),
        (1, '{\n "valid": false,\n "issues": []\n}', False),
        (None, '{"valid":false}', None),
        (1, "unknown command", None),
        (0, "", None),
        (0, '{"valid": false, "issues": 7}', False),
        (1, '{"valid": true}', None),
    ],
)
def test_every_answer_of_validate_has_a_meaning(code: int | None, output: str, valid: bool | None) -> None:
    assert verdict(code, output).valid is valid


@pytest.mark.parametrize(
    ("gateway", "says"),
    [
        ({"mode": "local"}, ""),
        ({}, "gateway.mode is missing"),
        ({"mode": "remote"}, '"remote"'),
        ({"mode": "local", "bind": "lan", "auth": {"mode": "none"}}, '"lan"'),
        ({"mode": "local", "bind": "lan", "auth": {"mode": "token"}}, ""),
        ("none at all", "gateway.mode is missing"),
    ],
)
def test_what_validate_overlooks_is_found(gateway: Any, says: str) -> None:
    found = overlooked({"gateway": gateway})
    assert says in found
    assert bool(found) == bool(says)


def test_a_mend_that_drops_or_changes_a_setting_lost_it() -> None:
    assert lost(GOOD, {"gateway": {"mode": "local", "port": 2}}) == ["gateway.port", "skills.entries"]
    assert lost(GOOD, {**GOOD, "meta": {"v": 2}, "wizard": {"a": 1}, "agents": {"x": {}}}) == []


def test_a_state_of_a_newer_openclaw_says_nothing_about_a_config() -> None:
    """`config validate` calls it invalid then, with an error in place of issues."""
    newer = (
        "This OpenClaw build cannot open your existing data.\nOpenClaw state database /x uses newer schema version 19."
    )
    found = verdict(1, json.dumps({"ok": False, "error": {"type": "cli_error", "message": newer}, "valid": False}))
    assert found.valid is None
    assert "newer schema version 19" in found.why


def test_a_skill_that_a_mend_switches_off_is_lost() -> None:
    after = {**GOOD, "skills": {"entries": {"github": {"enabled": False}}}}
    assert "skills.entries.github.enabled" in lost(GOOD, after)


def test_many_losses_are_told_in_a_line() -> None:
    assert told(["a", "b", "c", "d", "e", "f", "g"]) == "a, b, c, d, e and 2 more"


def test_a_config_without_meta_is_known_again() -> None:
    assert is_same_but_meta({"a": 1}, {"a": 1, "meta": {}})
    assert not is_same_but_meta({"a": 1}, {"a": 2, "meta": {}})


def test_an_exit_78_can_be_about_something_else() -> None:
    lines = ["[gateway] loading", "OpenClaw state database /x uses newer schema version 19; this build supports 18."]
    assert "newer schema" in other_refusal(lines)
    assert other_refusal(["Gateway start blocked: existing config is missing gateway.mode."]) == ""


@pytest.mark.parametrize(
    ("line", "about"),
    [
        ("OpenClaw state database /x uses newer schema version 19; this build supports 18.", "schema"),
        ("refused startup because 1 OpenClaw database schema(s) are newer than this build.", "schema"),
        ("Contention: another OpenClaw process owns gateway-lifecycle", "lock"),
        ("shared state database is unreadable at /x: EACCES", "unreadable"),
        ("Gateway failed to start: database or disk is full | gateway.maintenance_required", "disk"),
        ("Error: ENOSPC: no space left on device, write", "disk"),
        ("Gateway failed to start: Invalid config", ""),
    ],
)
def test_a_refusal_is_told_by_its_words(line: str, about: str) -> None:
    assert refusal(line) == about
