"""Whole chaos runs as a command: fixed seeds hold every invariant, and each deliberately broken build violates its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos import stage
from tests.chaos.mutants import MUTANTS
from tests.e2e.world import REPOSITORY

SEEDS: Mapping[str, tuple[str, ...]] = {
    "11": (),
    "12": (),
    "13": ("--no-disk-full", "--failpoints", "0.0005"),
}
# A run mostly waits: so many at once share two cores well.
AT_ONCE = 2
PATIENCE_S = 400.0


@dataclass(frozen=True, slots=True)
class Ran:
    """A run's exit code and what it printed."""

    code: int
    text: str

    @property
    def violated(self) -> set[str]:
        """The invariants that did not hold."""
        told = [line.removeprefix("VIOLATION") for line in self.text.splitlines() if line.startswith("VIOLATION")]
        return {line.split(maxsplit=1)[1].partition(":")[0] for line in told}


def run(*options: str) -> Ran:
    argv = [sys.executable, "-m", "tests.chaos", *options]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return Ran(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Future[Ran]]]:
    """Every run that a selected test will ask for, begun in the order of the tests."""
    if why := stage.missing():
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(f"CI needs namespaces: {why}")
        pytest.skip(why)
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    wanted = [call.params for call in calls if call is not None]
    seeds = [params["seed"] for params in wanted if "seed" in params]
    names = [params["mutant"] for params in wanted if "mutant" in params]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = {seed: pool.submit(run, "--seed", seed, "--minutes", "1", *SEEDS[seed]) for seed in seeds}
        yield begun | {name: pool.submit(run, "--seed", "1", "--mutant", name) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_minute_of_faults_violates_nothing(runs: Mapping[str, Future[Ran]], seed: str) -> None:
    """R23 to R27: what must be true from outside is true, whatever is killed, stopped, stolen, broken or filled up."""
    ran = runs[seed].result()
    assert (ran.code, ran.violated) == (0, set()), ran.text


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_build_violates_what_its_door_is_there_for(runs: Mapping[str, Future[Ran]], mutant: str) -> None:
    """An invariant that nothing violates would judge nothing."""
    ran = runs[mutant].result()
    assert ran.code == 1, ran.text
    assert ran.violated & MUTANTS[mutant].caught_by, ran.text


def test_without_namespaces_a_run_says_so_and_is_skipped(tmp_path: Path) -> None:
    """Not a failure: there are machines that give nobody any."""
    argv = [sys.executable, "-m", "tests.chaos", "--seed", "1"]
    done = subprocess.run(
        argv, cwd=REPOSITORY, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (77, "skipped: unshare (util-linux) is not installed\n")
