"""Gets a profile ready to run: finds its launcher, and has OpenClaw give it the least config that starts (R7)."""

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.brain.launchers import Launchers, Place, account_of
from supervisor.cli import whose
from supervisor.cli.unit_target import Target
from supervisor.errors import ClawsupError
from supervisor.host import systemd
from supervisor.host.definitions import Reading
from supervisor.host.runtimes import Answer, User, ask_version
from supervisor.openclaw import launch, setup
from supervisor.openclaw.config import ConfigFault
from supervisor.policy.definition import Definition

SETUP_TIMEOUT_S = 180.0  # it takes 8 s; a loaded machine is given twenty times that


@dataclass(frozen=True, slots=True)
class Workbench:
    """Where commands are run on a gateway's behalf, as the brain would run them."""

    place: Place
    launchers: Launchers

    @classmethod
    def of(cls, conf_dir: str, state_dir: str, own_dir: str, **inherited: str) -> "Workbench":
        """One for the two directories given before the verb; `inherited` is laid over our own environment."""
        place = Place(Path(conf_dir), Path(state_dir), own_dir, {**os.environ, **inherited})
        return cls(place, Launchers(place))

    def environment(self, definition: Definition, launcher: str, extra: Mapping[str, str]) -> dict[str, str]:
        """The gateway's environment, less its run token."""
        return self.launchers.environment(definition, launcher, extra, None)

    def version(self, definition: Definition, extra: Mapping[str, str]) -> Answer:
        """Ask a definition's launcher for its version, in the gateway's environment."""
        launcher = self.launchers.find(definition)
        if launcher is None:
            return Answer(None, "no such launcher")
        environment = self.environment(definition, launcher, extra)
        return ask_version((launcher, *definition.command[1:]), environment, self.user(definition))

    def user(self, definition: Definition) -> User | None:
        """As whom its commands run, which may be files of that user's; None: as whoever types."""
        if (account := account_of(definition)) is not None:
            return account[1].uid, account[1].gid, account[1].groups
        entry = whose.account(str(self.place.state_dir))
        if entry.pw_uid == os.geteuid():
            return None
        return entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))


def target_of(found: pwd.struct_passwd) -> Target:
    """Whom old units are looked for, with the home that its gateways live in."""
    user = systemd.User(found.pw_name, found.pw_uid, found.pw_gid, (), found.pw_dir, found.pw_shell)
    return Target("user", user)


def unset(reading: Reading) -> tuple[Definition, ...]:
    """The definitions whose profile has no config file yet."""
    facts = reading.configs
    return tuple(
        definition
        for definition in reading.roster.definitions
        if isinstance(fault := facts[definition.name], ConfigFault) and fault.missing
    )


def set_up(bench: Workbench, definitions: Sequence[Definition], reading: Reading) -> None:
    """Give each a config file, all at the same time; ClawsupError when OpenClaw could not."""
    running: list[tuple[Definition, subprocess.Popen[str]]] = []
    try:
        for definition in definitions:
            child = _begun(bench, definition, reading.environments[definition.name])
            running.append((definition, child))  # one at a time: what was begun must be ended if the next cannot begin
        for definition, child in running:
            _awaited(definition, child)
    finally:
        for _, child in running:
            if child.poll() is None:
                child.terminate()
                child.wait()


def _begun(bench: Workbench, definition: Definition, extra: Mapping[str, str]) -> subprocess.Popen[str]:
    launcher = bench.launchers.find(definition)
    if launcher is None:
        raise ClawsupError(
            f"{definition.name} cannot be set up: {definition.command[0]}: no such launcher",
            mend="install OpenClaw, or set `command` in the definition",
        )
    words = ("openclaw", *setup.onboard_words(definition.port))
    account = account_of(definition)
    kernel = account[1] if account else None
    try:
        return subprocess.Popen(
            launch.openclaw_argv(definition, launcher, words),
            env=bench.environment(definition, launcher, extra),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            user=kernel.uid if kernel else None,
            group=kernel.gid if kernel else None,
            extra_groups=kernel.groups if kernel else None,
        )
    except OSError as error:
        raise ClawsupError(
            f"{launcher}: {error.strerror}", mend="look at its first line and its permissions"
        ) from error


def _awaited(definition: Definition, child: subprocess.Popen[str]) -> None:
    try:
        said, _ = child.communicate(timeout=SETUP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ClawsupError(
            f"{definition.name}: OpenClaw's set-up has not ended in {SETUP_TIMEOUT_S:.0f} s",
            mend=f"try it by hand: clawsup exec {definition.name} -- openclaw onboard",
        ) from None
    if child.returncode != 0 or not os.path.exists(definition.config_path):
        last = " / ".join(line.strip() for line in said.strip().splitlines()[-3:])
        raise ClawsupError(
            f"{definition.name}: OpenClaw's set-up ended with {child.returncode}: {last}",
            mend=f"do it by hand: clawsup exec {definition.name} -- openclaw onboard",
        )
