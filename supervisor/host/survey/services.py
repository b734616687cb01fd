"""Who starts OpenClaw gateways here beside systemd: pm2 entries and crontabs. They are read, and nothing is changed."""

import json
import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from supervisor.host.survey import files
from supervisor.openclaw import command_line
from supervisor.openclaw.masking import Mask

_MAX_BYTES: Final = 256 * 1024
_CRONTAB_TIMEOUT_S: Final = 5
# `gateway status` and the like start none.
_STARTS_GATEWAY: Final = re.compile(
    r"(?P<launcher>[\w./-]{0,200}openclaw\b[\w./-]*+)(?P<options>[^;&|\n]{0,2000}?\s)gateway"
    r"(?=[\s\"';&|>)]|$)(?!\s+(?!run\b|start\b|restart\b)[a-z])"
)
_PROFILE: Final = re.compile(r"--profile[ =][\"']?([A-Za-z0-9_-]+)")
_VARIABLE: Final = re.compile(r"\b(OPENCLAW_STATE_DIR|OPENCLAW_PROFILE|OPENCLAW_HOME)=[\"']?([^\s\"']+)")
_CRON_FILES: Final = ("etc/crontab", "etc/cron.d")
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Starter:
    """What starts a gateway by itself, where it stands, the gateway's state dir as far as its words tell, how to end it."""

    kind: Literal["pm2 entry", "crontab line"]
    name: str
    where: str
    state_dir: str
    mend: str

    def __str__(self) -> str:
        """For a person."""
        return f"{self.kind} {self.name} ({self.where})"


def starters(home: str, root: Path = Path("/"), *, user: str = "") -> tuple[Starter, ...]:
    """All that can be seen of the user of that home, whose name root may give; `root` is where etc is."""
    return (*_pm2(home), *_crontabs(home, root, user))


def _pm2(home: str) -> Iterator[Starter]:
    dump = Path(os.environ.get("PM2_HOME") or Path(home) / ".pm2") / "dump.pm2"
    entries: Any = []
    with suppress(ValueError, RecursionError):
        entries = json.loads(_text(dump) or "[]")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and _STARTS_GATEWAY.search(words := _pm2_words(entry)):
            name = str(entry.get("name", "?"))
            mend = f"pm2 delete {shlex.quote(name)} && pm2 save"
            yield Starter("pm2 entry", name[:_SHOWN], str(dump), _state_dir(words, home), mend)


def _pm2_words(entry: dict[str, Any]) -> str:
    """The program, its arguments, and those variables that choose a profile."""
    arguments = entry.get("args")
    own = entry.get("env")
    environment = {**entry, **(own if isinstance(own, dict) else {})}
    chosen = [f"{key}={environment[key]}" for key in ("OPENCLAW_PROFILE", "OPENCLAW_STATE_DIR") if environment.get(key)]
    listed = map(str, arguments) if isinstance(arguments, list) else [str(arguments or "")]
    return " ".join([str(entry.get("pm_exec_path", "")), *listed, *chosen])


def _crontabs(home: str, root: Path, user: str) -> Iterator[Starter]:
    places = (root / name for name in _CRON_FILES)
    texts = [(str(file), _text(file), f"take that line out of {file}") for place in places for file in _files(place)]
    whose = ("-u", user) if user and os.geteuid() == 0 else ()
    if root == Path("/") and (whose or _is_own(home)):
        crontab = " ".join(("crontab", *whose))
        texts.append((f"{crontab} -l", _crontab(*whose), f"{crontab} -e, and take that line out"))
    for where, text, mend in texts:
        for number, line in enumerate(text.splitlines(), 1):
            if not line.lstrip().startswith("#") and (found := _STARTS_GATEWAY.search(line)):
                name = f"{number}: {_words(found)}"[:_SHOWN]
                yield Starter("crontab line", name, where, _state_dir(line, home), mend)


def _files(place: Path) -> list[Path]:
    """The file itself, or what a directory holds: hardened hosts show their cron.d to root alone."""
    try:
        return sorted(place.iterdir())
    except NotADirectoryError:
        return [place]
    except OSError:
        return []


def _is_own(home: str) -> bool:
    """Whether `crontab -l` would show the crontab of that home's user; in a container nobody may have our uid."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir == home
    except KeyError:
        return False


def _words(found: re.Match[str]) -> str:
    """Of a line only what tells which gateway it starts: there may be tokens in all the rest."""
    profile = _PROFILE.search(found["options"])
    return Mask().line(f"{found['launcher']} {f'{profile[0]} ' if profile else ''}gateway")


def _crontab(*whose: str) -> str:
    try:
        done = subprocess.run(
            ["crontab", *whose, "-l"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CRONTAB_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _state_dir(text: str, home: str) -> str:
    environment = {name: value.replace("$HOME", home) for name, value in _VARIABLE.findall(text)}
    named = _PROFILE.search(text)
    words = ("--profile", named[1]) if named else ()
    return os.path.realpath(command_line.state_dir(words, environment, home))


def _text(path: Path) -> str:
    try:
        return files.content(str(path), _MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
