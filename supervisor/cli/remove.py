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
_TOUCHED = frozenset({"live", "restart", "replace", "start", "stop"})


def main(args: argparse.Namespace) -> int:
    """Stop it, if it runs, and only then set its definition aside: what has no definition could not be stopped by name."""
    file = Path(args.conf_dir) / f"{args.name}.toml"
    if re.fullmatch(NAME_PATTERN, args.name) is None or not file.exists():
        known = sorted(each.stem for each in Path(args.conf_dir).glob("*.toml") if not each.name.startswith("."))
        raise NoSuchGateway(f"no definition is called {args.name}", mend=f"known: {', '.join(known) or 'none'}")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise ClawsupError(
            f"{file.parent}: this user may not change it; {args.name} was left as it is",
            mend="type this as the one it belongs to, or as root; where its disk is read-only, mount it writable",
        )
    running = _is_supervised(args)
    if running and operate.main(_stop(args)) != 0:
        raise ClawsupError(f"{args.name} was not stopped, and so not removed", mend=f"clawsup why {args.name}")
    try:
        os.replace(file, f"{file}{_ASIDE}")
    except OSError as error:
        mend = f"clawsup start {args.name} brings it back" if running else "see what is there"
        raise ClawsupError(f"{file}: {error.strerror}; its definition is still there", mend=mend) from error
    print(f"removed {args.name}: its definition is {file.name}{_ASIDE} now, its state dir is as it was")
    if running:
        _forget(args)
    return 0


def _forget(args: argparse.Namespace) -> None:
    """Reload for this one gateway; what else was edited meanwhile is not ours to put into effect."""
    socket = socket_path(args.state_dir)
    try:
        changes = checked(*request(socket, "POST", "/v1/reload", {"plan": True}))["changes"]
        others = [each["name"] for each in changes if each["effect"] in _TOUCHED and each["name"] != args.name]
        if not others:
            request(socket, "POST", "/v1/reload", {})
            return
        why = f"that changes {', '.join(others)} too: clawsup reload --plan"
    except ClawsupError as refused:
        why = refused.what
    print(f"status shows it until the next clawsup reload ({why})")


def _is_supervised(args: argparse.Namespace) -> bool:
    try:
        document = checked(*request(socket_path(args.state_dir), "GET", "/v1/status"))
    except NoSupervisor:
        return False
    return any(entry["name"] == args.name for entry in document["gateways"])


def _stop(args: argparse.Namespace) -> argparse.Namespace:
    words = {"verb": "stop", "names": [args.name], "all": False, "no_wait": False, "json": False, "now": args.now}
    return argparse.Namespace(state_dir=args.state_dir, **words)
