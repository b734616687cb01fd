"""`clawsup logs NAME`: what a gateway printed; read from its log file, so that it works without a supervisor too."""

import argparse
import os
import re
from pathlib import Path

from supervisor.errors import ClawsupError, NoSuchGateway
from supervisor.host.logs.reading import follow, tail
from supervisor.policy.definition import NAME_PATTERN


def main(args: argparse.Namespace) -> int:
    """Print the last lines, and with --follow each that comes."""
    logs = Path(args.state_dir) / "logs"
    if not _known(args.name, logs, Path(args.conf_dir)):
        known = sorted({*_stems(logs, ".log"), *_stems(Path(args.conf_dir), ".toml")})
        raise NoSuchGateway(f"no gateway is called {args.name}", mend=f"known: {', '.join(known) or 'none'}")
    file = logs / f"{args.name}.log"
    if file.exists() and not os.access(file, os.R_OK):
        raise ClawsupError(
            f"{file}: this user may not read it", mend="ask as the user the supervisor runs as, or as root"
        )
    if args.follow:
        for line in follow(file, lines=args.lines):
            print(line, flush=True)
    for line in tail(file, args.lines):
        print(line)
    return 0


def _known(name: str, logs: Path, conf_dir: Path) -> bool:
    if re.fullmatch(NAME_PATTERN, name) is None:
        return False
    return (logs / f"{name}.log").exists() or (conf_dir / f"{name}.toml").exists()


def _stems(directory: Path, suffix: str) -> list[str]:
    try:
        return [file.stem for file in directory.iterdir() if file.suffix == suffix and not file.name.startswith(".")]
    except OSError:
        return []
