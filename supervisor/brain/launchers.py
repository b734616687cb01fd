"""Which launchers are usable, and what a child of theirs gets as its environment and its user."""

import os
import pwd
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.host import descriptors, processes
from supervisor.openclaw import launch
from supervisor.openclaw.setup import version_in
from supervisor.policy.definition import Definition
from supervisor.policy.facts import Cause, Obstacle

VERSION_TIMEOUT_S = 30.0
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Place:
    """Where this supervisor lives, and what a gateway may inherit from it; `own_dir` is where `clawsup` is installed."""

    conf_dir: Path
    state_dir: Path
    own_dir: str
    inherited: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Short:
    """The machine is short of something; nobody's fault, and soon tried again."""

    reason: str


class Launchers:
    """Which launchers are usable: judged by `COMMAND --version` alone, once for each identity of its files."""

    def __init__(self, place: Place) -> None:
        self._place = place
        # A gateway that fell is not to wait for what cannot have changed.
        self._path = launch.clean_path(place.inherited.get("PATH", os.defpath), [])
        self._inherited = {**place.inherited, "PATH": self._path}
        self._usable: dict[tuple[str, ...], tuple[object, str]] = {}

    def find(self, definition: Definition) -> str | None:
        """The path that `command[0]` stands for on the supervisor's own PATH."""
        found = shutil.which(self._expanded(definition.command[0]), path=self._path)
        return os.path.abspath(found) if found else None  # noqa: PTH100 - resolve() would leave the launcher's directory

    def environment(
        self, definition: Definition, launcher: str, extra: Mapping[str, str], token: str | None
    ) -> dict[str, str]:
        """The child's whole environment (INTERFACE.md §7)."""
        account = account_of(definition)
        return launch.environment(
            definition,
            inherited=self._inherited,
            extra=extra,
            launcher_dir=str(Path(launcher).parent),
            own_dir=self._place.own_dir,
            conf_dir=str(self._place.conf_dir),
            state_dir=str(self._place.state_dir),
            run_token=token,
            account=account[0] if account else None,
        )

    def identity(self, definition: Definition, launcher: str, extra: Mapping[str, str]) -> object:
        """What changes when the launcher, or the node it would find, is replaced."""
        path = self.environment(definition, launcher, extra, None)["PATH"]
        node = shutil.which("node", path=path)
        return tuple(_file_identity(file) for file in (launcher, node) if file)

    def refused(self, definition: Definition, found: processes.NotSpawned) -> Obstacle | Short:
        """A spawn that did not come about, as what stands in the way."""
        if found.shortage:
            return Short(found.reason)
        return _no_launcher(definition.command[0], f"cannot be run: {found.reason}", found.reason)

    def version(self, definition: Definition) -> str:
        """The version that its launcher told when it was last found usable; "" before that."""
        key = _key(definition, self.find(definition) or "")
        return version_in(self._usable.get(key, (None, ""))[1]) or ""

    def _expanded(self, command: str) -> str:
        home = self._inherited.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        return home + command[1:] if command.startswith("~/") else command

    def known(self, definition: Definition, extra: Mapping[str, str]) -> str | None:
        """The launcher's path where `--version` has worked and its files are the same since; it costs two stats."""
        launcher = self.find(definition)
        if launcher is None or (definition.user is not None and _user(definition.user) is None):
            return None
        known = self._usable.get(_key(definition, launcher), (None, ""))[0]
        return launcher if known is not None and known == self.identity(definition, launcher, extra) else None

    async def usable(self, definition: Definition, extra: Mapping[str, str]) -> str | Obstacle | Short:
        """The launcher's path when `--version` works in the child's environment; who is known is not asked again."""
        if (known := self.known(definition, extra)) is not None:
            return known
        command = definition.command[0]
        if definition.user is not None and _user(definition.user) is None:
            # The C library says the same of a user who is gone and of a machine that cannot look.
            if short := descriptors.shortage():
                return Short(short)
            reason = f"{definition.user} is no longer a user of this machine"
            return Obstacle("launcher", Cause.MISSING, reason, "create the user, or name another", reason)
        launcher = self.find(definition)
        if launcher is None:
            why = _absent(self._expanded(command))
            return _no_launcher(command, why, why)
        identity = self.identity(definition, launcher, extra)
        account = account_of(definition)
        result = await processes.run(
            (launcher, *definition.command[1:], "--version"),
            self.environment(definition, launcher, extra, None),
            "/",
            timeout_s=VERSION_TIMEOUT_S,
            account=account[1] if account else None,
        )
        if isinstance(result, processes.NotSpawned):
            return self.refused(definition, result)
        if result.code != 0:
            said = (result.output.strip().splitlines() or ["it said nothing"])[0][:200]
            how = f"exit {result.code}" if result.code is not None else f"no answer in {VERSION_TIMEOUT_S:.0f} s"
            return _no_launcher(command, f"{launcher} --version: {how}: {said}", f"{identity}")
        self._usable[_key(definition, launcher)] = (identity, result.output.strip())
        return launcher


def account_of(definition: Definition) -> tuple[launch.Account, processes.Account] | None:
    """The user that `user =` names, for the environment and for the kernel; None when it is ours, nobody when it is gone."""
    if definition.user is None:
        return None
    entry = _user(definition.user)
    if entry is None:
        # Never our own rights, which are root's; `usable` has refused before it comes to that.
        return launch.Account(definition.user, "/nonexistent", "/bin/false"), processes.Account(_NOBODY, _NOBODY, ())
    if entry.pw_uid == os.geteuid():
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return (
        launch.Account(entry.pw_name, entry.pw_dir, entry.pw_shell),
        processes.Account(entry.pw_uid, entry.pw_gid, groups),
    )


def home_of(definition: Definition, environment: Mapping[str, str]) -> str:
    """What `~` means to a gateway; `environment` is what `env_file` and `[env]` set."""
    account = account_of(definition)
    own = account[0].home if account is not None else os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return environment.get("OPENCLAW_HOME") or environment.get("HOME") or own


def owner_of(definition: Definition) -> int | None:
    """The uid whose a gateway's files are; None where that is ours."""
    if definition.user is None:
        return None
    entry = _user(definition.user)
    uid = entry.pw_uid if entry else _NOBODY
    return None if uid == os.geteuid() else uid


def _key(definition: Definition, launcher: str) -> tuple[str, ...]:
    return (launcher, *definition.command[1:], definition.user or "")


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _absent(command: str) -> str:
    path = Path(command)
    if "/" not in command or not path.exists():
        return f"{command}: no such launcher"
    return f"{command} is a directory, not a launcher" if path.is_dir() else f"{command} may not be executed"


def _file_identity(path: str) -> tuple[int, int, int, int]:
    try:
        found = Path(path).stat()
    except OSError:
        return (0, 0, 0, 0)
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _no_launcher(command: str, reason: str, key: str) -> Obstacle:
    mend = f"install OpenClaw (clawsup runtime install), or set `command` to where {Path(command).name} is"
    return Obstacle("launcher", Cause.MISSING, reason, mend, f"launcher {key}")
