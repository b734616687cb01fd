"""`clawsup runtime`: the OpenClaw installations of our own, and who uses them."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from supervisor.cli.logs import readable
from supervisor.cli.run import make_private
from supervisor.errors import ClawsupError, DefinitionsUnusable, UsageError
from supervisor.host import runtimes
from supervisor.host.definitions import read
from supervisor.host.runtimes import Refused, Runtime
from supervisor.host.survey import profiles as survey
from supervisor.openclaw import setup

_WIDTH = 24


def main(args: argparse.Namespace) -> int:
    """List, add or take away; what a gateway uses is never taken away."""
    readable(Path(args.state_dir) / "runtimes")
    match args.what:
        case "install":
            version = args.version or setup.VERSION
            _refuse_other_than_versions(version)
            make_private(args.state_dir)
            runtime = install(args.state_dir, version)
            print(
                f'OpenClaw {runtime.version} is installed; a gateway uses it with\n  command = ["{runtime.launcher}"]'
            )
        case "remove":
            if args.version is None:
                raise UsageError("remove which?", mend="clawsup runtime list")
            _refuse_other_than_versions(args.version)
            _remove(args)
        case _:
            _list(args)
    return 0


def _refuse_other_than_versions(text: str) -> None:
    """What lies beside the installations is not for taking away: the Node that they share, or a path that leads elsewhere."""
    if not setup.is_version(text):
        raise UsageError(f"{text} is no version of OpenClaw", mend=f"such as {setup.VERSION}")


def install(state_dir: str | Path, version: str) -> Runtime:
    """Give an installation, made now with its progress shown where there is none; ClawsupError when it cannot be had."""
    bar = _Bar()
    try:
        found = runtimes.install(Path(state_dir) / "runtimes", version, progress=bar.show)
    finally:
        bar.end()
    if isinstance(found, Refused):
        raise ClawsupError(found.why, mend=found.mend)
    return found


def _list(args: argparse.Namespace) -> None:
    found = runtimes.installed(Path(args.state_dir) / "runtimes")
    users = _users(args, {runtime.version: runtime.launcher for runtime in found})
    if args.json:
        entries = [
            {"version": each.version, "launcher": each.launcher, "node": each.node, "gateways": users[each.version]}
            for each in found
        ]
        print(json.dumps({"schema": 1, "runtimes": entries}, indent=2))
        return
    for each in found:
        used = ", ".join(users[each.version]) or f"nobody: clawsup runtime remove {each.version}"
        print(f"OpenClaw {each.version}  used by {used}\n  {each.launcher}\n  node: {each.node}")
    if not found:
        print("none: the gateways use an OpenClaw that clawsup did not install")


def _remove(args: argparse.Namespace) -> None:
    launchers = {each.version: each.launcher for each in runtimes.installed(Path(args.state_dir) / "runtimes")}
    if used := _users(args, launchers).get(args.version):
        raise ClawsupError(
            f"OpenClaw {args.version} is used by {', '.join(used)}",
            mend="give them another `command`, clawsup reload, then remove it",
        )
    refused = runtimes.remove(Path(args.state_dir) / "runtimes", args.version)
    if refused:
        raise ClawsupError(refused.why, mend=refused.mend)
    print(f"OpenClaw {args.version} is removed")


def _users(args: argparse.Namespace, launchers: Mapping[str, str]) -> dict[str, list[str]]:
    """Who uses each version: gateways whose definition names it, and processes that run it, whatever the definition says now."""
    try:
        definitions = read(Path(args.conf_dir)).known
    except DefinitionsUnusable:
        definitions = ()
    running = survey.gateways()
    users: dict[str, list[str]] = {}
    for version, launcher in launchers.items():
        named = [each.name for each in definitions if _same(each.command[0], launcher)]
        pids = [each.pid for each in running if _same(each.launcher_dir, os.path.dirname(launcher))]
        users[version] = named or [f"pid {pid}" for pid in pids]
    return users


def _same(one: str, other: str) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


class _Bar:
    """One line that grows on a terminal; elsewhere one line for each thing that is begun."""

    def __init__(self) -> None:
        self._what = ""
        self._drawn = ""
        self._began = time.monotonic()

    def show(self, what: str, done: float | None) -> None:
        """Draw how far `what` has come."""
        if what != self._what:
            self.end()
            self._what, self._began = what, time.monotonic()
            if not sys.stderr.isatty():
                print(f"{'installing:':<13} {what}", file=sys.stderr, flush=True)
        filled = int((done or 0) * _WIDTH)
        bar = "..." if done is None else f"[{'#' * filled}{'.' * (_WIDTH - filled)}]"
        line = f"\r{'installing:':<13} {what} {bar}"
        if sys.stderr.isatty() and line != self._drawn:
            self._drawn = line
            print(line, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Close the line with the time that it took."""
        if self._drawn:
            print(f" {time.monotonic() - self._began:.0f} s", file=sys.stderr, flush=True)
        self._drawn = self._what = ""
