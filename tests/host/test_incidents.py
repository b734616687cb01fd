"""One directory a failure: for its owner alone, and never more of them than a disk can bear."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supervisor.host.incidents import FILE_BYTES, KEPT, Incidents
from tests.killed import before_a_rename

ADD = """
from supervisor.host.incidents import Incidents
Incidents(Path(sys.argv[1])).add(sys.argv[2], "config.rejected", b"{token: 1}")
"""


@pytest.fixture
def incidents(tmp_path: Path) -> Incidents:
    moments = iter(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=each) for each in range(10_000))
    return Incidents(tmp_path / "incidents", clock=lambda: next(moments))


def test_an_incident_is_told_again_as_it_was_kept(incidents: Incidents) -> None:
    ident = incidents.open("main", {"cause": "config"}, {"config.rejected": b"\xff{", "log.txt": b"last words"})
    assert ident == "20260101T000000000Z-main"
    account = incidents.account(ident)
    assert account is not None
    assert (account["gateway"], account["cause"], account["at"]) == ("main", "config", "2026-01-01T00:00:00.000Z")
    assert incidents.files(ident) == ["config.rejected", "log.txt"]
    assert incidents.evidence(ident, "config.rejected") == b"\xff{"
    incidents.update(ident, {"ended": "mended"})
    assert (incidents.account(ident) or {})["ended"] == "mended"
    assert (incidents.account(ident) or {})["cause"] == "config"


def test_only_the_owner_can_read_it(incidents: Incidents, tmp_path: Path) -> None:
    incidents.open("main", {}, {"config.rejected": b"{}"})
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "incidents").glob("*")} == {0o700}


def test_their_number_and_size_are_bounded_a_gateway(incidents: Incidents, tmp_path: Path) -> None:
    other = incidents.open("other-main", {}, {})
    *_, newest = (incidents.open("main", {}, {"log.txt": b"x" * 10 + b"y" * FILE_BYTES}) for _ in range(KEPT + 5))
    assert len(incidents.ids("main")) == KEPT
    assert incidents.ids("main")[0] == newest
    assert incidents.ids("other-main") == [other]
    assert (incidents.evidence(newest, "log.txt") or b"")[:1] == b"y"
    assert len(list((tmp_path / "incidents").iterdir())) == KEPT + 1


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "x", "20260101T000000000Z-../a"])
def test_no_other_file_can_be_asked_for(incidents: Incidents, name: str) -> None:
    assert incidents.account(name) is None
    assert incidents.evidence(name, "log.txt") is None
    ident = incidents.open("main", {}, {})
    assert incidents.evidence(ident, name) is None


def test_a_full_or_missing_disk_is_told_and_what_it_refused_is_kept_when_it_takes_it(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: drop nothing that memory can hold, say so, and recover by itself."""
    (tmp_path / "incidents").touch()
    incidents = Incidents(tmp_path / "incidents")
    ident = incidents.open("main", {"cause": "crash"}, {"log.txt": b"last words"})
    incidents.update(ident, {"ended": "mended"})
    assert incidents.trouble == f"{tmp_path}/incidents: File exists"
    assert incidents.ids("main") == [ident]
    assert incidents.evidence(ident, "log.txt") == b"last words"

    (tmp_path / "incidents").unlink()
    incidents.tend()
    assert incidents.trouble == ""
    account = Incidents(tmp_path / "incidents").account(ident)
    assert account is not None
    assert (account["cause"], account["ended"]) == ("crash", "mended")
    assert Incidents(tmp_path / "incidents").evidence(ident, "log.txt") == b"last words"


def test_what_waits_for_a_full_disk_has_its_bound(tmp_path: Path) -> None:
    (tmp_path / "incidents").touch()
    incidents = Incidents(tmp_path / "incidents")
    idents = [incidents.open("main", {}, {"log.txt": b"x" * FILE_BYTES}) for _ in range(12)]
    assert incidents.evidence(idents[0], "log.txt") is None
    assert incidents.evidence(idents[-1], "log.txt") == b"x" * FILE_BYTES


def test_a_clock_that_was_set_back_makes_no_incident_look_old(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: order must not hang on the wall clock, or the newest incident would be pruned first."""
    today = datetime(2026, 1, 2, tzinfo=UTC)
    moments = iter([today + timedelta(seconds=each) for each in range(KEPT)] + [today - timedelta(days=1)] * 2)
    incidents = Incidents(tmp_path, clock=lambda: next(moments))
    for _ in range(KEPT):
        incidents.open("main", {}, {})
    other, newest = incidents.open("other", {}, {}), incidents.open("main", {}, {})
    assert incidents.ids()[:2] == [newest, other]
    assert incidents.ids("main")[0] == newest
    assert (incidents.account(newest) or {})["at"] == "2026-01-01T00:00:00.000Z"


def test_what_a_killed_brain_left_half_written_is_swept(incidents: Incidents, tmp_path: Path) -> None:
    """R25: it may be the rejected config, with its secrets."""
    ident = incidents.open("main", {"cause": "config"}, {})
    before_a_rename(ADD, tmp_path / "incidents", ident)
    assert len(list((tmp_path / "incidents" / ident).iterdir())) == 2
    incidents.sweep()
    assert [path.name for path in (tmp_path / "incidents" / ident).iterdir()] == ["incident.json"]
    assert (incidents.account(ident) or {})["cause"] == "config"
