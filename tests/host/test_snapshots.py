"""What a config has been is never lost: contents by their bytes, and which of them were good."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.host.snapshots import KEPT, Snapshots, changed_keys
from supervisor.openclaw.content import Content
from tests.killed import before_a_rename

ROOT = Path(__file__).parents[2]

KEEP = """
from supervisor.host.snapshots import Snapshots
from supervisor.openclaw.content import Content
Snapshots(Path(sys.argv[1])).keep(Content((("/x/openclaw.json", b"{}"),)), version="1")
"""

KEEP_SLOWLY = (
    """
import os, sys
from pathlib import Path
rename = os.rename
def renamed(*arguments):
    print("written", flush=True)
    sys.stdin.readline()
    rename(*arguments)
os.rename = renamed
"""
    + KEEP
)


def content(text: str, *more: str) -> Content:
    included = ((f"/x/{number}.json", each.encode()) for number, each in enumerate(more))
    return Content((("/x/openclaw.json", text.encode()), *included))


@pytest.fixture
def store(tmp_path: Path) -> Snapshots:
    ticks = itertools.count(1.0)
    return Snapshots(tmp_path / "snapshots" / "main", clock=lambda: next(ticks))


def test_a_content_comes_back_byte_for_byte_with_what_it_includes(store: Snapshots) -> None:
    kept = content("{\r\n // \xe9\n}", "{}")
    assert store.keep(kept, version="2026.9.6") == ""
    assert store.content(kept.key) == kept


def test_nobody_else_can_read_it(store: Snapshots, tmp_path: Path) -> None:
    store.keep(content("{}"), version="1")
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "snapshots").rglob("*") if path.is_dir()} == {0o700}


def test_the_newest_good_may_be_hot_and_the_newest_booted_is_another(store: Snapshots) -> None:
    booted, hot = content("{booted}"), content("{hot}")
    for each in (booted, hot):
        store.keep(each, version="1")
    assert store.newest_good() is None
    assert store.promote(booted.key, hot=False, version="1") == ""
    assert store.promote(hot.key, hot=True, version="1") == ""
    assert getattr(store.newest_good(), "key", None) == hot.key
    assert getattr(store.newest_good(booted=True), "key", None) == booted.key


def test_twenty_are_kept_and_the_newest_good_ones_whatever_came_after(store: Snapshots, tmp_path: Path) -> None:
    good = content("{good}")
    store.keep(good, version="1")
    store.promote(good.key, hot=False, version="1")
    for number in range(KEPT + 10):
        store.keep(content(f"{{{number}}}"), version="1", refused="no")
    assert len(store.all()) == KEPT
    assert store.content(good.key) == good
    assert len(list((tmp_path / "snapshots" / "main" / "blobs").iterdir())) == KEPT


def test_a_content_that_came_back_is_one_snapshot(store: Snapshots) -> None:
    store.keep(content("{a}"), version="1", refused="exit 78")
    store.keep(content("{b}"), version="1")
    store.keep(content("{a}"), version="1")
    assert [each.refused for each in store.all()] == ["exit 78", ""]
    store.keep(content("{a}"), version="2", ran=True)
    newest = store.all()[0]
    assert (newest.refused, newest.ran, newest.version) == ("", True, "2")


def test_a_damaged_blob_is_no_content(store: Snapshots, tmp_path: Path) -> None:
    kept = content("{}")
    store.keep(kept, version="1")
    blob = next((tmp_path / "snapshots" / "main" / "blobs").iterdir())
    blob.write_bytes(b"{ }")
    assert store.content(kept.key) is None


def test_nothing_of_a_missing_or_unreadable_config_is_kept(store: Snapshots) -> None:
    assert store.keep(Content(), version="1") == ""
    assert store.keep(Content(unreadable="Is a directory"), version="1") == ""
    assert store.all() == []
    assert "no such snapshot" in store.promote("", hot=False, version="1")


def test_a_clock_that_was_set_back_leaves_the_newest_good_one_the_newest(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: a rollback must not go to the config before the last good one."""
    clock = iter([86400.0, 86401.0, 10.0, 11.0])
    store = Snapshots(tmp_path / "snapshots" / "main", clock=lambda: next(clock))
    old, new = content("{old}"), content("{new}")
    for each in (old, new):
        store.keep(each, version="1")
        store.promote(each.key, hot=False, version="1")
    assert getattr(store.newest_good(), "key", None) == new.key
    assert [each.key for each in store.all()] == [new.key, old.key]


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in Snapshots(tmp_path / "file" / "main").keep(content("{}"), version="1")


def test_a_name_of_another_place_is_no_key(store: Snapshots) -> None:
    assert store.find("../../instance") is None
    assert store.content("") is None


def test_short_keys_are_as_long_as_they_must_be(store: Snapshots) -> None:
    for number in range(5):
        store.keep(content(str(number)), version="1")
    short = changed_keys(store.all())
    assert len(set(short.values())) == 5
    assert all(store.named(each)[0].key == key for key, each in short.items())


def drafts(directory: Path) -> list[Path]:
    return [path for path in directory.rglob(".*") if path.is_file()]


def test_what_a_killed_writer_left_is_swept_and_nothing_else(store: Snapshots, tmp_path: Path) -> None:
    """R25: a config's secrets lie in no draft that nobody knows of."""
    directory = tmp_path / "snapshots" / "main"
    store.keep(content("{kept}"), version="1")
    before_a_rename(KEEP, directory)
    (directory / ".mine").touch()
    assert len(drafts(directory)) == 2
    store.sweep()
    assert drafts(directory) == [directory / ".mine"]
    assert store.content(content("{kept}").key) == content("{kept}")


def test_what_a_living_writer_is_about_to_name_is_left_alone(store: Snapshots, tmp_path: Path) -> None:
    """A person's `config rollback` writes here too, whatever brain begins meanwhile."""
    directory = tmp_path / "snapshots" / "main"
    with subprocess.Popen(
        [sys.executable, "-c", KEEP_SLOWLY, directory],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        store.sweep()
        writer.communicate("\n\n", timeout=20)
    assert store.content(content("{}").key) == content("{}")
