"""`clawsup ports`: the port family of every gateway."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from supervisor.host.definitions import Reading, read
from supervisor.openclaw.ports import Family

_HEADINGS = ("GATEWAY", "BASE", "CONTROL", "CANVAS", "RELAY", "CDP", "")


def main(args: argparse.Namespace) -> int:
    """Print who is given which ports by the definitions in `args.conf_dir`; whether they are free is not asked."""
    reading = read(Path(args.conf_dir))
    print(_as_json(reading) if args.json else _as_table(_rows(reading)))
    return 0


def _rows(reading: Reading) -> list[tuple[str, ...]]:
    """One row a gateway; one whose file cannot be read has no ports to show."""
    broken = {name for name, _ in reading.roster.broken}
    families = _families(reading)
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for name in sorted(families.keys() | broken):
        note = "see clawsup check" if name in broken else ""
        if name not in families:
            rows.append((name, "-", "-", "-", "-", "-", note))
            continue
        family = families[name]
        numbers = (str(port) for port in (family.base, family.control, family.canvas))
        rows.append((name, *numbers, _range(family.relay), _range(family.cdp), note))
    return rows


def _families(reading: Reading) -> dict[str, Family]:
    return {definition.name: Family(definition.port, definition.cdp_ports) for definition in reading.known}


def _range(ports: range) -> str:
    return f"{ports.start}-{ports.stop - 1}" if ports else "-"


def _as_table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _as_json(reading: Reading) -> str:
    broken = {name for name, _ in reading.roster.broken}
    families = _families(reading)
    gateways = [
        {
            "name": name,
            "usable": name not in broken,
            "base": family.base if family else None,
            "control": family.control if family else None,
            "canvas": family.canvas if family else None,
            "relay": _bounds(family.relay) if family else None,
            "cdp": _bounds(family.cdp) if family else None,
        }
        for name in sorted(families.keys() | broken)
        for family in [families.get(name)]
    ]
    return json.dumps({"schema": 1, "gateways": gateways}, indent=2)


def _bounds(ports: range) -> list[int] | None:
    """First and last port, both included; None for no port at all."""
    return [ports.start, ports.stop - 1] if ports else None
