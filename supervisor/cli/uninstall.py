"""`clawsup uninstall`: undoes `install`, and nothing else: definitions, logs and gateways' own directories stay."""

import argparse
import os

from supervisor.cli.unit_target import again, manager, own_name, scope_of, typed
from supervisor.errors import ClawsupError
from supervisor.host import systemd
from supervisor.policy import unit

_MARGIN_S = 30.0


def main(args: argparse.Namespace) -> int:
    """Stop, disable and remove the unit; 0 also when there is none."""
    scope = scope_of(args)
    if scope == "system" and os.geteuid() != 0:
        raise ClawsupError("the host's systemd obeys root alone", mend=f"sudo {again(args, 'uninstall --system')}")
    user = systemd.find_user(own_name())
    if user is None:
        raise ClawsupError(f"uid {os.geteuid()} has no name on this machine")
    which = manager(scope, user)
    file = which.directories()[0] / unit.NAME
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        print(f"{unit.NAME} is not installed{_elsewhere(args, scope)}")
        return 0
    if not text.startswith(unit.MARK):
        raise ClawsupError(f"{file} was not written by clawsup", mend="remove it by hand")
    ours = unit.directories_of(text)
    if ours != unit.directories_line(args.conf_dir, args.state_dir):
        raise ClawsupError(f"{file} is for other directories", mend=f"clawsup {ours} uninstall --{scope}")
    _end(which, unit.stop_s_of(text))
    file.unlink()
    which.call("daemon-reload")
    which.call("reset-failed", unit.NAME)
    print(f"{file} is gone, its gateways are stopped; {args.conf_dir} and {args.state_dir} stay")
    if before := unit.taken(text):
        print("taken over at its installation, and still disabled:")
        print("\n".join(f"  {line}" for line in before))
    return 0


def _end(which: systemd.Manager, stop_s: float) -> None:
    """Stop and disable it; where that systemd is not up, nothing of it runs."""
    up = which.reachable()
    words = ("disable", "--now", unit.NAME) if up else ("disable", unit.NAME)
    answer = which.call(*words, timeout_s=stop_s + _MARGIN_S, offline=not up)
    if not answer.ok:
        raise ClawsupError(
            f"{unit.NAME} could not be stopped: {answer.error}", mend=typed(which, f"disable --now {unit.NAME}")
        )


def _elsewhere(args: argparse.Namespace, scope: unit.Scope) -> str:
    """Where it is instead, if it is the host's and one's own was looked for."""
    hosts = systemd.Manager().directories()[0] / unit.NAME
    if scope == "user" and hosts.exists():
        return f" for {own_name()}, but for the host: sudo {again(args, 'uninstall --system')}"
    return ""
