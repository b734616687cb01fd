"""What a new definition says: the base port it is given, and its text with what else it could say."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from supervisor.openclaw.ports import HIGHEST, Family, shared
from supervisor.policy.definition import Role

MAIN_BASE: Final = 18789
RESCUE_BASE: Final = 19789
# A full family is 111 ports; a base further on by one of these, no port that OpenClaw ever derives is another gateway's (R10).
_FAR, _NEAR = 1000, 120

_PURPOSE: Final = {
    "main": "the gateway you talk to every day",
    "rescue": "a second gateway that shares nothing with main and is kept up so that it can repair main",
    "extra": "one more gateway",
}

_MORE: Final = """
# What else can be said here, with the defaults. Durations are in seconds; README.md tells about all keys.
# enabled = true                  # false: known and checked, but not started
# workspace = "~/work/{name}"     # default: what OpenClaw's config file says
# env_file = "{name}.env"         # KEY=VALUE lines for secrets, beside this file, mode 0600
# cdp_ports = 9                   # ports kept for Chrome from base + 11 on, one a managed browser profile
# [env]
# TZ = "Europe/Berlin"
# [stop]
# timeout = 330                   # from SIGTERM to SIGKILL; OpenClaw finishes running work for up to 315 s
"""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A definition that nobody has written yet; `profile` and `command` are None where the default is meant."""

    name: str
    role: Role
    port: int
    profile: str | None = None
    command: tuple[str, ...] | None = None


def text(proposal: Proposal) -> str:
    """The file: what is set, and as comments what could be."""
    lines = [
        f"# {proposal.name}: {_PURPOSE[proposal.role]}. The file's name is the gateway's name.",
        "# `clawsup check` tells what is wrong in here and starts nothing; `clawsup reload` applies what was changed.",
        "",
        f"port = {proposal.port}".ljust(34)
        + "# the base port: OpenClaw derives its other ports from it (`clawsup ports`)",
        f'role = "{proposal.role}"'.ljust(34) + '# "main", "rescue" (at most one) or "extra"',
    ]
    if proposal.profile is not None:
        where = "~/.openclaw, without --profile" if proposal.profile == "default" else f"~/.openclaw-{proposal.profile}"
        lines.append(f'profile = "{proposal.profile}"'.ljust(34) + f"# OpenClaw's own: {where}")
    if proposal.command is not None:
        lines.append(f"command = {json.dumps(list(proposal.command))}")
    return "\n".join(lines) + "\n" + _MORE.format(name=proposal.name)


def free_base(wanted: int, taken: Iterable[range], *, highest: int, busy: Callable[[int], bool]) -> int | None:
    """The wanted base, else the next legal one; None when there is none.

    Legal is a base whose whole range up to base+110 meets no range of `taken` and stays at or below `highest`; `busy` tells
    a base whose own ports are in use.
    """
    spans = tuple(taken)
    for base in _bases(wanted, highest):
        full = Family(base, 0).full
        if full.stop - 1 <= min(highest, HIGHEST) and not any(shared(full, span) for span in spans) and not busy(base):
            return base
    return None


def _bases(wanted: int, highest: int) -> Iterator[int]:
    yield from range(wanted, highest, _FAR)
    yield from range(wanted, highest, _NEAR)
    yield from range(wanted % _NEAR + 1024, wanted, _NEAR)
