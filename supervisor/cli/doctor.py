"""`clawsup doctor`: what a careful friend would look at on this host, each with its mend; nothing is changed."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from supervisor.cli import words
from supervisor.cli.examination import examine
from supervisor.cli.finding import Finding
from supervisor.errors import ClawsupError

_DEGRADED = 5
_STATES = {"ok": "ready", "warning": "degraded", "error": "failed"}


def main(args: argparse.Namespace) -> int:
    """Print every finding; 0 when all is well, 5 with a warning, 1 with an error."""
    findings = examine(args.conf_dir, args.state_dir)
    if args.json:
        print(json.dumps({"schema": 1, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        for finding in findings:
            print(_line(finding))
        print(_sum(findings))
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return ClawsupError.exit_code
    return _DEGRADED if "warning" in severities else 0


def _line(finding: Finding) -> str:
    severity = words.coloured(_STATES[finding.severity], f"{finding.severity:<7}")
    line = f"{severity}  {finding.about:<12} {words.printable(finding.text)}"
    return f"{line}\n{'':<22} mend: {words.printable(finding.mend)}" if finding.mend else line


def _sum(findings: Sequence[Finding]) -> str:
    counts = [(sum(each.severity == kind for each in findings), kind) for kind in ("error", "warning")]
    told = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for count, kind in counts)
    return f"{told}, {len(findings)} checks"
