"""The units that OpenClaw itself installs, one a profile (`gateway install`): read, to see which gateway each would start."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from posixpath import normpath
from typing import Final

from supervisor.openclaw import command_line, paths

PATTERN: Final = "openclaw-gateway*.service"
_STEM: Final = "openclaw-gateway"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a unit file sets that matters here; `user` is None where its manager's own user is meant."""

    environment: Mapping[str, str]
    words: tuple[str, ...]
    user: str | None


@dataclass(frozen=True, slots=True)
class Service:
    """The gateway that a unit would start."""

    profile: str
    state_dir: str
    config_path: str


def settings(text: str) -> Settings:
    """Read a unit file, its drop-ins after it. A setting without a value takes back what came before."""
    environment: dict[str, str] = {}
    words: tuple[str, ...] = ()
    user: str | None = None
    for key, value in _service_lines(text):
        if key == "Environment":
            environment = environment | _assignments(value) if value else {}
        elif key == "ExecStart":
            words = tuple(_split(value))
        elif key == "User":
            user = value or None
    return Settings(environment, words, user)


def describe(name: str, found: Settings, home: str) -> Service:
    """The gateway of the unit called `name`, by OpenClaw's own rules; `home` is that of the unit's user."""
    environment = {variable: value.replace("%h", home) for variable, value in found.environment.items()}
    profile = environment.get("OPENCLAW_PROFILE") or _suffix(name)
    state_dir = normpath(command_line.state_dir(found.words, environment, home, profile=profile))
    config_path = environment.get("OPENCLAW_CONFIG_PATH") or paths.config_path(state_dir)
    return Service(command_line.option(found.words, "--profile") or profile, state_dir, normpath(config_path))


def _service_lines(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for raw in text.replace("\\\n", " ").splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line
        elif section == "[Service]" and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _assignments(value: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in _split(value))
    return {name: text.replace("%%", "%") for name, _, text in pairs}


def _split(value: str) -> list[str]:
    """Split as systemd does, nearly: what its quoting and a shell's disagree on is in no unit that OpenClaw writes."""
    try:
        return shlex.split(value)
    except ValueError:
        return value.split()


def _suffix(name: str) -> str:
    return name.removesuffix(".service").removeprefix(_STEM).removeprefix("-") or paths.DEFAULT_PROFILE
