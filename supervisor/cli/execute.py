"""`clawsup exec NAME -- COMMAND…`: becomes a command with the environment of that gateway, less its run token.

Typed inside another gateway's shell it still means the gateway it names: nothing of that shell's OPENCLAW_* passes, and its
PATH loses the shim that OpenClaw puts in front of it (openclaw/launch.py).
"""

import argparse
import os
import pwd
import shutil
import signal
import sys
from pathlib import Path
from typing import NoReturn

from supervisor.cli import errand, inside
from supervisor.cli.named import named
from supervisor.errors import ClawsupError, UsageError
from supervisor.host.definitions import read
from supervisor.openclaw import launch
from supervisor.policy.definition import Definition

_NOT_EXECUTABLE, _NOT_FOUND = 126, 127


class CommandNotRunError(ClawsupError):
    """The command is there, but the kernel will not run it; a shell's own exit code says so."""

    exit_code = _NOT_EXECUTABLE


class CommandNotFoundError(ClawsupError):
    """No such command on the cleaned PATH."""

    exit_code = _NOT_FOUND


def main(args: argparse.Namespace) -> int:
    """Replace this process by the command; what a gateway's agent types is for the supervisor to judge and to run."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not words:
        raise UsageError("exec what?", mend=f"clawsup exec {args.name} -- openclaw status")
    if inside.is_inside() and inside.gateway(args):
        return errand.execute(args, words)
    return _replaced(args, words)


def _replaced(args: argparse.Namespace, words: list[str]) -> NoReturn:
    reading = read(Path(args.conf_dir))
    definition = named(args, reading)
    path = clean(os.environ.get("PATH", os.defpath), reading.known)
    launcher = _found(os.path.expanduser(definition.command[0]), path)
    account = _account(definition)
    environment = launch.environment(
        definition,
        inherited={**os.environ, "PATH": path},
        extra=reading.environments[definition.name],
        launcher_dir=os.path.dirname(launcher or ""),
        own_dir=os.path.dirname(sys.executable),
        conf_dir=args.conf_dir,
        state_dir=args.state_dir,
        run_token=None,
        account=account and launch.Account(account.pw_name, account.pw_dir, account.pw_shell),
    )
    argv = launch.openclaw_argv(definition, launcher or definition.command[0], words)
    file = launcher if words[0] == "openclaw" else _found(words[0], environment["PATH"])
    if file is None:
        raise CommandNotFoundError(
            f"{argv[0]}: no such command on the PATH of {definition.name}",
            mend="install OpenClaw, or set `command` in the definition"
            if words[0] == "openclaw"
            else "name it by its path",
        )
    _become(definition, account, file, argv, environment)


def clean(path: str, definitions: tuple[Definition, ...]) -> str:
    """Drop from a PATH what a gateway of ours put there for its own agent, by whichever name the directory is reached.

    That is below `<state dir>/tmp` and nowhere else: OpenClaw's own installer puts the launcher into `<state dir>/bin`.
    """
    tmp_dirs = [os.path.realpath(os.path.join(definition.state_dir, "tmp")) for definition in definitions]
    return ":".join(
        entry
        for entry in path.split(":")
        if launch.clean_path(entry, ()) and launch.clean_path(os.path.realpath(entry), tmp_dirs)
    )


def _account(definition: Definition) -> pwd.struct_passwd | None:
    """Give the user to become; None when that is who we are."""
    if definition.user is None:
        return None
    try:
        account = pwd.getpwnam(definition.user)
    except KeyError:
        raise ClawsupError(
            f"{definition.name} runs as {definition.user}, and there is no such user",
            mend="create it, or correct `user`",
        ) from None
    if account.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise ClawsupError(f"{definition.name} runs as {definition.user}", mend="type this as that user, or as root")
    return account


def _found(command: str, path: str) -> str | None:
    """Where it is; a command with a slash is a path, and whether the kernel runs it, the kernel says."""
    found = shutil.which(command, path=path) or (command if "/" in command and os.path.exists(command) else None)
    return os.path.abspath(found) if found else None


def _become(
    definition: Definition,
    account: pwd.struct_passwd | None,
    file: str,
    argv: tuple[str, ...],
    environment: dict[str, str],
) -> NoReturn:
    # The interpreter ignores these two for itself, and exec would hand that on.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        if account is not None:
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        os.chdir(definition.state_dir)
    except OSError as error:
        raise ClawsupError(
            f"{definition.state_dir}: cannot go to the state dir of {definition.name}: {error.strerror}",
            mend="it is made by the gateway's set-up: openclaw setup, or clawsup up",
        ) from error
    try:
        os.execve(file, argv, environment)  # noqa: S606 (running it is the whole of this verb)
    except OSError as error:
        raise CommandNotRunError(
            f"{file}: {error.strerror}", mend="look at its first line and its permissions"
        ) from error
