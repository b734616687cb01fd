"""What two gateways must not share of the ports."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw.ports import Family, shared
from supervisor.policy.roster import Machine
from tests.policy.candidates import candidate, only_fault, usable, verdict


def test_overlapping_families_tell_the_ports_and_the_next_base() -> None:
    """R5, R10: with nine CDP ports a family is 20 ports."""
    judged = verdict(
        candidate("main", 18789, role="main", lines={("port",): 2}), candidate("rescue", 18799, role="rescue")
    )
    (fault,) = judged.faults
    assert (fault.file, fault.line, fault.key) == ("/conf.d/main.toml", 2, "port")
    assert "ports 18799-18808" in fault.text
    assert fault.mend == "port = 18819"
    assert usable(judged) == ["rescue"]


def test_families_side_by_side_warn_where_only_the_full_ranges_meet() -> None:
    """R10: the older page asks for 20 between bases, the newer one for 120."""
    fault = only_fault(candidate("a", 18789), candidate("b", 18809))
    assert (fault.key, fault.severity) == ("port", "warning")
    assert verdict(candidate("a", 18789), candidate("b", 18900)).faults == ()


@given(
    st.tuples(st.integers(1024, 65535), st.integers(0, 100)), st.tuples(st.integers(1024, 65535), st.integers(0, 100))
)
def test_two_run_together_exactly_if_their_families_are_apart_and_in_range(
    one: tuple[int, int], two: tuple[int, int]
) -> None:
    """R5."""
    families = [Family(*one), Family(*two)]
    judged = verdict(
        candidate("a", families[0].base, cdp_ports=families[0].cdp_ports),
        candidate("b", families[1].base, cdp_ports=families[1].cdp_ports),
    )
    legal = [family.last <= 65535 for family in families]
    apart = not shared(families[0].span, families[1].span)
    assert usable(judged) == [
        name for name, fine in zip("ab", (legal[0], legal[1] and (apart or not legal[0])), strict=True) if fine
    ]


def test_a_family_past_the_last_port_is_an_error_and_its_full_range_a_warning() -> None:
    assert only_fault(candidate("a", 65525)).severity == "error"
    fallback = only_fault(candidate("a", 65500))
    assert fallback.severity == "warning"
    assert "18800-18899" in fallback.text


def test_a_family_in_the_ephemeral_range_is_a_warning_unless_it_is_reserved() -> None:
    """V10 of RELIABILITY.md: any outgoing connection may hold such a port."""
    stock = range(32768, 61000)
    fault = only_fault(candidate("a", 32760), machine=Machine(ephemeral=stock))
    assert (fault.key, fault.severity) == ("port", "warning")
    assert "32768-32779" in fault.text
    reserved = Machine(ephemeral=stock, reserved=frozenset(range(32768, 32780)))
    assert verdict(candidate("a", 32760), machine=reserved).faults == ()


@pytest.mark.parametrize(
    ("machine", "user", "fine"),
    [
        (Machine(), None, False),
        (Machine(may_bind_low=True), None, True),
        (Machine(may_bind_low=True), "claw", False),
        (Machine(unprivileged_from=80), "claw", True),
    ],
)
def test_a_low_port_needs_a_right_that_reaches_the_gateway(machine: Machine, user: str | None, *, fine: bool) -> None:
    assert (usable(verdict(candidate("a", 443, user=user), machine=machine)) == ["a"]) is fine


def test_a_pinned_cdp_port_in_anothers_family_is_laid_to_the_lower() -> None:
    """R14, R16: whichever of the two pins it."""
    pins = {"cdp_ports": (("browser.profiles.p8.cdpPort", 19800),)}
    by_main = only_fault(candidate("main", 18789, role="main", config=pins), candidate("rescue", 19789, role="rescue"))
    assert (by_main.key, by_main.names) == ("browser.profiles.p8.cdpPort", ("main", "rescue"))
    pins = {"cdp_ports": (("browser.profiles.p8.cdpPort", 18800),)}
    by_rescue = only_fault(
        candidate("main", 18789, role="main"), candidate("rescue", 19789, role="rescue", config=pins)
    )
    assert (by_rescue.key, by_rescue.names) == ("port", ("main", "rescue"))
    assert "browser.profiles.p8.cdpPort" in by_rescue.text


def test_a_pinned_cdp_port_of_ones_own_family_is_all_right() -> None:
    pins = {
        "cdp_ports": (("browser.profiles.p.cdpPort", 18801),),
        "cdp_urls": (("browser.cdpUrl", "http://127.0.0.1:18800"),),
    }
    assert verdict(candidate("a", 18789, config=pins), candidate("b", 19789)).faults == ()


def test_one_cdp_port_for_two_gateways_is_an_error() -> None:
    """R16."""
    pins = {"cdp_ports": (("browser.profiles.p.cdpPort", 30000),)}
    fault = only_fault(candidate("a", 18789, config=pins), candidate("b", 19789, config=pins))
    assert (fault.key, fault.severity, fault.names) == ("browser.profiles.p.cdpPort", "error", ("b", "a"))


def test_a_cdp_port_on_the_gateways_own_port_is_an_error() -> None:
    pins = {"cdp_ports": (("browser.profiles.p.cdpPort", 18791),)}
    assert only_fault(candidate("a", 18789, config=pins)).severity == "error"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("http://10.0.0.9:9222", "http://10.0.0.9:9222"),
        ("http://10.0.0.9:9222", "ws://10.0.0.9:9222/"),
        ("http://localhost:9222", "http://127.0.0.1:9222"),
        ("http://localhost:9222", "http://box.lan:9222"),
    ],
)
def test_one_browser_for_two_gateways_is_an_error(one: str, two: str) -> None:
    """R15, R17."""
    fault = only_fault(
        candidate("a", 18789, config={"cdp_urls": (("browser.cdpUrl", one),)}),
        candidate("b", 19789, config={"cdp_urls": (("browser.profiles.x.cdpUrl", two),)}),
        machine=Machine(hosts=frozenset({"box.lan"})),
    )
    assert (fault.key, fault.severity, fault.names) == ("browser.profiles.x.cdpUrl", "error", ("b", "a"))


def test_a_url_or_override_that_leads_into_anothers_family_is_an_error() -> None:
    """R14: INTERFACE.md §2."""
    url = only_fault(
        candidate("a", 18789),
        candidate("b", 19789, config={"cdp_urls": (("browser.cdpUrl", "http://127.0.0.1:18800"),)}),
    )
    assert (url.key, url.severity) == ("browser.cdpUrl", "error")
    override = only_fault(candidate("a", 18789), candidate("b", 19789, env={"OPENCLAW_RELAY_PORT": "18799"}))
    assert (override.key, override.severity) == ("env.OPENCLAW_RELAY_PORT", "error")
