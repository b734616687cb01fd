"""`clawsup install`: one systemd unit for all gateways, written, enabled, started and waited for (R8, R26)."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from supervisor.cli import old_units, words
from supervisor.cli.status import verdict
from supervisor.cli.table import table
from supervisor.cli.unit_target import Target, again, target
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, DefinitionsUnusable, NoSupervisor, SupervisorRunning
from supervisor.host import systemd
from supervisor.host.definitions import read
from supervisor.policy import unit
from supervisor.policy.definition import Definition

_TRIAL_S, _START_S, _POLL_S = 60.0, 120.0, 0.3
_NO_DEFINITIONS_STOP_S = 675
_OTHER_BINS = (".local/bin", "bin", ".npm-global/bin", ".volta/bin", ".local/share/pnpm", ".bun/bin")
_STATUS_OF_ERRORS = {75: SupervisorRunning, 78: DefinitionsUnusable}


def main(args: argparse.Namespace) -> int:
    """Install; 0 when all that is wanted is ready, else what `status` would say."""
    socket = socket_path(args.state_dir)
    where = target(args)
    if args.print:
        print(_text(args, where, _definitions_if_any(args, where)), end="")
        return 0
    definitions = _definitions(args, where)
    text = _text(args, where, definitions)
    before = _installed(args, where)
    _try(args, where)
    found = old_units.find(where, definitions)
    if found and not args.take_over:
        raise old_units.refuse(found, again(args, f"install --{where.scope} --take-over"))
    _refuse_a_running_one(where, socket)
    _make_state_dir(args.state_dir, where.user)
    text += unit.taken_over([*unit.taken(before), *(each.type("enable --now") for each in found)])
    if text != before:
        _write(where, text)
    old_units.take_over(found)
    _start(where)
    _advise(where, stale=bool(before) and unit.command_of(before) != unit.command_of(text))
    return _wait(socket, definitions)


def _definitions(args: argparse.Namespace, where: Target) -> tuple[Definition, ...]:
    """All of them, also what is switched off: `clawsup start` may bring it up."""
    reading = read(Path(args.conf_dir), home=Path(where.user.home))
    if not reading.roster.definitions:
        raise DefinitionsUnusable(f"{args.conf_dir}: not one definition can be used", mend=again(args, "check"))
    return reading.known


def _definitions_if_any(args: argparse.Namespace, where: Target) -> tuple[Definition, ...]:
    try:
        return read(Path(args.conf_dir), home=Path(where.user.home)).known
    except DefinitionsUnusable as unusable:
        print(f"clawsup: TimeoutStopSec is a guess: {unusable}", file=sys.stderr)
        return ()


def _text(args: argparse.Namespace, where: Target, definitions: Sequence[Definition]) -> str:
    return unit.render(
        unit.Unit(
            scope=where.scope,
            command=(*_clawsup(), "--conf-dir", args.conf_dir, "--state-dir", args.state_dir, "run"),
            path=_path(where.user),
            user=where.user.name if where.scope == "system" else None,
            stop_s=unit.stop_s(definitions) if definitions else _NO_DEFINITIONS_STOP_S,
        )
    )


def _clawsup() -> tuple[str, ...]:
    """This very installation: the command beside our interpreter, or where there is none, the interpreter itself."""
    command = os.path.join(os.path.dirname(sys.executable), "clawsup")
    return (command,) if os.access(command, os.X_OK) else (sys.executable, "-I", "-m", "supervisor")


def _path(user: systemd.User) -> str:
    """The PATH of who types this as far as `user` can reach it, and that user's own places; for root nothing of others."""
    entries = [os.path.dirname(sys.executable), *os.environ.get("PATH", os.defpath).split(":")]
    entries += [os.path.join(user.home, place) for place in _OTHER_BINS]
    entries += ["/usr/local/bin", "/usr/bin", "/bin"]
    there = (entry for entry in entries if entry.startswith("/") and os.path.isdir(entry))
    return ":".join(dict.fromkeys(entry for entry in there if _good_for(user, entry)))


def _good_for(user: systemd.User, directory: str) -> bool:
    """Root may not run what others could have put there; anybody else must be able to get there."""
    way = [os.stat(step) for step in (directory, *map(str, Path(directory).parents))]
    if user.uid == 0:
        return all(found.st_uid == 0 and not found.st_mode & 0o022 for found in way)
    return all(_may_enter(user, found) for found in way)


def _may_enter(user: systemd.User, found: os.stat_result) -> bool:
    if found.st_uid == user.uid:
        return bool(found.st_mode & 0o100)
    return bool(found.st_mode & (0o010 if found.st_gid in user.groups else 0o001))


def _installed(args: argparse.Namespace, where: Target) -> str:
    """The unit that is there, "" if none is; ClawsupError where it is not ours to replace."""
    try:
        text = where.file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    if not text.startswith(unit.MARK):
        raise ClawsupError(f"{where.file} was not written by clawsup", mend="move it away")
    ours = unit.directories_of(_text(args, where, ()))
    if unit.directories_of(text) != ours:
        raise ClawsupError(
            f"{where.file} is for other directories: {unit.directories_of(text)}",
            mend="one unit serves a host: add the definitions there, or uninstall that one first",
        )
    return text


