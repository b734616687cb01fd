"""`clawsup check`: everything that is wrong with the definitions, in one go."""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from supervisor.errors import DefinitionsUnusable
from supervisor.host.definitions import Reading, read
from supervisor.policy.fault import Fault


def main(args: argparse.Namespace) -> int:
    """Print every fault of the definitions in `args.conf_dir`; 78 if there is an error, 0 if there are only warnings or none."""
    reading = read(Path(args.conf_dir))
    errors = any(fault.severity == "error" for fault in reading.faults)
    print(_as_json(args.conf_dir, reading) if args.json else _as_text(reading))
    return DefinitionsUnusable.exit_code if errors else 0


def _as_text(reading: Reading) -> str:
    errors = _unlike(fault for fault in reading.faults if fault.severity == "error")
    warnings = _unlike(fault for fault in reading.faults if fault.severity == "warning")
    blocks = [_block(heading, faults) for heading, faults in (("errors", errors), ("warnings", warnings)) if faults]
    broken = {name for name, _ in reading.roster.broken}
    names = sorted({definition.name for definition in reading.roster.definitions} | broken)
    gateways = ", ".join(f"{name} {'unusable' if name in broken else 'ok'}" for name in names)
    counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    return "\n\n".join([*blocks, f"{counts}: {gateways}" if gateways else counts])


def _unlike(faults: Iterable[Fault]) -> list[Fault]:
    """Each text once: a broken env_file of [defaults] is a fault of every gateway, and one line to be mended."""
    return list({str(fault): fault for fault in faults}.values())


def _block(heading: str, faults: Iterable[Fault]) -> str:
    return "\n".join([f"{heading}:", *(f"{fault}\n    mend: {fault.mend}" for fault in faults)])


def _count(faults: list[Fault], word: str) -> str:
    return f"{len(faults)} {word}" if len(faults) == 1 else f"{len(faults)} {word}s"


def _as_json(conf_dir: Path, reading: Reading) -> str:
    broken = dict(reading.roster.broken)
    known = {definition.name: definition for definition in reading.known}
    return json.dumps(
        {
            "schema": 1,
            "conf_dir": str(conf_dir),
            "faults": [
                {
                    "file": fault.file,
                    "line": fault.line,
                    "key": fault.key,
                    "severity": fault.severity,
                    "text": fault.text,
                    "mend": fault.mend,
                    "gateways": list(fault.names),
                }
                for fault in reading.faults
            ],
            "gateways": [
                {
                    "name": name,
                    "role": known[name].role if name in known else None,
                    "port": known[name].port if name in known else None,
                    "usable": name not in broken,
                    "reason": broken[name].reason if name in broken else None,
                }
                for name in sorted(known.keys() | broken.keys())
            ],
        },
        indent=2,
    )
