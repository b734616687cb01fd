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

from supervisor.openclaw import paths

_MAX_BYTES: Final = 256 * 1024
_CRONTAB_TIMEOUT_S: Final = 5
_STARTS_GATEWAY: Final = re.compile(r"openclaw\b.*\bgateway\b")
_PROFILE: Final = re.compile(r"(?:--profile[ =]|OPENCLAW_PROFILE=)[\"']?([A-Za-z0-9_-]+)")
_STATE_DIR: Final = re.compile(r"OPENCLAW_STATE_DIR=[\"']?([^\s\"']+)")
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


def starters(home: str, root: Path = Path("/")) -> tuple[Starter, ...]:
    """All that this user can see; `root` is where etc is."""
    return (*_pm2(home), *_crontabs(home, root))


def _pm2(home: str) -> Iterator[Starter]:
    dump = Path(os.environ.get("PM2_HOME") or Path(home) / ".pm2") / "dump.pm2"
    entries: Any = []
    with suppress(ValueError):
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


def _crontabs(home: str, root: Path) -> Iterator[Starter]:
    places = [root / name for name in _CRON_FILES]
    files = [file for place in places for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
    texts = [(str(file), _text(file), f"take that line out of {file}") for file in files]
    if root == Path("/") and pwd.getpwuid(os.geteuid()).pw_dir == home:
        texts.append(("crontab -l", _own_crontab(), "crontab -e, and take that line out"))
    for where, text, mend in texts:
        for line in text.splitlines():
            if not line.lstrip().startswith("#") and _STARTS_GATEWAY.search(line):
                yield Starter("crontab line", line.strip()[:_SHOWN], where, _state_dir(line, home), mend)


def _own_crontab() -> str:
    try:
        done = subprocess.run(
            ["crontab", "-l"],
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
    if found := _STATE_DIR.search(text):
        return os.path.realpath(paths.expand(found[1].replace("$HOME", home), home=home, base=home))
    named = _PROFILE.search(text)
    return os.path.realpath(paths.state_dir(named[1] if named else paths.DEFAULT_PROFILE, home))


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:_MAX_BYTES].decode(errors="replace") if path.is_file() else ""
    except OSError:
        return ""