def _try(args: argparse.Namespace, where: Target) -> None:
    """Let the user whom it will run as check the definitions: that proves clawsup and conf.d readable, and the words right."""
    environment = {**systemd.session(where.user), "PATH": _path(where.user), "LANG": os.environ.get("LANG", "C.UTF-8")}
    argv = (*_clawsup(), "--conf-dir", args.conf_dir, "--state-dir", args.state_dir, "check")
    answer = systemd.run(argv, environment, where.user, timeout_s=_TRIAL_S)
    if answer.code == DefinitionsUnusable.exit_code:
        raise DefinitionsUnusable(
            f"{where.user.name} cannot use the definitions:\n{answer.output or answer.error}", mend=again(args, "check")
        )
    if not answer.ok:
        raise ClawsupError(
            f"{where.user.name} cannot run {argv[0]}: {answer.error or f'exit {answer.code}'}",
            mend="install clawsup where that user can read it (pipx as that user, or below /opt)",
        )


def _refuse_a_running_one(where: Target, socket: str) -> None:
    """A supervisor that somebody started by hand would keep the unit from its state dir."""
    if not where.manager.reachable():
        raise ClawsupError(
            f"the systemd of {'this host' if where.scope == 'system' else where.user.name} does not answer",
            mend="log in as that user, or sudo loginctl enable-linger"
            if where.scope == "user"
            else "install where systemd is PID 1; elsewhere let `clawsup run` be the entry point",
        )
    if where.manager.property("ActiveState", unit.NAME) == "active":
        return
    try:
        pid = checked(*request(socket, "GET", "/v1/status"))["supervisor"]["keeper_pid"]
    except NoSupervisor:
        return
    raise SupervisorRunning(f"a supervisor runs already (pid {pid}), not under {unit.NAME}", mend=f"kill {pid}")


def _make_state_dir(state_dir: str, user: systemd.User) -> None:
    """Make it that user's: a directory of root's below /var/lib would be of no use to it."""
    try:
        with suppress(FileExistsError):
            os.makedirs(state_dir, mode=0o700)
            os.chown(state_dir, user.uid, user.gid)
        owner = os.stat(state_dir).st_uid
    except OSError as error:
        raise ClawsupError(
            f"{error.filename}: cannot make the state dir: {error.strerror}", mend="name another place with --state-dir"
        ) from error
    if owner != user.uid:
        raise ClawsupError(
            f"{state_dir} belongs to uid {owner}, and the supervisor will run as {user.name}",
            mend=f"chown -R {user.name}: {state_dir}, or name another place with --state-dir",
        )


def _write(where: Target, text: str) -> None:
    draft = where.file.with_name(f".{unit.NAME}.new")
    try:
        where.file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.chmod(0o644)
        draft.replace(where.file)
    except OSError as error:
        raise ClawsupError(f"{error.filename}: {error.strerror}", mend="see who may write there") from error
    answer = where.manager.call("daemon-reload")
    if not answer.ok:
        raise ClawsupError(f"{where.file} is written, but not read: {answer.error}", mend=where.type("daemon-reload"))


def _start(where: Target) -> None:
    answer = where.manager.call("enable", "--now", unit.NAME, timeout_s=_START_S)
    if answer.ok:
        return
    code = where.manager.property("ExecMainStatus", unit.NAME)
    kind = _STATUS_OF_ERRORS.get(int(code) if code.isdecimal() else 0, ClawsupError)
    journal = f"journalctl {'--user ' if where.scope == 'user' else ''}-u {unit.NAME} -n 30"
    raise kind(f"{unit.NAME} did not come up: {answer.error}", mend=f"{journal} tells why")


def _advise(where: Target, *, stale: bool) -> None:
    if stale:
        print(f"the running one keeps its old command until: {where.type(f'restart {unit.NAME}')}", file=sys.stderr)
    if where.scope == "user" and not systemd.lingers(where.user.name):
        print(
            f"{where.user.name}'s units end when {where.user.name} logs out and do not start at boot, unless:"
            f" sudo loginctl enable-linger {where.user.name}",
            file=sys.stderr,
        )


def _wait(socket: str, definitions: Sequence[Definition]) -> int:
    """Tell each gateway's way on stderr until none is on its way any more, or the longest start is over."""
    deadline = time.monotonic() + 2 * max((each.start.timeout for each in definitions), default=0) + _START_S
    told: dict[str, str] = {}
    while True:
        document = checked(*request(socket, "GET", "/v1/status"))
        for entry in document["gateways"]:
            if told.get(entry["name"]) != entry["state"]:
                told[entry["name"]] = entry["state"]
                print(f"{entry['name']} is {entry['state']}", file=sys.stderr, flush=True)
        if words.ON_ITS_WAY.isdisjoint(told.values()) or time.monotonic() > deadline:
            print(table(document))
            return verdict(document)
        time.sleep(_POLL_S)
