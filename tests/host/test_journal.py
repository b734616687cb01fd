"""The journal keeps every event and its number, whatever happens to the process and the disk."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from supervisor.host.journal import Journal, follow, lines, read

ROOT = Path(__file__).parents[2]

APPEND_FOR_EVER = """
import sys
from pathlib import Path
from supervisor.host.journal import Journal
journal = Journal(Path(sys.argv[1]), max_bytes=60_000, keep=1000)
while True:
    print(journal.append("tick", "main", {"filling": "x" * 3000}), flush=True)
"""

ON_A_FULL_DISK = """
import json, os, sys
from pathlib import Path
from supervisor.host.journal import Journal, read
where = Path(sys.argv[1])
ballast = where / "ballast"
ballast.write_bytes(bytes(200_000))
journal = Journal(where / "events.jsonl")
numbers = [journal.append("tick", None, {"filling": "x" * 1000}, durable=True) for _ in range(200)]
trouble, on_disk = journal.trouble, [event["seq"] for event in read(where / "events.jsonl")]
raw = (where / "events.jsonl").read_bytes()
ballast.unlink()
journal.flush()
after = [event["seq"] for event in read(where / "events.jsonl")]
print(json.dumps([numbers, trouble, on_disk, raw[-1:] == b"\\n", journal.trouble, after]))
"""

LAST_WORDS = """
import json, os, sys
from pathlib import Path
from supervisor.host.journal import Journal, read
where = Path(sys.argv[1])
path = where / "events.jsonl"
def tell(count):
    return [journal.append("tick", None, {"filling": "x" * 1000}, durable=True) for _ in range(count)]
