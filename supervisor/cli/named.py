"""The definition that a verb's NAME stands for, and what is true where a gateway has none any more."""

import argparse
import os
from urllib.parse import quote

from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, NoSuchGateway
from supervisor.host.definitions import Reading
from supervisor.policy.definition import Definition


def named(args: argparse.Namespace, reading: Reading) -> Definition:
    """Give it; NoSuchGateway where nobody has that name, or only a gateway whose definition is gone."""
    try:
        return reading.named(args.name)
    except NoSuchGateway as unknown:
        raise _gone(args) or unknown from None


def _gone(args: argparse.Namespace) -> NoSuchGateway | None:
    path = f"/v1/gateways/{quote(args.name, safe='')}"
    try:
        entry = checked(*request(socket_path(args.state_dir), "GET", path))
    except ClawsupError:
        return None
    file = os.path.join(args.conf_dir, f"{args.name}.toml")
    return NoSuchGateway(
        f"the definition of {args.name} is gone ({file} is not there); its gateway is {entry['state']}",
        mend=f"put it back, or stop the gateway; see clawsup status {args.name}",
    )
