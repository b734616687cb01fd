"""Whose a cgroup is, and how a leaf ends; on files that look like a hierarchy, and on a real one where this user may make one."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.host import cgroups
from tests.e2e.world import wait_for

UNIFIED = Path("/sys/fs/cgroup/unified") if Path("/sys/fs/cgroup/unified").exists() else Path("/sys/fs/cgroup")


@pytest.fixture
def own() -> Iterator[Path]:
    """A real cgroup that this process has moved into."""
    path = UNIFIED / f"clawsup-test-{os.getpid()}"
    inner = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    before = UNIFIED / inner.lstrip("/")
    try:
        path.mkdir()
        (path / "cgroup.procs").write_text("0")
    except OSError as error:
        pytest.skip(f"no cgroup v2 in which this user may make one: {error}")
    yield path
    (before / "cgroup.procs").write_text("0")
    for left in cgroups.leaves(path, ""):
        wait_for(lambda leaf=left: cgroups.end(leaf), "a leaf ends")  # type: ignore[misc]  # mypy infers no default
    path.rmdir()


def hierarchy(root: Path, *, inner: str = "/unit", top: str = "/") -> tuple[Path, Path]:
    """Write what /proc would say about a cgroup at ROOT/fs/INNER."""
    own = root / "fs" / os.path.relpath(inner, top)
    own.mkdir(parents=True)
    for name in ("cgroup.kill", "cgroup.procs"):
        (own / name).touch()
    (root / "cgroup").write_text(f"4:memory:/elsewhere\n0::{inner}\n")
    (root / "mounts").write_text(
        f"30 29 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        f"31 29 0:27 {top} {root / 'fs'} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
    )
    return root / "cgroup", root / "mounts"


def test_a_cgroup_of_our_own_uid_is_ours_unless_we_are_root(tmp_path: Path) -> None:
    files = hierarchy(tmp_path)
    assert cgroups.ground(*files, uid=(tmp_path / "fs" / "unit").stat().st_uid or 1) == (
        tmp_path / "fs" / "unit" if os.geteuid() else None
    )
    assert cgroups.ground(*files, uid=0) is None


def test_the_top_of_a_containers_hierarchy_is_ours(tmp_path: Path) -> None:
    assert cgroups.ground(*hierarchy(tmp_path, inner="/", top="/"), uid=0) == tmp_path / "fs"


def test_without_cgroup_v2_or_its_kill_nothing_is_ours(tmp_path: Path) -> None:
    """The root of the whole machine has no cgroup.kill: it is nobody's to divide."""
    files = hierarchy(tmp_path, inner="/", top="/")
    (tmp_path / "fs" / "cgroup.kill").unlink()
    assert cgroups.ground(*files, uid=0) is None
    (tmp_path / "cgroup").write_text("4:memory:/elsewhere\n")
    assert cgroups.ground(*files, uid=0) is None
    assert cgroups.ground(tmp_path / "absent", tmp_path / "absent", uid=0) is None


def test_a_cgroup_is_ours_once_it_is_marked_as_delegated(own: Path) -> None:
    """R26: the way systemd marks it; to be root is not enough, since a session's cgroup is not ours."""
    assert cgroups.ground(uid=0) is None
    os.setxattr(own, "user.delegate", b"1")
    assert cgroups.ground(uid=0) == own


def test_who_is_born_in_a_leaf_ends_with_it_and_we_stay_outside(own: Path) -> None:
    """R26: with everything it has started, and the leaves it has made."""
    leaf = own / "leaf"
    script = f"mkdir {leaf}/below && (env -i setsid sleep 600 & ) ; sleep 600"
    with cgroups.inside(leaf):
        child = subprocess.Popen(["sh", "-c", script])
    assert str(os.getpid()) in (own / "cgroup.procs").read_text().split()
    wait_for(lambda: len((leaf / "cgroup.procs").read_text().split()) == 3, "all three are there")
    assert cgroups.leaves(own, "le") == [leaf]
    assert not cgroups.end(leaf)
    wait_for(lambda: cgroups.end(leaf), "it is empty, and gone")
    assert child.wait(10) == -9
    assert not leaf.exists()
    assert cgroups.end(leaf)
    assert cgroups.leaves(own, "le") == []


def test_to_end_a_leaf_in_which_we_are_ourselves_does_not_end_us(own: Path) -> None:
    """A step back that was refused, and a gateway to be killed later."""
    leaf = own / "leaf"
    leaf.mkdir()
    (leaf / "cgroup.procs").write_text("0")
    wait_for(lambda: cgroups.end(leaf), "it is empty, and gone")
    assert str(os.getpid()) in (own / "cgroup.procs").read_text().split()


def test_where_no_leaf_can_be_made_a_child_is_born_beside_us(tmp_path: Path) -> None:
    for leaf in (None, tmp_path / "absent" / "leaf", tmp_path / "no-cgroup"):
        with cgroups.inside(leaf):
            assert subprocess.run(["true"], check=False).returncode == 0
