"""What the answers of OpenClaw's health endpoints mean; bodies as FACTS §5 has them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw.health import Startup, Verdict, live, ready, startup


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("status", "answer", "meaning"),
    [
        (200, body(ok=True, status="started", version="2026.9.6"), Startup("started")),
        (200, b"", Startup("started")),
        (
            503,
            body(ok=False, status="starting", pendingReason="startup-sidecars", uptimeMs=2100),
            Startup("starting", "starting: startup-sidecars"),
        ),
        (503, body(ok=False, status="starting", pendingReason=None), Startup("starting", "starting")),
        (503, b"<html>busy</html>", Startup("starting", "starting")),
        (503, body(ok=False, status="draining"), Startup("draining", "draining")),
        (404, b"Not Found", Startup("too old", "/startupz is not known to this OpenClaw")),
        (403, body(error="proxy_attribution_required"), Startup("odd", "/startupz answered 403")),
        (302, b"", Startup("odd", "/startupz answered 302")),
    ],
)
def test_startupz_tells_how_far_the_boot_is(status: int, answer: bytes, meaning: Startup) -> None:
    assert startup(status, answer) == meaning


def test_healthz_is_judged_by_its_status_alone() -> None:
    assert live(200) == Verdict(yes=True)
    assert live(500) == Verdict(yes=False, detail="/healthz answered 500")


@pytest.mark.parametrize(
    ("status", "answer", "meaning"),
    [
        (200, body(ready=True, failing=[], uptimeMs=9000, eventLoop={"degraded": False}), Verdict(yes=True)),
        (
            503,
            body(ready=False, failing=["startup-sidecars", "channel:telegram"]),
            Verdict(yes=False, detail="not ready: startup-sidecars, channel:telegram"),
        ),
        (
            503,
            body(ready=False, failing=["gateway-draining"]),
            Verdict(yes=False, detail="not ready: gateway-draining"),
        ),
        (503, body(ready=False, failing=[{"id": 1}]), Verdict(yes=False, detail="not ready")),
        (503, b"\xff\xfe", Verdict(yes=False, detail="not ready")),
        (500, b"", Verdict(yes=False, detail="/readyz answered 500")),
        (404, b"", Verdict(yes=None, detail="/readyz is not known to this OpenClaw")),
    ],
)
def test_readyz_names_what_fails(status: int, answer: bytes, meaning: Verdict) -> None:
    assert ready(status, answer) == meaning


def test_words_of_a_gateway_cannot_write_to_the_terminal_nor_fill_it() -> None:
    told = ready(503, body(failing=["\x1b[2Jgone\n", "x" * 500]))
    assert told.detail.isprintable()
    assert told.detail.startswith("not ready: ")
    assert len(told.detail) == 120


def test_a_body_nested_without_end_is_only_a_body() -> None:
    assert startup(503, b"[" * 60_000) == Startup("starting", "starting")


@given(status=st.integers(100, 999), answer=st.binary())
def test_every_status_with_every_body_has_a_meaning(status: int, answer: bytes) -> None:
    assert (
        (startup(status, answer).state == "started")
        == (live(status).yes is True)
        == (ready(status, answer).yes is True)
    )
    assert (startup(status, answer).detail == "") == (ready(status, answer).detail == "") == (200 <= status <= 299)
