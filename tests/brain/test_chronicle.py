"""What a disk refuses is written when it takes it, in an order that no brain can misread."""

import json
import os
from pathlib import Path

import pytest

from supervisor.brain.chronicle import Chronicle
from supervisor.errors import ClawsupError
from supervisor.host.logs.pump import MIB, Log
from supervisor.host.records import Records
from supervisor.policy.state import Child, Stopped
from tests.policy.builders import definition
from tests.shortage import without_descriptors


def child(name: str, *, held: bool = False) -> Child:
    return Child(name, definition(name), Stopped(), 0.0, held=held)


@pytest.fixture
def children(tmp_path: Path) -> Path:
    directory = tmp_path / "children"
    directory.mkdir()
    return directory


def begun(tmp_path: Path) -> Chronicle:
    chronicle = Chronicle(tmp_path, Records(tmp_path / "children"))
    chronicle.children(0.0)
    return chronicle


def stand_in_the_way(directory: Path) -> Path:
    """Make every record of a directory impossible, whoever we are."""
    aside = directory.rename(directory.with_name("aside"))
    directory.touch()
    return aside


def go_away(directory: Path, aside: Path) -> None:
    directory.unlink()
    aside.rename(directory)


def test_a_record_that_was_refused_is_kept_when_the_disk_takes_it(tmp_path: Path, children: Path) -> None:
    """R27: an operator's stop must not be forgotten because it came while a disk was full."""
    chronicle = begun(tmp_path)
    aside = stand_in_the_way(children)
    chronicle.keep(child("main"))
    chronicle.keep(child("other"))
    chronicle.keep(child("main", held=True))
    assert len(chronicle.trouble) == 1
    go_away(children, aside)
    chronicle.tend({})
    assert chronicle.trouble == []
    known = begun(tmp_path).children(0.0)
    assert (known["main"].held, known["other"].held) == (True, False)


def test_one_record_that_cannot_be_kept_keeps_no_other_from_its_place(tmp_path: Path, children: Path) -> None:
    chronicle = begun(tmp_path)
    (children / "bad.json").mkdir()
    chronicle.keep(child("bad"))
    chronicle.keep(child("main", held=True))
    assert chronicle.trouble == [f"{children}/bad.json: Is a directory"]
    assert (children / "main.json").is_file()
    chronicle.forget("main")
    assert not (children / "main.json").exists()
    assert chronicle.trouble
    (children / "bad.json").rmdir()
    chronicle.tend({})
    assert chronicle.trouble == []


def test_no_record_of_this_boot_stands_beside_the_mark_of_another(tmp_path: Path, children: Path) -> None:
    """R25: else the next brain would take the gateways that live for those of the boot before."""
    chronicle = Chronicle(tmp_path, Records(children))
    (children / "boot").mkdir()
    chronicle.children(0.0)
    chronicle.keep(child("main"))
    assert not (children / "main.json").exists()
    (children / "boot").rmdir()
    chronicle.tend({})
    assert (children / "main.json").exists()
    assert chronicle.trouble == []


def test_records_that_cannot_be_seen_now_are_not_lost(tmp_path: Path, children: Path) -> None:
    """R27: a brain that starts without descriptors gives up, and sets nothing aside."""
    begun(tmp_path).keep(child("main", held=True))
    chronicle = Chronicle(tmp_path, Records(children))
    with without_descriptors(os.getpid()), pytest.raises(ClawsupError, match="cannot be read now: Too many open files"):
        chronicle.children(0.0)
    assert chronicle.children(0.0)["main"].held


def test_what_was_damaged_in_the_journal_is_told(tmp_path: Path, children: Path) -> None:
    """RELIABILITY.md Q8: the good lines stay, the others are put aside, and it is said."""
    first = Chronicle(tmp_path, Records(children))
    for _ in range(3):
        first.journal.append("probed", "main", {"text": "x" * 50})
    data = bytearray((tmp_path / "events.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "events.jsonl").write_bytes(data)
    chronicle = Chronicle(tmp_path, Records(children))
    chronicle.tend({})
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["probed", "journal_gap", "probed", "journal_mended"]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert Path(lines[-1]["damage_kept_in"]).stat().st_size > 50


def test_a_trouble_is_told_when_it_begins_changes_and_ends(tmp_path: Path, children: Path) -> None:
    chronicle = Chronicle(tmp_path, Records(children))
    for reasons in ([], ["a"], ["a"], ["a", "b"], [], []):
        chronicle.tell(reasons)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    told = [(line["event"], line["reason"]) for line in lines]
    assert told == [("supervisor_degraded", "a"), ("supervisor_degraded", "a; b"), ("supervisor_recovered", "")]


def test_what_waits_for_a_disk_is_not_said_to_be_dropped_before_it_is(tmp_path: Path, children: Path) -> None:
    """RELIABILITY.md Q8: each loss is told, and nothing that is none."""
    chronicle = Chronicle(tmp_path, Records(children))
    logs = tmp_path / "logs"
    log = Log(tmp_path / ".main.fifo", logs / "main.log")
    gateway = log.child_end()

    def prints(size: int) -> None:
        os.write(gateway, b"x" * size)
        log.drain()
        chronicle.tend({"main": log})

    prints(10)
    logs.rename(tmp_path / "aside")
    logs.touch()
    for size in (100, 100, MIB // 2, MIB // 4, MIB // 4):
        prints(size)
    logs.unlink()
    prints(10)
    lost = log.dropped
    os.close(gateway)
    log.close()

    assert lost > MIB // 4
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    told = [(line["event"], line["reason"] is not None, line["dropped_bytes"]) for line in lines]
    assert told[0] == ("output_waits", True, 0)
    assert [event for event, _, _ in told] == ["output_waits", "output_dropped", "output_kept"]
    assert 0 < told[1][2] < lost
    assert told[2] == ("output_kept", False, lost)


def test_what_was_dropped_between_two_looks_is_told_too(tmp_path: Path, children: Path) -> None:
    chronicle = Chronicle(tmp_path, Records(children))
    logs = tmp_path / "logs"
    log = Log(tmp_path / ".main.fifo", logs / "main.log")
    gateway = log.child_end()
    logs.touch()
    os.write(gateway, b"x" * (MIB // 4 * 3))
    log.drain()
    logs.unlink()
    log.drain()
    for _ in range(2):
        chronicle.tend({"main": log})
    lost = log.dropped
    os.close(gateway)
    log.close()

    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["output_dropped", "output_kept"]
    assert {line["dropped_bytes"] for line in lines} == {lost}


def test_what_is_remembered_is_so_for_the_brains_of_this_boot(tmp_path: Path, children: Path) -> None:
    """R9: the limit of an agent, say, whose instants mean nothing after a boot."""
    begun(tmp_path).remember("pace", b"{}")
    assert begun(tmp_path).recall("pace") == b"{}"
    assert begun(tmp_path).children(0.0) == {}
    (children / "boot").write_text("another")
    assert begun(tmp_path).recall("pace") is None
    assert begun(tmp_path).recall("pace") is None
