"""`clawsup up`: from nothing to running gateways, each step shown, nothing done twice; then the supervisor in the foreground."""

import argparse
import fcntl
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from supervisor.cli import words
from supervisor.cli.beginning import begin
from supervisor.cli.front import Front, fork_front, picture
from supervisor.cli.preparing import Workbench, set_up, unset
from supervisor.cli.run import keeper_argv, make_private
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import DefinitionsUnusable, NoSupervisor, SupervisorRunning
from supervisor.host.definitions import Reading, read
from supervisor.host.survey import machine
from supervisor.openclaw import setup
from supervisor.openclaw.config import ConfigFacts


def main(args: argparse.Namespace) -> int:
    """Show the table of a supervisor that runs here already, or become one."""
    socket = socket_path(args.state_dir)
    if not _is_running(args, socket):
        _rise(args, socket)
    return 0


def _rise(args: argparse.Namespace, socket: str) -> NoReturn:
    make_private(args.state_dir)
    if os.geteuid() == 0:
        _tell("warning", "this is root: the gateways and their agents may do anything here. `clawsup install --system`")
        _tell("", 'makes a service of it, and `user = "NAME"` in a definition gives a gateway a user of its own')
    _alone(args.state_dir)
    bench = Workbench.of(args.conf_dir, args.state_dir, os.path.dirname(sys.executable))
    begin(bench, wanted_port=args.port, tell=_tell)
    reading = _read(args.conf_dir)
    _prepared(bench, reading)
    _warn_of_memory(reading)
    _become(args, socket, reading)


def _tell(step: str, what: str) -> None:
    words.tell(f"{step + ':' if step else '':<13} {what}")


def _is_running(args: argparse.Namespace, socket: str) -> bool:
    try:
        document = checked(*request(socket, "GET", "/v1/status"))
    except NoSupervisor:
        return False
    same = os.path.realpath(args.conf_dir) == os.path.realpath(document["supervisor"]["conf_dir"])
    reading = _read(args.conf_dir) if same else None
    print(picture(document, _encrypted(reading) if reading else ()))
    print("the supervisor runs already; everything else: clawsup --help")
    if args.port:
        words.tell(f"--port {args.port} changed nothing: main has its port (clawsup ports)")
    return True


def _alone(state_dir: str) -> None:
    """Keep a second `up` from doing the same things at the same time; the lock ends with this program."""
    descriptor = os.open(os.path.join(state_dir, "up.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SupervisorRunning(
            "another clawsup up is at work here", mend="see how far it comes, or end it, and type this again"
        ) from None


def _read(conf_dir: str) -> Reading:
    reading = read(Path(conf_dir))
    if not reading.roster.definitions:
        raise DefinitionsUnusable(f"{conf_dir}: not one definition can be used", mend="clawsup check")
    return reading


def _prepared(bench: Workbench, reading: Reading) -> None:
    """See that every launcher answers and every profile has a config; what is there is left as it is."""
    asked: set[tuple[str, ...]] = set()
    for definition in reading.roster.definitions:
        if definition.enabled and definition.command not in asked:
            asked.add(definition.command)
            answer = bench.version(definition, reading.environments[definition.name])
            if answer.version is None:
                _tell("warning", f"{' '.join(definition.command)} does not work: {answer.said}")
            else:
                _tell("OpenClaw", f"{answer.version} ({' '.join(definition.command)})")
    names = ", ".join(f"{definition.name} on {definition.port}" for definition in reading.roster.definitions)
    _tell("gateways", f"{names} ({bench.place.conf_dir})")
    for name, _ in reading.roster.broken:
        _tell("warning", f"{name} cannot be used: clawsup check")
    missing = tuple(definition for definition in unset(reading) if definition.enabled)
    if missing:
        _tell("set-up", f"OpenClaw writes a first config for {' and '.join(each.name for each in missing)} (some 10 s)")
        set_up(bench, missing, reading)


def _warn_of_memory(reading: Reading) -> None:
    count = sum(definition.enabled for definition in reading.roster.definitions)
    free = machine.available_bytes()
    if count and free < count * setup.MEMORY_BYTES:
        each = setup.MEMORY_BYTES / 1e9
        _tell("warning", f"{free / 1e9:.1f} GB of memory are free; {count} gateways may take {each:.1f} GB each")


def _become(args: argparse.Namespace, socket: str, reading: Reading) -> NoReturn:
    """Turn into the keeper, as `run` does, with a front beside it."""
    _tell("starting", "the supervisor; a gateway takes some 10 s")
    fork_front(Front(socket, [each.name for each in reading.known], _encrypted(reading)))
    os.execv(sys.executable, keeper_argv(args.conf_dir, args.state_dir))  # noqa: S606 (the keeper is our own)


def _encrypted(reading: Reading) -> Collection[str]:
    return {name for name, facts in reading.configs.items() if isinstance(facts, ConfigFacts) and facts.tls}
