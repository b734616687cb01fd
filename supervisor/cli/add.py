"""`clawsup add NAME`: one more definition, on the next free base, with its profile set up if that is asked for."""

import argparse
import os
import re
import sys
from pathlib import Path

from supervisor.cli import whose
from supervisor.cli.preparing import Workbench, set_up, unset
from supervisor.cli.writing import bases_taken, free_port, write_all
from supervisor.control.address import socket_path
from supervisor.control.client import request
from supervisor.errors import ClawsupError, DefinitionsUnusable, NoSupervisor, UsageError
from supervisor.host.definitions import Reading, read
from supervisor.host.survey.profiles import profiles
from supervisor.openclaw import paths
from supervisor.policy.definition import NAME_PATTERN
from supervisor.policy.proposal import MAIN_BASE, Proposal

_STEP = 1000


def main(args: argparse.Namespace) -> int:
    """Write NAME.toml; nothing is started, and what runs is left as it is."""
    if re.fullmatch(NAME_PATTERN, args.name) is None:
        raise UsageError(f"{args.name} is no gateway's name", mend="a-z, 0-9 and -, first no -, at most 32")
    if args.profile is not None and not paths.is_profile(args.profile):
        raise UsageError(f"{args.profile} is no profile of OpenClaw", mend=paths.PROFILE_RULE)
    conf_dir = Path(args.conf_dir)
    file = conf_dir / f"{args.name}.toml"
    if not file.exists():
        home = whose.account(args.state_dir).pw_dir
        write_all(conf_dir, [_proposal(args, _reading(conf_dir), home)])
        print(f"added {args.name}: {file}")
    elif not args.setup or args.port or args.profile:
        raise ClawsupError(f"{file} is there already", mend="choose another name, or edit it")
    whose.become(args.state_dir)  # conf.d may be root's, but not the profile
    reading = read(conf_dir)
    definition = next((each for each in reading.known if each.name == args.name), None)
    if definition is None:
        raise DefinitionsUnusable(f"{file} cannot be used", mend="clawsup check")
    if args.setup and definition in unset(reading):
        set_up(Workbench.of(args.conf_dir, args.state_dir, os.path.dirname(sys.executable)), [definition], reading)
        print(f"set up: {definition.config_path}")
    elif definition in unset(reading):
        print(f"it has no config yet; OpenClaw writes a first one with: clawsup add {args.name} --setup")
    print(f"port {definition.port}; {_start_with(args)}")
    return 0


def _reading(conf_dir: Path) -> Reading | None:
    try:
        return read(conf_dir)
    except DefinitionsUnusable:
        return None


def _proposal(args: argparse.Namespace, reading: Reading | None, home: str) -> Proposal:
    known = reading.known if reading else ()
    found = profiles(home)
    named = args.profile or args.name
    own = next((each for each in found if each.name.lower() == named.lower()), None)
    bases = [definition.port for definition in known]
    port = args.port or (own.port if own else free_port(_next(bases), bases_taken(bases, found)))
    mains = sorted(known, key=lambda definition: definition.role != "main")
    command = mains[0].command if mains and mains[0].command != ("openclaw",) else None
    return Proposal(args.name, args.role, port, args.profile, command)


def _next(bases: list[int]) -> int:
    return max(bases) + _STEP if bases else MAIN_BASE


def _start_with(args: argparse.Namespace) -> str:
    try:
        request(socket_path(args.state_dir), "GET", "/v1/status")
    except NoSupervisor:
        return "it starts with the supervisor: clawsup up"
    except ClawsupError:
        pass  # one that does not answer just now is there all the same
    return "the running supervisor takes it with: clawsup reload"
