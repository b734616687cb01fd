"""`clawsup reexec`: lets keeper and brain be those of the code that is installed now; no gateway is touched."""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from supervisor import keeper
from supervisor.cli.logs import readable
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, NoSupervisor
from supervisor.host import locks, processes

_WAIT_S = 90.0
_LOOK_S = 0.05


def main(args: argparse.Namespace) -> int:
    """Ask the keeper by SIGUSR2, which also helps where the brain no longer listens, and wait for the next brain."""
    path = socket_path(args.state_dir)
    readable(Path(args.state_dir) / "supervisor.lock")
    before = _status(path)
    found = _keeper(Path(args.state_dir))
    processes.send(found, signal.SIGUSR2)
    os.close(found.pidfd)
    after = _awaited(path, before.get("supervisor", {}).get("pid"))
    result = _compared(before, after) | {"keeper_outdated": _is_older(Path(args.state_dir))}
    if args.json:
        json.dump(result, sys.stdout)
        print()
    else:
        _show(result)
    return 0 if not result["changed"] else ClawsupError.exit_code


def _keeper(state_dir: Path) -> processes.Process:
    """The process that holds `supervisor.lock`, pinned: the lock tells, whatever number is written in it."""
    lock = state_dir / "supervisor.lock"
    for pid in locks.holders(lock):
        process = processes.pin(pid)
        if process is not None:
            if pid in locks.holders(lock, known=(pid,)):
                return process
            os.close(process.pidfd)
    raise NoSupervisor(
        f"no supervisor that could be signalled holds {lock}", mend="clawsup run, or name its --state-dir"
    )


def _status(path: str) -> dict[str, Any]:
    """The status document; empty where no brain answers, since that is no reason not to replace it."""
    try:
        return checked(*request(path, "GET", "/v1/status"))
    except ClawsupError:
        return {}


def _awaited(path: str, old: int | None) -> dict[str, Any]:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        seen = _status(path)
        if seen and seen["supervisor"]["pid"] != old:
            return seen
        time.sleep(_LOOK_S)
    raise ClawsupError(
        f"no new brain answers within {_WAIT_S:.0f} s; the gateways run on, and the keeper goes on trying",
        mend="see what the supervisor says (journalctl -u openclaw-supervisor), then repair or reinstall it",
    )


def _is_older(state_dir: Path) -> bool:
    """Whether the keeper's own file was replaced after it has begun, which is when it signs its lock."""
    return os.stat(keeper.__file__).st_ctime > (state_dir / "supervisor.lock").stat().st_mtime


def _compared(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    def brain(document: dict[str, Any]) -> dict[str, Any] | None:
        about = document.get("supervisor")
        return about and {"pid": about["pid"], "version": about["version"]}

    pids = {entry["name"]: entry["pid"] for entry in before.get("gateways", []) if entry["pid"] is not None}
    now = {entry["name"]: entry["pid"] for entry in after["gateways"]}
    return {
        "old": brain(before),
        "new": brain(after),
        "kept": sorted(name for name, pid in pids.items() if now.get(name) == pid),
        "changed": sorted(name for name, pid in pids.items() if now.get(name) != pid),
    }


def _show(result: dict[str, Any]) -> None:
    old, new = result["old"] or {"version": "unknown", "pid": "silent"}, result["new"]
    print(f"clawsup {old['version']} (pid {old['pid']}) is now {new['version']} (pid {new['pid']})")
    if result["kept"]:
        print(f"untouched: {', '.join(result['kept'])}")
    if result["keeper_outdated"]:
        print(
            "the keeper stays as it was started; the supervisor's own messages say why the new one cannot take its place"
        )
    if result["changed"]:
        print(f"clawsup: ended meanwhile: {', '.join(result['changed'])}; see clawsup status", file=sys.stderr)
