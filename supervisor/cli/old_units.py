"""The units that OpenClaw installed for gateways that are ours now: found, named, and on demand taken over (R8).

A unit is the same gateway as a definition when it has the same state directory or the same config file. It is in the way when
it runs, and also when it is only enabled: then it would start beside ours at the next boot or login.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor.brain import rivals
from supervisor.cli.unit_target import Target, typed
from supervisor.errors import ClawsupError
from supervisor.host import systemd
from supervisor.policy.definition import Definition

# OpenClaw's own TimeoutStopSec is 330 s.
_STOP_S = 400.0
_DOWN = {"inactive", "failed", ""}


@dataclass(frozen=True, slots=True)
class OldUnit:
    """A unit that starts the gateway `gateway`; `up` tells whether its systemd can be talked to."""

    manager: systemd.Manager
    name: str
    gateway: str
    active: bool
    enabled: bool
    up: bool

    def __str__(self) -> str:
        whose = "of the host" if self.manager.user is None else f"of user {self.manager.user.name}"
        state = " and ".join(word for word, is_so in (("running", self.active), ("enabled", self.enabled)) if is_so)
        return f"{self.name} {whose} is {state}, and it is the gateway {self.gateway}"

    def type(self, words: str) -> str:
        """What a person types to give it an order."""
        return typed(self.manager, f"{words} {self.name}")


def find(target: Target, definitions: Sequence[Definition]) -> list[OldUnit]:
    """Every old unit in the way of a definition: of the host, of the supervisor's user, and of each `user`."""
    users = {target.user.name: target.user}
    for definition in definitions:
        if definition.user is not None and (user := systemd.find_user(definition.user)) is not None:
            users[user.name] = user
    found = _of(systemd.Manager(), target.user, definitions)
    for user in users.values():
        found += _of(systemd.Manager(user), user, definitions)
    return found


def refuse(found: Sequence[OldUnit], again: str) -> ClawsupError:
    """Why nothing is started beside them, and the commands that make way."""
    commands = "\n    ".join(unit.type("disable --now") for unit in found)
    return ClawsupError(
        "two supervisors would fight over a state directory:\n  " + "\n  ".join(map(str, found)),
        mend=f"let clawsup stop and disable them: {again}\n  or do it by hand:\n    {commands}",
    )


def take_over(found: Iterable[OldUnit]) -> None:
    """Stop and disable each; ClawsupError at the first that does not end, before anything of ours has been started."""
    for unit in found:
        offline = not unit.up
        words = ("disable", unit.name) if offline else ("disable", "--now", unit.name)
        answer = unit.manager.call(*words, timeout_s=_STOP_S, offline=offline)
        state = unit.manager.property("ActiveState", unit.name) if unit.up else ""
        if not answer.ok or state not in _DOWN:
            raise ClawsupError(
                f"{unit.name} could not be stopped and disabled: {answer.error or f'it is {state}'}",
                mend=f"{unit.type('disable --now')}, then install again; nothing of clawsup was started",
            )


def _of(manager: systemd.Manager, user: systemd.User, definitions: Sequence[Definition]) -> list[OldUnit]:
    same = [*rivals.units(manager, user.home, definitions)]
    up = bool(same) and manager.reachable()
    found: list[OldUnit] = []
    for file, definition in same:
        active = up and manager.property("ActiveState", file.name) not in _DOWN
        if active or file.enabled:
            found.append(OldUnit(manager, file.name, definition.name, active, file.enabled, up))
    return found
