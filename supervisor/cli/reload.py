"""`clawsup reload`: reads conf.d again and applies what changed, to the gateways it changed for."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.cli import words
from supervisor.control.address import socket_path
from supervisor.control.client import checked, stream
from supervisor.errors import ClawsupError

_DOES = {
    "live": "takes it at once",
    "restart": "restarts",
    "replace": "ends, and begins under its new identity",
    "start": "starts",
    "stop": "stops",
    "broken": "stays as it is: the definition cannot be used",
    "orphaned": "runs on without a definition; reload --prune stops it",
    "forget": "is forgotten",
}


def main(args: argparse.Namespace) -> int:
    """Tell the plan and, without --plan, what came of it; 0 when everything has what is new."""
    ask = {"plan": args.plan, "prune": args.prune, "wait": not args.no_wait}
    ask |= {"force": True} if args.force else {}
    status, lines = stream(socket_path(args.state_dir), "POST", "/v1/reload", ask)
    if status != 200:  # noqa: PLR2004 (HTTP's OK)
        checked(status, b"".join(lines))
    result = _followed(lines, quiet=args.json)
    if args.json:
        json.dump({key: value for key, value in result.items() if key != "done"}, sys.stdout)
        print()
    for name, why in result.get("failed", {}).items():
        words.tell(f"clawsup: {name}: {words.printable(why)}\n  mend: clawsup why {name}")
    if any(change["effect"] == "broken" for change in result["changes"]):
        words.tell("clawsup: a definition cannot be used\n  mend: clawsup check names every fault; then reload again")
    return 0 if result["ok"] else ClawsupError.exit_code


def _followed(lines: Iterator[bytes], *, quiet: bool) -> dict[str, Any]:
    """Tell the plan on stdout and each change on stderr; the plan and the end of it, as one document."""
    result: dict[str, Any] = {}
    told: dict[str, str] = {}
    for line in lines:
        document: dict[str, Any] = json.loads(line)
        if "changes" in document:
            result["changes"] = document["changes"]
            if not quiet:
                _show(document["changes"])
        if "ok" in document:
            return {**result, **document}
        if "gateway" in document:
            words.progress(document, told)
    raise ClawsupError("the supervisor went away during the reload", mend="see clawsup status; then reload again")


def _show(changes: list[Mapping[str, Any]]) -> None:
    told = [change for change in changes if change["effect"] != "none"]
    if not told:
        print("no changes")
    for change in told:
        reason = f" ({words.printable(change['reason'])})" if change["reason"] else ""
        print(f"{change['name']}: {_DOES[change['effect']]}{reason}")
        for one in change["differences"]:
            before, after = words.printable(one["before"]) or "(none)", words.printable(one["after"]) or "(none)"
            print(f"  {one['key']}: {before} -> {after}")
