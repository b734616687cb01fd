"""Every mutant still fits the product, every invariant has one, and what betrays them all leaves the product alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import stage
from tests.chaos.builds import build
from tests.chaos.mutants import MUTANTS
from tests.chaos.plans import SMALL_FILES
from tests.e2e.world import REPOSITORY


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_applies_to_the_product_as_it_is(tmp_path: Path, name: str) -> None:
    build(tmp_path, [*SMALL_FILES, *MUTANTS[name].edits])


def test_each_invariant_has_a_mutant_of_its_own() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    named = set(re.findall(r'(?:Persisting|_violated|wrong\.append\()\("([a-z ]+)"', sources))
    named |= set(re.findall(r'Violation\(\w+, "([a-z ]+)"', sources))
    assert len(named) > 10
    assert named == {invariant for mutant in MUTANTS.values() for invariant in mutant.caught_by}


@pytest.mark.timeout(900)
def test_the_faults_that_betray_the_mutants_leave_the_product_alone() -> None:
    """Else it would be the faults that violate, and not the broken doors."""
    if why := stage.missing():
        pytest.skip(why)
    argv = [sys.executable, "-m", "tests.chaos", "--seed", "1", "--mutant", "sound"]
    ran = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=800, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
