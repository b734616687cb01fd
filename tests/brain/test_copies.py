"""What a disk refuses to keep of a config is kept when it takes it, with all that has been learnt meanwhile."""

from pathlib import Path

from supervisor.brain.copies import RETRY_S, WAITING, Copies
from supervisor.openclaw.content import Content
from tests.killed import before_a_rename

KEEP = """
from supervisor.brain.copies import Copies
from supervisor.openclaw.content import Content
Copies(Path(sys.argv[1])).keep("main", Content((("/c/openclaw.json", b"{}"),)), version="1")
"""


def content(text: str) -> Content:
    return Content((("/c/openclaw.json", text.encode()),))


def test_a_refused_copy_waits_with_what_is_learnt_of_it(tmp_path: Path) -> None:
    """RELIABILITY.md Q8: the earlier copies stand, the new one is tried again, and its trouble ends with it."""
    (tmp_path / "main").touch()
    copies = Copies(tmp_path)
    kept = content("{}")
    copies.keep("main", kept, version="1", ran=True)
    copies.keep("main", kept, version="1")
    assert copies.trouble.endswith("Not a directory")
    assert not copies.promote("main", kept.key, hot=False, version="1")
    (tmp_path / "main").unlink()
    copies.tend(1.0)
    assert copies.trouble.endswith("no such snapshot")
    assert copies.promote("main", kept.key, hot=False, version="1")
    assert copies.trouble == ""
    found = copies.store("main").find(kept.key)
    assert found is not None
    assert (found.ran, found.good) == (True, True)
    assert copies.store("main").content(kept.key) == kept


def test_a_full_disk_is_not_asked_at_every_look(tmp_path: Path) -> None:
    (tmp_path / "main").touch()
    copies = Copies(tmp_path)
    copies.keep("main", content("{}"), version="1")
    copies.tend(100.0)
    (tmp_path / "main").unlink()
    copies.tend(100.0 + RETRY_S / 2)
    assert copies.trouble
    copies.tend(100.0 + RETRY_S)
    assert copies.trouble == ""


def test_what_waits_has_its_bound_and_the_oldest_gives_way(tmp_path: Path) -> None:
    (tmp_path / "main").touch()
    copies = Copies(tmp_path)
    texts = [f"{{{number}}}" for number in range(WAITING + 1)]
    for text in texts:
        copies.keep("main", content(text), version="1")
    (tmp_path / "main").unlink()
    copies.tend(1.0)
    assert copies.trouble == ""
    assert copies.store("main").find(content(texts[0]).key) is None
    assert copies.store("main").find(content(texts[-1]).key) is not None


def test_a_content_that_went_before_it_was_good_is_no_trouble(tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    assert not copies.promote("main", "abc", hot=True, version="1")
    assert copies.trouble
    copies.give_up("main", "abc")
    assert copies.trouble == ""


def test_what_a_killed_brain_left_half_done_goes_with_the_next_one(tmp_path: Path) -> None:
    """R25: nor does it keep the next one from keeping the same."""
    before_a_rename(KEEP, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] != []
    copies = Copies(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    copies.keep("main", content("{}"), version="1")
    assert copies.store("main").content(content("{}").key) == content("{}")
