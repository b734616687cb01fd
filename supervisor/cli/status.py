"""`clawsup status`: what is up, since when, on which port, how often restarted, why not, and what happens next."""

from __future__ import annotations

import argparse
import json
import sys

from supervisor.control.address import socket_path
from supervisor.control.client import checked, request

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import Any

_UP, _DEGRADED = "ready", "degraded"
_EXIT_DOWN, _EXIT_DEGRADED = 3, 5


def main(args: argparse.Namespace) -> int:
    """Show all gateways, or the whole story of some; the exit code tells how those are that were asked for."""
    socket = socket_path(args.state_dir)
    document = checked(*request(socket, "GET", "/v1/status"))
    if args.names:
        from urllib.parse import quote

        paths = [f"/v1/gateways/{quote(name, safe='')}" for name in dict.fromkeys(args.names)]
        document["gateways"] = [checked(*request(socket, "GET", path)) for path in paths]
    if args.json:
        json.dump(document, sys.stdout)
        print()
    elif args.names:
        from supervisor.cli.story import story

        print("\n\n".join(story(entry) for entry in document["gateways"]))
    else:
        from supervisor.cli.table import table

        print(table(document))
    return verdict(document)


def verdict(document: dict[str, Any]) -> int:
    """Give the exit code of INTERFACE.md §3: 0 all wanted ready, 3 something wanted is down, 5 degraded."""
    states = {entry["state"] for entry in document["gateways"] if entry["wanted"]}
    if states - {_UP, _DEGRADED}:
        return _EXIT_DOWN
    return _EXIT_DEGRADED if _DEGRADED in states or document["supervisor"].get("degraded") else 0
