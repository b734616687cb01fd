"""`clawsup status`: what is up, since when, on which port, how often restarted, why not, and what happens next."""

from __future__ import annotations

import argparse
import json

from supervisor.control.address import socket_path
from supervisor.control.client import checked, request

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import Any

_UP, _DEGRADED = "ready", "degraded"
_EXIT_DOWN, _EXIT_DEGRADED = 3, 5


def main(args: argparse.Namespace) -> int:
    """Show all gateways, or the whole story of some; the exit code tells how those are that were asked for."""
    if args.watch:
        from supervisor.cli.watch import watch

        watch(lambda: rendered(args, asked(args)))
    document = asked(args)
    print(rendered(args, document))
    return verdict(document)


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """Get the document of INTERFACE.md §5; of gateways that are named, the whole story."""
    socket = socket_path(args.state_dir)
    document = checked(*request(socket, "GET", "/v1/status"))
    if args.names:
        from urllib.parse import quote

        paths = [f"/v1/gateways/{quote(name, safe='')}" for name in dict.fromkeys(args.names)]
        document["gateways"] = [checked(*request(socket, "GET", path)) for path in paths]
    return document


def rendered(args: argparse.Namespace, document: dict[str, Any]) -> str:
    """Give what is printed of it."""
    if args.json:
        return json.dumps(document)
    if args.names:
        from supervisor.cli.story import story

        return "\n\n".join(story(entry) for entry in document["gateways"])
    from supervisor.cli.table import table

    return table(document)


def verdict(document: dict[str, Any]) -> int:
    """Give the exit code of INTERFACE.md §3: 0 all wanted ready, 3 something wanted is down, 5 degraded."""
    states = {entry["state"] for entry in document["gateways"] if entry["wanted"]}
    if states - {_UP, _DEGRADED}:
        return _EXIT_DOWN
    return _EXIT_DEGRADED if _DEGRADED in states or document["supervisor"].get("degraded") else 0
