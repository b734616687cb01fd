"""`python -m tests.chaos --seed N --minutes M`: faults from outside, invariants from outside, in namespaces of its own."""

import argparse
import sys
from pathlib import Path

from tests.chaos import mutants, stage
from tests.chaos.driver import Run
from tests.chaos.plans import Plan

SKIPPED = 77


def main() -> int:
    """0 without violations, 1 with, 77 where it cannot be run."""
    options = _parser().parse_args()
    if not stage.is_inside():
        if why := stage.missing():
            sys.stderr.write(f"skipped: {why}\n")
            return SKIPPED
        stage.enter()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream, unless somebody replaced it
    mutant = mutants.BUILDS[options.mutant] if options.mutant else None
    plan = Plan(
        seed=options.seed,
        minutes=options.minutes,
        gateways=mutant.gateways if mutant else options.gateways,
        disk_full=options.disk_full,
        failpoints=options.failpoints,
        edits=mutant.edits if mutant else (),
        only=options.only,
        gap_s=options.gap,
        script=mutant.script if mutant else (),
        until=mutant.caught_by if mutant else frozenset(),
        keep=options.keep,
    )
    report = Run(plan).run()
    for line in report.lines():
        print(line)  # noqa: T201 (a command prints)
    return 1 if report.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, required=True, help="says which faults come when")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults come (default 1)")
    parser.add_argument("--gateways", type=int, default=4, help="how many, the rescue among them (default 4)")
    parser.add_argument(
        "--no-disk-full", dest="disk_full", action="store_false", help="fill no disk: logs must be exact"
    )
    parser.add_argument(
        "--failpoints", type=float, default=0.0, metavar="P", help="a brain dies at each with this chance"
    )
    parser.add_argument(
        "--mutant", choices=sorted(mutants.BUILDS), help="run this broken build, under the faults that show it"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="KIND", help="no other kinds of faults; repeatable"
    )
    parser.add_argument("--gap", type=float, default=0.7, metavar="S", help="seconds between two faults (default 0.7)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy what is left of the run there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
