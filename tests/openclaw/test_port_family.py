"""The ports OpenClaw derives from a base port, and those pinned by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw.ports import (
    HIGHEST,
    Family,
    is_loopback,
    local_port,
    next_base,
    overrides,
    same_browser,
    shared,
)

NONE: frozenset[str] = frozenset()


def test_the_family_of_main_is_what_openclaw_listens_on() -> None:
    """R11, R12, R13: control base+2, canvas on the base, relays up to base+10, CDP from base+11."""
    family = Family(18789, 9)
    assert (family.canvas, family.control) == (18789, 18791)
    assert (family.relay, family.cdp) == (range(18792, 18800), range(18800, 18809))
    assert family.ports() == tuple(range(18789, 18809))
    assert family.vital() == (18789, 18791)
    assert family.full == range(18789, 18900)


def test_a_family_without_cdp_ports_ends_with_the_relays() -> None:
    assert Family(20000, 0).ports() == tuple(range(20000, 20011))
    assert not Family(20000, 0).cdp


def test_a_family_with_all_cdp_ports_is_the_full_range() -> None:
    assert Family(20000, 100).span == Family(20000, 9).full


@given(st.integers(1, 65535), st.integers(0, 100), st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 100))))
def test_the_next_base_is_the_lowest_that_meets_nobody(
    base: int, cdp_ports: int, others: list[tuple[int, int]]
) -> None:
    spans = [Family(*other).span for other in others]

    def legal(candidate: int) -> bool:
        family = Family(candidate, cdp_ports)
        return family.last <= HIGHEST and not any(shared(family.span, span) for span in spans)

    found = next_base(Family(base, cdp_ports), spans)
    if found is None:
        assert not legal(HIGHEST - 10 - cdp_ports) or HIGHEST - 10 - cdp_ports <= base
    else:
        assert legal(found)
        assert not any(legal(lower) for lower in range(max(base + 1, found - 50), found))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"]
)
def test_a_host_that_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "example.com", "", "localhost.example.com"])
def test_a_host_that_is_another(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:18800", 18800),
        ("ws://[::1]:9222/devtools", 9222),
        ("http://localhost", 80),
        ("wss://localhost/x", 443),
        ("http://box.lan:9222", 9222),
        ("http://BOX.lan.:9222", 9222),
        ("http://[FD00:0::1]:9222", 9222),
        ("http://[::ffff:127.0.0.1]:9222", 9222),
        ("http://[::ffff:0:0]:9222", 9222),
        ("http://127.1:9222", 9222),
        ("http://0x7f.0.0.1.:9222", 9222),
        ("http://017700000001:9222", 9222),
        ("http://2130706433:9222", 9222),
        ("http://0:9222", 9222),
        ("http://10.0.0.9:9222", None),
        ("http://[::ffff:10.0.0.9]:9222", None),
        ("http://127.0.0.1.1:9222", None),
        ("http://127.0.0.300:9222", None),
        ("http://99999999999:9222", None),
        ("http://127.0.0.1:99999", None),
        ("http://[::1", None),
        ("18800", None),
        ("", None),
    ],
)
def test_the_port_of_a_url_that_leads_here(url: str, port: int | None) -> None:
    assert local_port(url, frozenset({"box.lan", "fd00::1"})) == port


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.9:9222",
        "ws://10.0.0.9:9222/",
        "HTTP://10.0.0.9:9222//",
        "http://10.9:9222",
        "http://[::ffff:10.0.0.9]:9222",
    ],
)
def test_one_remote_browser_is_known_however_it_is_written(url: str) -> None:
    """R15: never the same cdpUrl on two gateways."""
    assert same_browser(url) == same_browser("http://10.0.0.9:9222")


def test_two_tokens_of_one_browser_service_are_two_browsers() -> None:
    assert same_browser("wss://chrome.example/?token=a") != same_browser("wss://chrome.example/?token=b")


def test_overrides_are_ports_and_local_urls_of_openclaw_variables() -> None:
    """R14: ports overridden in the environment count like any other."""
    environment = {
        "OPENCLAW_RELAY_PORT": " 18799 ",
        "OPENCLAW_GATEWAY_URL": "ws://127.0.0.1:19789",
        "OPENCLAW_CATALOG_URL": "https://example.com:18789",
        "OPENCLAW_LOG_LEVEL": "18789",
        "OPENCLAW_BAD_PORT": "x",
        "PORT": "18789",
    }
    assert overrides(environment, NONE) == (("OPENCLAW_GATEWAY_URL", 19789), ("OPENCLAW_RELAY_PORT", 18799))


@given(st.text())
def test_no_text_that_stands_for_a_url_raises(text: str) -> None:
    local_port(text, NONE)
    same_browser(text)
    is_loopback(text)
    overrides({"OPENCLAW_X_PORT": text, "OPENCLAW_Y": f"http://{text}"}, NONE)
