"""Whose systemd a unit is for, as which user its gateways run, and what a person types to steer it."""

import argparse
import os
import pwd
import shlex
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import ClawsupError, UsageError
from supervisor.host import systemd
from supervisor.policy import unit


@dataclass(frozen=True, slots=True)
class Target:
    """`user` is the one that the supervisor runs as."""

    scope: unit.Scope
    user: systemd.User

    @property
    def manager(self) -> systemd.Manager:
        """The systemd that keeps the unit."""
        return manager(self.scope, self.user)

    @property
    def file(self) -> Path:
        """Where the unit is written."""
        return self.manager.directories()[0] / unit.NAME

    def type(self, words: str) -> str:
        """What a person types to give the unit's systemd an order."""
        return typed(self.manager, words)


def target(args: argparse.Namespace) -> Target:
    """As the flags and the invoking user say; never root's unit for the host unless `--user-name root` says so."""
    scope = scope_of(args)
    name = _system_user(args) if scope == "system" else _session_user(args)
    user = systemd.find_user(name)
    if user is None:
        raise ClawsupError(f"{name} is no user of this machine", mend="create it, or name another with --user-name")
    return Target(scope, user)


def scope_of(args: argparse.Namespace) -> unit.Scope:
    """The flag's, else the host's systemd for root and one's own for everybody else."""
    if args.scope is not None:
        scope: unit.Scope = args.scope
        return scope
    return "system" if os.geteuid() == 0 else "user"


def manager(scope: unit.Scope, user: systemd.User) -> systemd.Manager:
    """The systemd of that scope."""
    return systemd.Manager(None if scope == "system" else user)


def typed(which: systemd.Manager, words: str) -> str:
    """What the person who typed this command types to say `words` to that systemd."""
    if which.user is None:
        return f"{'' if os.geteuid() == 0 else 'sudo '}systemctl {words}"
    machine = "" if which.user.uid == os.geteuid() else f" -M {which.user.name}@"
    return f"systemctl --user{machine} {words}"


def own_name() -> str:
    """The user that types."""
    return pwd.getpwuid(os.geteuid()).pw_name


def again(args: argparse.Namespace, words: str) -> str:
    """The clawsup command for the same directories."""
    return shlex.join(["clawsup", "--conf-dir", args.conf_dir, "--state-dir", args.state_dir, *words.split()])


def _system_user(args: argparse.Namespace) -> str:
    root = os.geteuid() == 0
    invoker = os.environ.get("SUDO_USER", "") if root else own_name()
    name: str = args.user_name or invoker
    if not name or (name == "root" and args.user_name != "root"):
        raise UsageError(
            "as which user should the gateways run? Root is never assumed",
            mend="--user-name NAME; --user-name root where every definition has a `user` of its own",
        )
    if not root and not args.print:
        raise ClawsupError("the host's systemd obeys root alone", mend=f"sudo {again(args, 'install --system')}")
    return name


def _session_user(args: argparse.Namespace) -> str:
    if os.geteuid() == 0 and os.environ.get("SUDO_USER", "root") != "root":
        raise UsageError("--user means the systemd of the one who types it", mend="type it without sudo, or --system")
    if args.user_name not in {None, own_name()}:
        raise UsageError("--user-name goes with --system", mend="or type this as that user")
    return own_name()
