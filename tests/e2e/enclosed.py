"""A supervisor whose state directory is a small disk of its own, in a mount namespace that outlives it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, World

SIZE_KIB = 512


class Enclosed(Supervisor):
    """Its state directory is a tmpfs that only it, and what is run by `within`, can see at the usual path.

    From outside, files are read through the namespace's holder.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._seen_inside = self.state_dir
        self.state_dir.mkdir(mode=0o700)
        as_user = [] if os.geteuid() == 0 else ["--map-root-user"]
        mount = f'mount -t tmpfs -o size={SIZE_KIB}k,mode=700 none "$0" && echo ready && exec sleep 600'
        self._holder = subprocess.Popen(
            ["unshare", "--mount", *as_user, "sh", "-c", mount, str(self.state_dir)], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        with self._holder.stdout as said:
            is_ready = said.readline() == b"ready\n"
        if not is_ready:
            self._holder.wait()
            pytest.skip("no mount namespace to be had here: it needs root, or user namespaces")
        self.state_dir = Path(f"/proc/{self._holder.pid}/root{self._seen_inside}")

    def argv(self, *words: str) -> list[str]:
        """Give the command line of a verb inside."""
        inside = [word.replace(str(self.state_dir), str(self._seen_inside)) for word in super().argv(*words)]
        return [*self._entry(), *inside]

    def within(self, script: str) -> None:
        """Run a shell script inside; `$s` is the state directory."""
        subprocess.run([*self._entry(), "sh", "-ec", f's="{self._seen_inside}"; {script}'], check=True)

    def close(self) -> None:
        """Let the disk go."""
        self._holder.kill()
        self._holder.wait()

    def _entry(self) -> list[str]:
        as_user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self._holder.pid), "--mount", *as_user, f"--wd={REPOSITORY}"]


@contextmanager
def enclosed(world: World) -> Iterator[Enclosed]:
    """One, stopped in order at the end."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("unshare(1) and nsenter(1) are not here")
    supervisor = Enclosed(world)
    try:
        yield supervisor
    finally:
        if supervisor.process is not None:
            supervisor.stop()
        supervisor.close()
