"""`clawsup rescue enable | disable | status`: gives the rescue's agent its skill, and says how well it stands apart from its patients."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from supervisor.cli import words
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, NoSupervisor
from supervisor.host import config_files, workspaces
from supervisor.host.definitions import read
from supervisor.openclaw import rescuing
from supervisor.openclaw.config import load_config
from supervisor.policy.definition import Definition

_SKILLS_S = 60


def main(args: argparse.Namespace) -> int:
    """Carry one of the three out."""
    known = read(Path(args.conf_dir), home=Path(os.path.expanduser("~"))).known
    rescue = next((each for each in known if each.role == "rescue"), None)
    if rescue is None:
        raise ClawsupError('no definition has role = "rescue"', mend="clawsup add rescue --role rescue")
    root = Path(os.path.expanduser(rescue.workspace or rescuing.workspace(_config(rescue), rescue.state_dir)))
    if args.what == "status":
        return _status(args, rescue, [each for each in known if each.name in rescue.patients], root)
    return _enable(args, rescue, root) if args.what == "enable" else _disable(args, root)


def skill() -> bytes:
    """The skill's text, as it is in the package."""
    return resources.files("supervisor.openclaw").joinpath("skill.md").read_bytes()


def _enable(args: argparse.Namespace, rescue: Definition, root: Path) -> int:
    if refused := workspaces.put(root, rescuing.SKILL, skill()):
        raise ClawsupError(refused, mend="type this as root, or as the user of the gateway")
    way = (
        "its hook"
        if rescuing.hook(_config(rescue))
        else "`openclaw agent` (quicker with hooks: set hooks.enabled, hooks.token)"
    )
    return _told(
        args,
        {"skill": str(root / rescuing.SKILL), "patients": list(rescue.patients)},
        f"{rescue.name} may repair {', '.join(rescue.patients) or 'nobody'}, and is called through {way}\n"
        f"  skill {root / rescuing.SKILL}",
    )


def _disable(args: argparse.Namespace, root: Path) -> int:
    if refused := workspaces.remove(root, rescuing.SKILL):
        raise ClawsupError(refused, mend="type this as root, or as the user of the gateway")
    return _told(
        args, {"skill": None}, "the skill is gone; `steps` of [repair] says whether the rescue is still called"
    )


def _status(args: argparse.Namespace, rescue: Definition, patients: list[Definition], root: Path) -> int:
    """What is so, and what should be otherwise; 0 when the rescue could be called now."""
    try:
        entry = checked(*request(socket_path(args.state_dir), "GET", f"/v1/gateways/{rescue.name}"))
        state = str(entry["state"])
    except NoSupervisor:
        state = "unsupervised"
    installed = workspaces.read(root, rescuing.SKILL)
    facts = {
        "gateway": rescue.name,
        "state": state,
        "patients": list(rescue.patients),
        "skill": "missing" if installed is None else "installed" if installed == skill() else "outdated",
        "skill_loaded": _is_loaded(args, rescue) if installed is not None else False,
        "called_by": "hook" if rescuing.hook(_config(rescue)) else "command",
        "install": "shared" if any(_launcher(rescue) == _launcher(each) for each in patients) else "apart",
    }
    warnings = [
        {"warning": warning, "mend": mend}
        for patient in patients
        for warning, mend in rescuing.entangled(
            (rescue.name, _config(rescue)), (patient.name, _config(patient), patient.state_dir), str(root)
        )
    ]
    if facts["install"] == "shared":
        mend = f"clawsup runtime install VERSION, and set `command` of {rescue.name} to it"
        warnings.append({"warning": "rescue and patient run from one installation of OpenClaw", "mend": mend})
    could = state in {"ready", "degraded"} and facts["skill"] == "installed" and facts["skill_loaded"] is True
    said = [f"{key:<13} {words.printable(_said(value))}" for key, value in facts.items()]
    for each in warnings:
        said += [f"warning: {words.printable(each['warning'])}", f"  mend: {words.printable(each['mend'])}"]
    _told(args, {**facts, "could_be_called": could, "warnings": warnings}, "\n".join(said))
    return 0 if could else ClawsupError.exit_code


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _is_loaded(args: argparse.Namespace, rescue: Definition) -> bool | None:
    """What OpenClaw's own listing says; None where it cannot be asked."""
    places = ["--conf-dir", args.conf_dir, "--state-dir", args.state_dir]
    command = [
        sys.executable,
        "-m",
        "supervisor",
        *places,
        "exec",
        rescue.name,
        "--",
        "openclaw",
        "skills",
        "list",
        "--json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SKILLS_S, check=False)
        listed = json.loads(done.stdout[done.stdout.index("{") :])["skills"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return any(each.get("name") == "clawsup-rescue" and each.get("eligible") is True for each in listed)


def _launcher(definition: Definition) -> str:
    """The file that its launcher is; the command itself where there is no such file."""
    found = shutil.which(os.path.expanduser(definition.command[0]))
    return os.path.realpath(found) if found else "\0".join(definition.command)


def _config(definition: Definition) -> Mapping[str, Any]:
    """What its config file says; nothing where it cannot be read."""
    files = dict(config_files.read(definition.config_path).files)

    def kept(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file", path)
        return files[path]

    found = load_config(definition.config_path, kept)
    return found if isinstance(found, Mapping) else {}


def _told(args: argparse.Namespace, facts: Mapping[str, Any], said: str) -> int:
    print(json.dumps({"schema": 1, **facts}, indent=2) if args.json else said)
    return 0
