"""What is done through the supervisor: `config NAME put`, `resolve NAME`, and for an agent `config rollback` and `exec`."""

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from supervisor.cli import words
from supervisor.control.address import socket_path
from supervisor.control.client import checked, stream
from supervisor.errors import ClawsupError, UsageError

_OK = 200


def main(args: argparse.Namespace) -> int:
    """Carry out `resolve`, or a change of a config."""
    if args.verb == "resolve":
        return _told(args, run(args, "resolve", {"note": args.note}), f"{args.name}: noted in its last incident")
    if args.what == "rollback":
        result = run(args, "rollback", {"key": args.hash} if args.hash else {})
    else:
        ask = {"text": _config(args)} | ({"key": args.base} if args.base else {})
        result = run(args, "put", ask)
    return _told(
        args, result, f"{args.name} has the config {str(result['to'])[:8]} now; it had {str(result['from'])[:8]}"
    )


def execute(args: argparse.Namespace, command: list[str]) -> int:
    """Have the supervisor run one of OpenClaw's diagnostics for a gateway; its exit code is ours."""
    return _printed(run(args, "exec", {"words": command}), command)


def tell(args: argparse.Namespace, words: list[str]) -> int:
    """Have the supervisor read out what this user cannot read; the exit code is that of the reading."""
    return _printed(_run(args, "/v1/tell", {"words": words}), words)


def run(args: argparse.Namespace, verb: str, ask: dict[str, Any]) -> dict[str, Any]:
    """Send the errand and wait for its end; what it could not do is raised."""
    return _run(args, f"/v1/gateways/{quote(args.name, safe='')}/{verb}", ask)


def _run(args: argparse.Namespace, path: str, ask: dict[str, Any]) -> dict[str, Any]:
    status, lines = stream(socket_path(args.state_dir), "POST", path, ask)
    if status != _OK:
        checked(status, b"".join(lines))
    result: dict[str, Any] = {}
    for line in lines:
        result = json.loads(line) or result
    if not result.get("done"):
        raise ClawsupError("the supervisor went away before it was done", mend="see clawsup status")
    if not result["ok"]:
        raise ClawsupError(result["error"], mend=result["mend"])
    return {key: value for key, value in result.items() if key not in {"done", "ok"}}


def _printed(result: dict[str, Any], command: list[str]) -> int:
    print(result["output"], end="" if result["output"].endswith("\n") else "\n")
    if result["code"] is None:
        raise ClawsupError(f"{' '.join(command)} took too long, and was ended")
    code: int = result["code"]
    return code if code >= 0 else 128 - code


def _config(args: argparse.Namespace) -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("put what? the whole config is read from stdin", mend=f"clawsup config {args.name} put < FILE")
    text = sys.stdin.buffer.read().decode("utf-8", errors="surrogateescape")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("what came from stdin is not UTF-8 text", mend="nothing was changed") from None
    if not text.strip():
        raise UsageError("nothing came from stdin", mend="nothing was changed")
    return text


def _told(args: argparse.Namespace, result: dict[str, Any], said: str) -> int:
    print(json.dumps({"schema": 1, **result}, indent=2) if args.json else words.printable(said))
    return 0
