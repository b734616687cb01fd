"""What a new definition says."""

import tomllib

import pytest

from supervisor.policy.proposal import MAIN_BASE, Proposal, free_base, text


def test_the_text_says_what_was_proposed_and_nothing_else() -> None:
    """R4, R6: what is only shown stays a comment."""
    proposal = Proposal("main", "main", 18789, "default", ("/opt/open claw/bin/openclaw", "--x"))
    assert tomllib.loads(text(proposal)) == {
        "port": 18789,
        "role": "main",
        "profile": "default",
        "command": ["/opt/open claw/bin/openclaw", "--x"],
    }


def test_defaults_are_left_unsaid() -> None:
    assert tomllib.loads(text(Proposal("work", "extra", 20789))) == {"port": 20789, "role": "extra"}


def test_every_comment_becomes_legal_toml_when_it_is_taken_off() -> None:
    shown = text(Proposal("work", "extra", 20789)).partition("README.md")[2].partition("\n")[2]
    keys = tomllib.loads("\n".join(line.removeprefix("# ") for line in shown.splitlines()))
    assert keys["env"] == {"TZ": "Europe/Berlin"}
    assert keys["stop"] == {"timeout": 330}


@pytest.mark.parametrize(
    ("taken", "busy", "base"),
    [
        ([], set(), 18789),
        ([range(18789, 18900)], set(), 19789),
        ([range(18900, 18901)], set(), 18789),
        ([range(18899, 18900)], set(), 19789),
        ([], {18789, 19789}, 20789),
    ],
)
def test_a_base_is_free_when_its_whole_range_meets_nobody(taken: list[range], busy: set[int], base: int) -> None:
    """R10, R13: up to base+110, so that no browser profile ever reaches another gateway."""
    assert free_base(MAIN_BASE, taken, highest=32767, busy=busy.__contains__) == base


def test_bases_stay_below_the_kernels_own_ports_and_run_out_at_last() -> None:
    assert free_base(32700, [], highest=32767, busy=lambda _: False) == 1024 + 32700 % 120
    assert free_base(MAIN_BASE, [range(65536)], highest=32767, busy=lambda _: False) is None
