"""`clawsup rescue enable | disable | status`: gives the rescue's agent its skill, and says how well it stands apart from its patients."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import anyio

from supervisor.brain.launchers import home_of, owner_of
from supervisor.cli import words
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, NoSupervisor
from supervisor.host import config_files, hooks, workspaces
from supervisor.host.definitions import Reading, read
from supervisor.openclaw import rescuing
from supervisor.openclaw.config import load_config
from supervisor.openclaw.output import last_object
from supervisor.openclaw.rescuing import Hook, Side
from supervisor.policy.definition import Definition

_SKILLS_S = 60
_UNSUPERVISED = "unsupervised"
_READ_ONLY = "OPENCLAW_CONFIG_READONLY"


def main(args: argparse.Namespace) -> int:
    """Carry one of the three out."""
    reading = read(Path(args.conf_dir))
    rescue = next((each for each in reading.known if each.role == "rescue"), None)
    if rescue is None:
        raise ClawsupError('no definition has role = "rescue"', mend="clawsup add rescue --role rescue")
    side = _side(rescue, reading)
    if args.what == "status":
        return _status(args, rescue, side, reading)
    return _enable(args, rescue, side) if args.what == "enable" else _disable(args, rescue, side)


def skill() -> bytes:
    """The skill's text, as it is in the package."""
    return resources.files("supervisor.openclaw").joinpath("skill.md").read_bytes()


def _enable(args: argparse.Namespace, rescue: Definition, side: Side) -> int:
    file = Path(side.workspace) / rescuing.SKILL
    if refused := workspaces.put(Path(side.workspace), rescuing.SKILL, skill(), owner=owner_of(rescue)):
        raise ClawsupError(refused, mend="type this as root, or as the user of the gateway")
    hook = rescuing.hook(side.config, side.environment)
    way = "its hook" if isinstance(hook, Hook) else f"`openclaw agent`, as {hook} (a hook is quicker)"
    return _told(
        args,
        {"skill": str(file), "patients": list(rescue.patients)},
        f"{rescue.name} may repair {', '.join(rescue.patients) or 'nobody'}, and is called through {way}\n  skill {file}",
    )


def _disable(args: argparse.Namespace, rescue: Definition, side: Side) -> int:
    if refused := workspaces.remove(Path(side.workspace), rescuing.SKILL, owner=owner_of(rescue)):
        raise ClawsupError(refused, mend="type this as root, or as the user of the gateway")
    return _told(
        args, {"skill": None}, "the skill is gone; `steps` of [repair] says whether the rescue is still called"
    )


def _status(args: argparse.Namespace, rescue: Definition, side: Side, reading: Reading) -> int:
    """What is so, and what should be otherwise; 0 when the rescue could be called now."""
    patients = [each for each in reading.known if each.name in rescue.patients]
    sides = [_side(each, reading) for each in patients]
    state = _state(args, rescue)
    hook = rescuing.hook(side.config, side.environment)
    facts = {
        "gateway": rescue.name,
        "state": state,
        "patients": list(rescue.patients),
        **_skill_facts(args, rescue, side),
        "called_by": "hook" if isinstance(hook, Hook) else "command",
        "hook": _proof(rescue, hook) if state in words.UP else f"not asked: {rescue.name} is {state}",
        "install": "shared" if any(_launcher(rescue) == _launcher(each) for each in patients) else "apart",
        "provider": _provider(side, sides),
        "config": "read-only" if side.environment.get(_READ_ONLY) == "1" else "writable",
    }
    open_enough = facts["hook"] == "answers" or facts["called_by"] == "command"
    could = state in words.UP and facts["skill"] == "installed" and facts["skill_loaded"] is True and open_enough
    warnings = [
        {"warning": warning, "mend": mend} for each in sides for warning, mend in rescuing.entangled(side, each)
    ]
    warnings += [{"warning": warning, "mend": mend} for warning, mend in _faults(rescue, facts)]
    said = [f"{key:<13} {words.printable(_said(value))}" for key, value in facts.items()]
    for each in warnings:
        said += [f"warning: {words.printable(each['warning'])}", f"  mend: {words.printable(each['mend'])}"]
    said += [f"{rescue.name} could {'' if could else 'not '}be called now"]
    _told(args, {**facts, "could_be_called": could, "warnings": warnings}, "\n".join(said))
    return 0 if could else ClawsupError.exit_code


