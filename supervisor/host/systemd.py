"""systemd as a door: unit files that are there, and systemctl, for the host or for any one user; every call has its time limit."""

import os
import pwd
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ANSWER_S: Final = 30.0
_PLACES: Final = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd")
_MAX_BYTES: Final = 64 * 1024
_LINGER: Final = Path("/var/lib/systemd/linger")


@dataclass(frozen=True, slots=True)
class User:
    """A user of this machine, as far as running a program in its name needs it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str


@dataclass(frozen=True, slots=True)
class Answer:
    """How a program ended: `code` is None when it could not be run or ran out of time, and `error` then says so."""

    code: int | None
    output: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.code == 0


@dataclass(frozen=True, slots=True)
class UnitFile:
    """A unit as its files have it; `text` has the drop-ins behind it, `enabled` means that some target wants it."""

    name: str
    path: Path
    text: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Manager:
    """The systemd of the host, or, with a `user`, that user's own."""

    user: User | None = None

    def call(self, *words: str, timeout_s: float = ANSWER_S, offline: bool = False) -> Answer:
        """Run systemctl; `offline` works on the files alone, for a user whose systemd is not up."""
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        environment |= {"SYSTEMD_PAGER": "", **({"SYSTEMD_OFFLINE": "1"} if offline else {})}
        if self.user is None:
            return run(("systemctl", *words), environment, None, timeout_s=timeout_s)
        environment |= session(self.user)
        return run(("systemctl", "--user", *words), environment, self.user, timeout_s=timeout_s)

    def reachable(self) -> bool:
        """Whether that systemd is up and talks to us."""
        return bool(self.property("Version"))

    def property(self, name: str, unit: str | None = None) -> str:
        """One property of a unit, or of the manager; "" when it cannot be had."""
        answer = self.call("show", "--property", name, "--value", *([unit] if unit else []))
        return answer.output.strip() if answer.ok else ""

    def directories(self) -> tuple[Path, ...]:
        """Where its unit files are, the strongest place first; the first is where an operator's own go."""
        if self.user is None:
            return tuple(Path(place, "system") for place in _PLACES)
        home = Path(self.user.home)
        own = (home / ".config/systemd/user", *(Path(place, "user") for place in _PLACES))
        return (*own, home / ".local/share/systemd/user")

    def unit_files(self, pattern: str) -> tuple[UnitFile, ...]:
        """All units whose file matches, by name; masked ones are none."""
        found: dict[str, UnitFile] = {}
        for directory in self.directories():
            for path in _matching(directory, pattern):
                if path.name not in found:
                    found[path.name] = UnitFile(path.name, path, self._text(path), self._wanted(path.name))
        return tuple(found[name] for name in sorted(found) if found[name].text)

    def _text(self, path: Path) -> str:
        dropins: dict[str, Path] = {}
        for directory in self.directories():
            for dropin in _matching(directory / f"{path.name}.d", "*.conf"):
                dropins.setdefault(dropin.name, dropin)
        return "\n".join(_content(each) for each in (path, *(dropins[name] for name in sorted(dropins)))).strip()

    def _wanted(self, name: str) -> bool:
        return any(
            os.path.lexists(link / name)
            for directory in self.directories()
            for kind in ("*.wants", "*.requires")
            for link in _matching(directory, kind)
        )


def run(argv: Sequence[str], environment: Mapping[str, str], user: User | None, *, timeout_s: float) -> Answer:
    """Run a program to its end, in the name of `user` where that is not ours."""
    other = user if user is not None and user.uid != os.geteuid() else None
    try:
        done = subprocess.run(
            argv,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            user=other.uid if other else None,
            group=other.gid if other else None,
            extra_groups=other.groups if other else None,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", f"{' '.join(argv)}: no answer within {timeout_s:g} s")
    except OSError as error:
        return Answer(None, "", f"{argv[0]}: {error.strerror}")
    return Answer(done.returncode, done.stdout, done.stderr.strip())


def find_user(name: str) -> User | None:
    """The user of that name, or None; groups as a login would have them."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return User(entry.pw_name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, entry.pw_shell)


def session(user: User) -> dict[str, str]:
    """The environment that leads to a user's own systemd."""
    runtime = f"/run/user/{user.uid}"
    who = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name, "SHELL": user.shell}
    return {**who, "XDG_RUNTIME_DIR": runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus"}


def lingers(user: str) -> bool:
    """Whether a user's systemd, and with it his services, is up without a login."""
    return (_LINGER / user).exists()


def _matching(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


def _content(path: Path) -> str:
    # A user may have put anything there: it is not waited for, and not read without end.
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                return file.read(_MAX_BYTES).decode(errors="replace").replace("\0", "")
    return ""
