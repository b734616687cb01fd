"""A command typed by a gateway's own agent: the supervisor says first whether that gateway may (control/rights.py).

The environment only tells that it is worth asking; who it is, the supervisor finds out by itself.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from urllib.parse import quote

from supervisor.cli.arguments import VERBS
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import NoSupervisor

# What the socket judges by itself, or what tells nothing about a gateway.
_FREE = frozenset(
    {"status", "start", "stop", "restart", "repair", "reload", "resolve", "exec", "completion", "check", "ports"}
)
_SHOWS = ("history", "show", "diff")
# The gateway's own, what `exec` keeps of it, and what OpenClaw adds for its agent's commands.
SIGNS = ("CLAWSUP_RUN", "CLAWSUP_GATEWAY", "OPENCLAW_SHELL")
_NOBODY = frozenset({"", "operator", "observer"})


def is_inside() -> bool:
    """Whether this process may have grown from a gateway."""
    return any(os.environ.get(sign) for sign in SIGNS)


def ask(args: argparse.Namespace) -> None:
    """Raise what the supervisor has against it; where none runs, there is nobody to ask."""
    verb = args.what if args.verb == "config" else args.verb
    if verb in _FREE or verb not in {*VERBS, *_SHOWS}:
        return
    for name in _names(args):
        _asked(args, verb, name)


def told(args: argparse.Namespace, typed: Sequence[str]) -> int | None:
    """Have the supervisor read out what lies in a state dir that is closed to this user; None where we can read it ourselves.

    `typed` is the whole command line: what comes after the two directories is sent as it is.
    """
    looks = args.verb in {"logs", "why", "events", "incidents"} or getattr(args, "what", "") in _SHOWS
    if not looks or os.access(args.state_dir, os.R_OK | os.X_OK):
        return None
    from supervisor.cli import errand

    rest = list(typed)
    while rest[0] != args.verb:
        del rest[: 1 if "=" in rest[0] else 2]
    return errand.tell(args, rest)


def gateway(args: argparse.Namespace) -> str:
    """Give the gateway below whose process this one grew, as the supervisor sees it; empty for none."""
    caller = _asked(args, "status", "")
    return "" if caller in _NOBODY else caller


def _asked(args: argparse.Namespace, verb: str, name: str) -> str:
    path = "/".join(["/v1/may", quote(verb, safe=""), *([quote(name, safe="")] if name else [])])
    try:
        return str(checked(*request(socket_path(args.state_dir), "GET", path))["caller"])
    except NoSupervisor:
        return ""


def _names(args: argparse.Namespace) -> list[str]:
    if args.verb == "incidents":
        # An incident's name ends in that of its gateway.
        return [args.what[1].partition("-")[2]] if len(args.what) > 1 else args.what or [""]
    if args.verb in {"logs", "why", "config"}:
        return list(getattr(args, "names", None) or [args.name])
    return [""]
