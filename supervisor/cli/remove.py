"""`clawsup remove NAME`: stops a gateway and takes its definition away; its state dir stays."""

import argparse
import os
import re
from pathlib import Path

from supervisor.cli import operate
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, NoSuchGateway, NoSupervisor
from supervisor.policy.definition import NAME_PATTERN

_ASIDE = ".removed"


def main(args: argparse.Namespace) -> int:
    """Stop it, if it runs, and only then set its definition aside: what has no definition could not be stopped by name."""
    file = Path(args.conf_dir) / f"{args.name}.toml"
    if re.fullmatch(NAME_PATTERN, args.name) is None or not file.exists():
        known = sorted(each.stem for each in Path(args.conf_dir).glob("*.toml") if not each.name.startswith("."))
        raise NoSuchGateway(f"no definition is called {args.name}", mend=f"known: {', '.join(known) or 'none'}")
    running = _is_supervised(args)
    if running and operate.main(_stop(args)) != 0:
        raise ClawsupError(f"{args.name} was not stopped, and so not removed", mend=f"clawsup why {args.name}")
    try:
        os.replace(file, f"{file}{_ASIDE}")
    except OSError as error:
        raise ClawsupError(f"{file}: {error.strerror}", mend="its directory must be writable") from error
    print(f"removed {args.name}: its definition is {file.name}{_ASIDE} now, its state dir is as it was")
    if running:
        print("the running supervisor forgets it with: clawsup reload")
    return 0


def _is_supervised(args: argparse.Namespace) -> bool:
    try:
        document = checked(*request(socket_path(args.state_dir), "GET", "/v1/status"))
    except NoSupervisor:
        return False
    return any(entry["name"] == args.name for entry in document["gateways"])


def _stop(args: argparse.Namespace) -> argparse.Namespace:
    words = {"verb": "stop", "names": [args.name], "all": False, "no_wait": False, "json": False, "now": args.now}
    return argparse.Namespace(state_dir=args.state_dir, **words)
