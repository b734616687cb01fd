"""Who this supervisor is, kept, lost and found again."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from supervisor.brain.identity import Identity, life_in, load
from supervisor.errors import ClawsupError
from supervisor.host.records import Records
from tests.e2e.world import environ, wait_for


@pytest.fixture
def home() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def gateway(home: ExitStack, state_dir: Path, token: str, own: Path, *, locked: bool = True) -> None:
    """Start what looks like a gateway of a supervisor on `state_dir`, called like its `own` directory, whose lock it holds."""
    own.mkdir(exist_ok=True)
    name = own.name
    lock = os.open(own, os.O_RDONLY)
    if locked:
        fcntl.flock(lock, fcntl.LOCK_EX)
    env = {
        "CLAWSUP_RUN": token,
        "CLAWSUP_STATE_DIR": str(state_dir),
        "CLAWSUP_GATEWAY": name,
        "OPENCLAW_STATE_DIR": str(own),
    }
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=env, pass_fds=[lock])
    os.close(lock)
    home.callback(process.wait)
    home.callback(process.kill)
    wait_for(lambda: token.encode() in environ(process.pid), "it has its environment")


def test_an_identity_is_drawn_once(tmp_path: Path) -> None:
    first = load(Records(tmp_path), tmp_path)
    assert load(Records(tmp_path), tmp_path) == first
    assert (tmp_path / "instance.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "instance.json").read_text())["schema"] == 1


def test_tokens_of_different_gateways_and_lives_differ_and_name_the_life() -> None:
    identity = Identity("cafe", "seed")
    tokens = [identity.token(name, life) for name in ("main", "rescue") for life in (1, 2, 30)]
    assert len(set(tokens)) == 6
    assert [life_in(token) for token in tokens] == [1, 2, 30] * 2
    assert all(token.startswith(identity.prefix) for token in tokens)
    assert identity.token("main", 1) != Identity("cafe", "other seed").token("main", 1)
    assert [life_in(text) for text in ("", "a.b", "a.b.c", "a.-1.c")] == [None] * 4


def test_marks_tell_supervisors_and_lives_apart_and_fit_a_limit() -> None:
    """R26: below 2^63, where every kernel and libc takes a limit for what it is."""
    ours, theirs = Identity("cafe", "seed"), Identity("f00d", "seed")
    marks = {ours.mark(ours.token("main", life)) for life in range(1, 200)}
    assert len(marks) == 199
    assert all(0 < mark < 2**63 and ours.is_ours(mark) and not theirs.is_ours(mark) for mark in marks)
    assert not ours.is_ours(0)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"schema": 2, "instance": "a", "seed": "b"}', b"\xff"])
def test_a_record_that_makes_no_sense_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "instance.json").write_bytes(content)
    identity = load(Records(tmp_path), tmp_path)
    [aside] = tmp_path.glob("instance.json.bad-*")
    assert aside.read_bytes() == content
    assert load(Records(tmp_path), tmp_path) == identity


def test_a_record_that_is_there_and_cannot_be_read_is_not_replaced(tmp_path: Path) -> None:
    """Out of descriptors, or another's: the next brain may be able to."""
    (tmp_path / "instance.json").mkdir()
    with pytest.raises(ClawsupError, match="cannot be read"):
        load(Records(tmp_path), tmp_path)


def test_a_lost_identity_is_that_of_the_gateways_that_hold_their_locks(tmp_path: Path, home: ExitStack) -> None:
    """R23: their own tokens are kept too, since the seed that made them is lost."""
    old = Identity("cafe", "lost")
    for name, life in (("main", 3), ("rescue", 7)):
        gateway(home, tmp_path, old.token(name, life), tmp_path / name)
    found = load(Records(tmp_path), tmp_path)
    assert found.instance == "cafe"
    assert found.token("main", 3) == old.token("main", 3)
    assert found.token("rescue", 7) == old.token("rescue", 7)
    assert found.mark(found.token("main", 3)) == old.mark(old.token("main", 3))
    assert found.token("main", 4) != old.token("main", 4)
    assert load(Records(tmp_path), tmp_path) == found


def test_neither_strangers_nor_helpers_lend_us_their_identity(tmp_path: Path, home: ExitStack) -> None:
    """R23: another supervisor's gateway, and what has our names in its environment but no lock."""
    gateway(home, tmp_path / "other", Identity("f00d", "x").token("main", 1), tmp_path / "theirs")
    gateway(home, tmp_path, Identity("beef", "x").token("main", 1), tmp_path / "ours", locked=False)
    assert load(Records(tmp_path), tmp_path).instance not in {"f00d", "beef"}
