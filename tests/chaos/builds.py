"""Copies of the product with something changed, a door broken on purpose or failpoints compiled in, and how to run them."""

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import supervisor
from tests.chaos.failpoints import FUNCTIONS, Failpoints, Parts, compile_in
from tests.e2e.supervised import Supervisor
from tests.e2e.world import World

PACKAGE = Path(supervisor.__file__ or "").parent

# The isolated interpreter knows the installed package too: the copy has to come before it.
_FROM_COPY = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('supervisor.brain', run_name='__main__')"
)


class NoLongerFitsError(AssertionError):
    """An edit whose `old` does not occur exactly once in the product as it is now."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement in one file, which is named from the package on: `host/locks.py`."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Make the replacement; NoLongerFitsError, with the edit in it, where that cannot be."""
        path = package / self.file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if (count := text.count(self.old)) != 1:
            raise NoLongerFitsError(f"{self.file} has {count} times, not once:\n{self.old}")
        rewrite(path, text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Build:
    """A package `supervisor` below `root`; `env` is what its keeper's environment needs beyond that of any other.

    `points` are the names of its failpoints.
    """

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    points: tuple[str, ...] = ()

    def keeper_argv(self, conf_dir: os.PathLike[str] | str, state_dir: os.PathLike[str] | str) -> list[str]:
        """Give the command line of its keeper, with its brain's behind it; the state dir must be there, 0700."""
        keeper = [sys.executable, "-I", str(self.root / "supervisor" / "keeper.py"), str(state_dir), "--"]
        brain = [sys.executable, "-I", "-c", _FROM_COPY, str(self.root)]
        return [*keeper, *brain, "--conf-dir", str(conf_dir), "--state-dir", str(state_dir)]


class Built(Supervisor):
    """A supervisor whose keeper and brains run from a build."""

    def __init__(self, world: World, made: Build, state_dir: Path | None = None) -> None:
        super().__init__(world, state_dir, made.env)
        self.made = made

    def start(self, output: IO[bytes] | int | None = None) -> "Built":
        """Start the keeper; output goes to the errors file unless given."""
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                self.made.keeper_argv(self.world.conf_dir, self.state_dir),
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=errors if output is None else output,
                stderr=errors if output is None else output,
            )
        return self


def build(
    directory: Path, edits: Iterable[Edit] = (), failpoints: Failpoints | None = None, parts: Parts = FUNCTIONS
) -> Build:
    """Copy the product to `directory`/supervisor, edit the copy, then compile failpoints into `parts`, where they are wanted."""
    package = directory / "supervisor"
    shutil.copytree(PACKAGE, package)
    for edit in edits:
        edit.apply(package)
    if failpoints is None:
        return Build(directory)
    sources, points = compile_in(package, parts)
    for path, source in sources.items():
        rewrite(path, source)
    return Build(directory, failpoints.env, points)


def rewrite(path: Path, source: str) -> None:
    """Replace a module of a copy, its bytecode as well: a module of the same second and size would pass for the old one."""
    path.write_text(source, encoding="utf-8")
    Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
    py_compile.compile(str(path), doraise=True)