def _faults(rescue: Definition, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What of these facts should be otherwise, each with its mend."""
    if facts["install"] == "shared":
        mend = f"clawsup runtime install VERSION, and set `command` of {rescue.name} to it"
        yield "rescue and patient run from one installation of OpenClaw", mend
    if facts["state"] not in words.UP:
        mend = "clawsup up" if facts["state"] == _UNSUPERVISED else f"clawsup why {rescue.name}"
        yield f"{rescue.name} is {facts['state']}", mend
    if facts["skill"] != "installed":
        yield f"the skill is {facts['skill']}", "clawsup rescue enable"
    elif facts["skill_loaded"] is not True:
        how = (
            "is not loaded by OpenClaw"
            if facts["skill_loaded"] is False
            else "may not be loaded: OpenClaw does not say"
        )
        yield f"the skill {how}", f"clawsup exec {rescue.name} -- openclaw skills list"
    if facts["called_by"] == "hook" and facts["state"] in words.UP and facts["hook"] != "answers":
        yield (
            f"the hook: {facts['hook']}",
            f"correct `hooks` in {rescue.config_path}, then clawsup restart {rescue.name}",
        )


def _skill_facts(args: argparse.Namespace, rescue: Definition, side: Side) -> dict[str, Any]:
    there = workspaces.read(Path(side.workspace), rescuing.SKILL)
    if there is None:
        return {"skill": "missing", "skill_loaded": False}
    return {"skill": "installed" if there == skill() else "outdated", "skill_loaded": _is_loaded(args, rescue)}


def _state(args: argparse.Namespace, rescue: Definition) -> str:
    try:
        entry = checked(*request(socket_path(args.state_dir), "GET", f"/v1/gateways/{rescue.name}"))
    except NoSupervisor:
        return _UNSUPERVISED
    return str(entry["state"])


def _proof(rescue: Definition, hook: Hook | str) -> str:
    """Whether its hook takes the token: asked with a body that starts nothing."""
    if isinstance(hook, str):
        return f"none: {hook}"

    async def posted() -> int | str:
        return await hooks.post(rescue.port, hook.path, hook.token, rescuing.PROOF, tls=hook.tls)

    return rescuing.proven(anyio.run(posted)) or "answers"


def _provider(side: Side, patients: list[Side]) -> str:
    """Whether its model comes from where a patient's does, too; a config that names no model leaves that open."""
    ours, theirs = side.provider(), {each.provider() for each in patients}
    return "shared" if ours and ours in theirs else "apart" if ours and "" not in theirs else "unknown"


def _side(definition: Definition, reading: Reading) -> Side:
    config = _config(definition)
    environment = reading.environments[definition.name]
    root = definition.workspace or rescuing.workspace(config, definition.state_dir, home_of(definition, environment))
    return Side(definition.name, config, environment, definition.state_dir, root)


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _is_loaded(args: argparse.Namespace, rescue: Definition) -> bool | None:
    """What OpenClaw's own listing says; None where it cannot be asked."""
    clawsup = [sys.executable, "-m", "supervisor", "--conf-dir", args.conf_dir, "--state-dir", args.state_dir]
    command = [*clawsup, "exec", rescue.name, "--", "openclaw", "skills", "list", "--json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SKILLS_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    listed = (last_object(done.stdout) or {}).get("skills")
    if not isinstance(listed, list):
        return None
    return any(_at(each, "name") == "clawsup-rescue" and _at(each, "eligible") is True for each in listed)


def _at(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, Mapping) else None


def _launcher(definition: Definition) -> str:
    """The file that its launcher is; the command itself where there is no such file."""
    found = shutil.which(os.path.expanduser(definition.command[0]))
    return os.path.realpath(found) if found else "\0".join(definition.command)


def _config(definition: Definition) -> Mapping[str, Any]:
    """What its config file says; nothing where it cannot be read."""
    files = dict(config_files.read(definition.config_path, owner=owner_of(definition)).files)

    def kept(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file", path)
        return files[path]

    found = load_config(definition.config_path, kept)
    return found if isinstance(found, Mapping) else {}


def _told(args: argparse.Namespace, facts: Mapping[str, Any], said: str) -> int:
    print(json.dumps({"schema": 1, **facts}, indent=2) if args.json else said)
    return 0
