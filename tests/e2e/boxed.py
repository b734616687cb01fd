"""A `clawsup` installed as a unit inside a box, asked and counted from outside."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.supervised import Supervisor, gone
from tests.e2e.world import REPOSITORY, Gateway, World, kill
from tests.systemd_box import Box

UNIT = "openclaw-supervisor.service"
CLAWSUP = str(Path(sys.executable).parent / "clawsup")
USERS: Mapping[str, tuple[int, int]] = {"alice": (4201, 4201), "bob": (4202, 4202)}
READABLE = (REPOSITORY, Path(sys.prefix), Path(sys.executable).resolve().parent.parent)


class Installed(Supervisor):
    """One world's supervisor under the box's systemd, or under that of `session`; status and events are read from outside."""

    def __init__(self, box: Box, world: World, *, session: str | None = None) -> None:
        super().__init__(world)
        self.box = box
        self.session = session

    def command(self, *words: str, state_dir: str = "") -> tuple[str, ...]:
        """The clawsup command of this world, as it is typed inside."""
        places = ("--conf-dir", str(self.world.conf_dir), "--state-dir", state_dir or str(self.state_dir))
        return (CLAWSUP, *places, *words)

    def type(self, *words: str, as_user: str | None = None, **env: str) -> "subprocess.CompletedProcess[str]":
        """Type a clawsup command inside the box."""
        return self.box.run(*self.command(*words), user=as_user or self.session, env=env)

    def systemctl(self, *words: str) -> str:
        """Give the unit's systemd an order that must succeed."""
        return self.box.done("systemctl", *(["--user"] if self.session else []), *words, user=self.session)

    def property(self, name: str, unit: str = UNIT) -> str:
        """One property of the unit."""
        return self.box.property(unit, name, user=self.session)

    def unit_pids(self) -> set[int]:
        """All processes in the unit's cgroup, by their numbers outside."""
        return self.box.pids(UNIT)

    def outside(self, pid: int) -> int:
        """The number outside of a pid that the supervisor names."""
        found = self.box.seen(pid)
        assert found, f"the box has no process {pid}"
        return found

    def keeper(self) -> int:
        """The unit's main process, by its number outside."""
        return self.outside(int(self.property("MainPID")))

    def brain(self) -> int:
        """The brain, by its number outside."""
        return self.outside(self.status()["supervisor"]["pid"])

    def replace_brain(self) -> None:
        """SIGKILL the brain and wait until another one answers; the pid that it is called inside is another process here."""
        old = self.brain()
        kill(old)
        self.wait_for(lambda: gone(old) and self.status(), "a new brain")

    def pids_of_gateways(self) -> dict[str, int]:
        """Gateways by name, by the numbers that the box knows them under."""
        return {entry["name"]: entry["pid"] for entry in self.status()["gateways"]}

    def story(self) -> str:
        """As of any supervisor, and what the unit has said."""
        return f"{super().story()}\n{self.box.journal(UNIT, user=self.session)}"


def define(world: World, name: str, owner: str = "alice", **keys: Any) -> Gateway:
    """A definition whose directories are named, so that they are the same for every user, and belong to `owner`.

    A test kills it as often as it likes: it has no limit of unclean boots.
    """
    keys.setdefault("sections", {"restart": {"burst": 0}})
    state_dir = world.home / f".openclaw-{name}"
    gateway = world.define(
        name, profile=name, state_dir=str(state_dir), config_path=str(state_dir / "openclaw.json"), **keys
    )
    own(state_dir, USERS[owner])
    return gateway


def own(directory: Path, owner: tuple[int, int]) -> None:
    """Give a directory and everything in it away."""
    for path in below(directory):
        os.chown(path, *owner, follow_symlinks=False)


def below(directory: Path) -> Iterator[Path]:
    """A directory and everything in it."""
    yield directory
    yield from directory.rglob("*")
