"""`clawsup start`, `stop`, `restart` and `repair`: asks the supervisor, tells the progress, waits for the outcome."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.cli import words
from supervisor.control.address import socket_path
from supervisor.control.client import checked, stream
from supervisor.errors import ClawsupError, UsageError


def main(args: argparse.Namespace) -> int:
    """Carry the verb out; 0 when every gateway got where it should."""
    if bool(args.names) == args.all:
        raise UsageError(
            f"{args.verb} which gateways?" if args.all is False else "NAME and --all exclude each other",
            mend=f"clawsup {args.verb} NAME... or clawsup {args.verb} --all",
        )
    ask: dict[str, Any] = {"all": True} if args.all else {"names": args.names}
    ask |= {"wait": not args.no_wait, "at_once": getattr(args, "now", False)}
    ask |= {"force": True} if getattr(args, "force", False) else {}
    status, lines = stream(socket_path(args.state_dir), "POST", f"/v1/{args.verb}", ask)
    result = _followed(lines) if status == 200 else checked(status, b"".join(lines))  # noqa: PLR2004 (HTTP's OK)
    if args.json:
        json.dump({key: value for key, value in result.items() if key != "done"}, sys.stdout)
        print()
    else:
        _show(args.verb, result["gateways"])
    return 0 if result["ok"] else ClawsupError.exit_code


def _followed(lines: Iterator[bytes]) -> dict[str, Any]:
    """Tell each change on stderr; the last line is the result."""
    told: dict[str, str] = {}
    for line in lines:
        document: dict[str, Any] = json.loads(line)
        if document.get("done"):
            return document
        if document:
            words.progress(document, told)
    raise ClawsupError(
        "the supervisor went away before the outcome was known", mend="what was asked stays asked: see clawsup status"
    )


def _show(verb: str, gateways: list[Mapping[str, Any]]) -> None:
    if not gateways:
        print(f"nothing to {verb}")
    for entry in gateways:
        name, state, outcome = entry["name"], entry.get("state", "gone"), entry["outcome"]
        if outcome is None:
            print(f"{name}: {verb} asked, {state} so far")
        elif outcome["ok"]:
            pid = f", pid {entry['pid']}" if entry.get("pid") else ""
            print(f"{name} is {state}{pid}")
        else:
            mend = f"\n  mend: {words.printable(entry['mend'])}" if entry.get("mend") else ""
            words.tell(f"clawsup: cannot {verb} {name}: {words.printable(outcome['why'])}{mend}")