def fill():
    with open(where / "ballast", "ab", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            pass
def told():
    return [event["seq"] for event in read(path)]
journal = Journal(path)
tell(1)
fill()
tell(15)
journal = Journal(path)
tell(10)
last_words = journal.trouble, told()
tell(60)
refused = journal.trouble, len(told())
(where / "ballast").unlink()
journal.flush()
fill()
tell(20)
print(json.dumps([last_words, refused, journal.trouble, told()]))
"""


def seqs(path: Path) -> list[object]:
    return [event["seq"] for event in read(path)]


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_an_event_is_a_line_of_json_with_its_checksum_last(path: Path) -> None:
    journal = Journal(path, clock=lambda: datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC))
    number = journal.append("exited", "main", {"code": 1, "why": 'a "line"\nend', "where": Path("/x")})
    line = path.read_text()

    assert (number, journal.seq, journal.trouble) == (1, 1, "")
    assert line.startswith('{"seq":1,"at":"2026-01-02T03:04:05.678Z","gateway":"main","event":"exited","code":1,')
    assert list(json.loads(line))[-1] == "crc"
    assert line.count("\n") == 1
    assert [(e["code"], e["why"], e["where"]) for e in read(path)] == [(1, 'a "line"\nend', "/x")]
    assert path.stat().st_mode & 0o777 == 0o600


def test_fields_never_break_a_line(path: Path) -> None:
    circle: dict[str, object] = {}
    circle["circle"] = circle
    journal = Journal(path)
    for fields in ({"seq": 99, "crc": "no", "event": "no"}, {"x": math.inf}, circle, {"lone": "\ud800"}):
        journal.append("odd", None, fields)

    assert [(e["seq"], e["event"]) for e in read(path)] == [(1, "odd"), (2, "odd"), (3, "odd"), (4, "odd")]
    assert [("untellable" in e) for e in read(path)] == [False, True, True, False]


def test_numbers_go_on_over_reopening_and_rotation(path: Path) -> None:
    for _ in range(5):
        journal = Journal(path, max_bytes=1000, keep=100)
        for _ in range(20):
            journal.append("tick", None, {}, durable=True)

    assert seqs(path) == list(range(1, 101))
    assert all(part.stat().st_size <= 1000 for part in path.parent.iterdir())


def test_a_rotation_that_was_killed_before_the_new_file_loses_no_number(path: Path) -> None:
    journal = Journal(path)
    for _ in range(3):
        journal.append("tick", None, {})
    path.rename(f"{path}.{3:012d}")

    assert Journal(path).append("tick", None, {}) == 4
    assert journal.append("tick", None, {}) == 4
    assert seqs(path)[:3] == [1, 2, 3]


def test_only_the_newest_parts_are_kept(path: Path) -> None:
    journal = Journal(path, max_bytes=300, keep=2)
    for _ in range(50):
        journal.append("tick", None, {})

    told = seqs(path)
    assert len(list(path.parent.iterdir())) == 3
    assert told == list(range(int(str(told[0])), 51))


@pytest.mark.parametrize("tail", [b"", b"\0" * 100, b"garbage\n\xff{}\n\0"], ids=["cut", "nul", "garbage"])
def test_a_journal_cut_anywhere_keeps_every_whole_line(path: Path, tail: bytes) -> None:
    journal = Journal(path)
    for number in range(6):
        journal.append("tick", "main", {"filling": "é" * number})
    data = path.read_bytes()
    for cut in range(data.rindex(b"\n", 0, data.index(b'{"seq":5')), len(data) + 1):
        for old in path.parent.iterdir():
            old.unlink()
        path.write_bytes(data[:cut] + tail)
        # A line is whole with its last brace; garbage right behind it is then part of the line.
        whole = sum(lines.is_whole(line) for line in (data[:cut] + tail).split(b"\n"))
        reopened = Journal(path)

        assert (reopened.seq, reopened.trouble) == (whole, "")
        assert reopened.append("tick", "main", {}) == whole + 1
        assert seqs(path) == list(range(1, whole + 2))
        assert all(json.loads(line) for line in path.read_bytes().splitlines())
        kept = b"".join(bad.read_bytes() for bad in path.parent.glob("*.bad-*"))
        assert kept.replace(b"\n", b"") == b"".join(
            line for line in (data[:cut] + tail).split(b"\n") if not lines.is_whole(line)
        )


def test_damage_in_the_middle_costs_the_damaged_line_only(path: Path) -> None:
    journal = Journal(path)
    for _ in range(9):
        journal.append("tick", None, {})
    rows = path.read_bytes().splitlines(keepends=True)
    rows[2] = rows[2].replace(b"tick", b"tock")
    rows[5] = rows[6] = b"\xff\n"
    path.write_bytes(b"".join(rows))
    before = [event["seq"] for event in read(path)]
    Journal(path).append("tick", None, {})

    assert before == [1, 2, 4, 5, 8, 9]
    assert seqs(path) == [1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert [(e["from"], e["to"]) for e in read(path) if e["event"] == "journal_gap"] == [(3, 3), (6, 7)]


def test_a_sigkill_loses_no_event_that_was_acknowledged(path: Path) -> None:
    acknowledged = 0
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", APPEND_FOR_EVER, path], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(random.randrange(5, 60)):  # noqa: S311 - chaos, no secret
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().splitlines())])

    told = seqs(path)
    assert len(told) >= acknowledged
    assert told == list(range(1, len(told) + 1))


def test_a_full_disk_lets_the_journal_go_on_in_memory(tmp_path: Path) -> None:
    """On a tmpfs of its own, in a namespace of its own."""
    mount = f'mount -t tmpfs -o size=320k none "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no mount namespace to be had here")
    script = f'{mount} && exec "$0" -c "$1" "{tmp_path}"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, sys.executable, ON_A_FULL_DISK],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    numbers, trouble, on_disk, ends_with_a_line, trouble_later, after = json.loads(done.stdout)

    assert numbers == list(range(1, 201))
    assert trouble.endswith("No space left on device")
    assert on_disk == list(range(1, len(on_disk) + 1))
    assert 50 < len(on_disk) < 150
    assert ends_with_a_line
    assert (trouble_later, after) == ("", numbers)


def test_on_a_full_disk_the_last_words_still_go_to_the_journal(tmp_path: Path) -> None:
    """R27: what was allocated while there was room is nobody else's, and the next brain's too."""
    mount = f'mount -t tmpfs -o size=320k none "{tmp_path}"'
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False).returncode:
        pytest.skip("no mount namespace to be had here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1" "{tmp_path}"', sys.executable, LAST_WORDS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    last_words, (refused, on_disk), trouble_later, after = json.loads(done.stdout)

    assert last_words == ["", list(range(1, 27))]
    assert refused.endswith("No space left on device")
    assert 26 < on_disk < 70
    assert (trouble_later, after) == ("", list(range(1, 107)))


def test_what_does_not_fit_into_memory_is_told_as_a_gap(path: Path) -> None:
    blocked = path.parent / "not yet" / "events.jsonl"
    journal = Journal(blocked, max_waiting=1000)
    for _ in range(30):
        journal.append("tick", None, {})
    trouble = journal.trouble
    blocked.parent.mkdir()
    journal.flush()
    told = list(read(blocked))

    assert trouble == f"{blocked}: No such file or directory"
    assert (journal.trouble, journal.append("tick", None, {})) == ("", 31)
    assert (told[0]["event"], told[0]["from"], told[0]["to"]) == ("journal_gap", 1, told[0]["seq"])
    assert [event["seq"] for event in told] == list(range(int(str(told[0]["seq"])), 31))
    assert len(told) > 3


def test_events_before_the_journal_could_be_read_are_numbered_when_it_can(path: Path) -> None:
    old = Journal(path)
    for _ in range(5):
        old.append("old", None, {})
    away = path.parent.rename(path.parent.with_name("away"))
    journal = Journal(path)
    provisional = journal.append("new", "main", {"a": 1})
    away.rename(path.parent)
    journal.flush()

    assert (provisional, journal.seq) == (1, 6)
    assert [(e["seq"], e["event"]) for e in read(path)][-2:] == [(5, "old"), (6, "new")]


@pytest.mark.parametrize("what", ["directory", "fifo", "link"])
def test_what_is_no_file_is_set_aside(path: Path, what: str) -> None:
    match what:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to("/dev/full")
    journal = Journal(path)

    assert (journal.append("tick", None, {}), journal.trouble, seqs(path)) == (1, "", [1])
    assert len(list(path.parent.glob("events.jsonl.bad-*"))) == 1


def test_a_journal_that_was_deleted_goes_on_with_its_numbers(path: Path) -> None:
    journal = Journal(path)
    journal.append("tick", None, {})
    path.unlink()

    assert (journal.append("tick", None, {}), journal.trouble, seqs(path)) == (2, "", [2])


def test_reading_can_begin_behind_a_number_and_end_with_the_last(path: Path) -> None:
    journal = Journal(path, max_bytes=500, keep=100)
    for _ in range(40):
        journal.append("tick", None, {})

    assert [e["seq"] for e in read(path, after=33)] == [34, 35, 36, 37, 38, 39, 40]
    assert [e["seq"] for e in read(path, last=12)] == list(range(29, 41))
    assert [e["seq"] for e in read(path, after=38, last=12)] == [39, 40]
    assert list(read(path, last=0)) == list(read(path, after=40)) == list(read(path.with_name("none"))) == []


def test_a_follower_hears_every_event_once_over_rotations(path: Path) -> None:
    heard: list[object] = []
    done = threading.Event()
    journal = Journal(path, max_bytes=2000, keep=1000)
    for _ in range(10):
        journal.append("tick", None, {})

    def listen() -> None:
        heard.extend(event["seq"] for event in follow(path, after=4, stop=done.is_set, poll_s=0.001))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        for _ in range(500):
            journal.append("tick", None, {})
        wait_for(lambda: len(heard) >= 506)
    finally:
        done.set()
        listener.join()

    assert heard == list(range(5, 511))
