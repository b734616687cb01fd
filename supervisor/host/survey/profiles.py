"""OpenClaw's own traces: the profiles of a home, and the gateways that run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from supervisor.openclaw import paths, setup
from supervisor.openclaw.config import ConfigFacts, ConfigFault, read_config

_PREFIX = ".openclaw"
# The title a gateway gives itself, as the kernel cuts it.
_TITLE = "openclaw-gatewa"


@dataclass(frozen=True, slots=True)
class Profile:
    """A state directory by OpenClaw's rule that has a config file; `port` is where its gateway would listen."""

    name: str
    state_dir: str
    config: ConfigFacts | ConfigFault

    @property
    def port(self) -> int:
        """From the config file, else OpenClaw's own rule."""
        said = self.config.port if isinstance(self.config, ConfigFacts) else None
        return said if said is not None and 0 < said < 1 << 16 else setup.default_port(self.name)


@dataclass(frozen=True, slots=True)
class Running:
    """A gateway's process: its state dir, resolved, the directory of its launcher, the state dir of the clawsup that started it."""

    pid: int
    state_dir: str
    launcher_dir: str
    supervisor: str


def profiles(home: str) -> tuple[Profile, ...]:
    """Every profile of a home that has been set up, the default one first."""
    try:
        names = sorted(entry.name for entry in Path(home).iterdir() if entry.name.startswith(_PREFIX))
    except OSError:
        return ()
    found = []
    for name in names:
        profile = paths.DEFAULT_PROFILE if name == _PREFIX else name.removeprefix(f"{_PREFIX}-")
        state_dir = os.path.join(home, name)  # noqa: PTH118 (paths are text here, as in a definition)
        config = paths.config_path(state_dir)
        if name in (_PREFIX, f"{_PREFIX}-{profile}") and paths.is_profile(profile) and Path(config).exists():
            found.append(Profile(profile, state_dir, read_config(config, lambda path: Path(path).read_bytes())))
    return tuple(found)


def gateways() -> tuple[Running, ...]:
    """Every gateway that runs and whose environment we may see."""
    return tuple(_gateways())


def _gateways() -> Iterator[Running]:
    for process in psutil.process_iter():
        # It may end, or turn out to be another user's, between any two looks at it.
        with suppress(psutil.Error, OSError):
            argv = process.cmdline()
            if process.name() == _TITLE or ("gateway" in argv and any("openclaw" in word for word in argv[:3])):
                environment = process.environ()
                launcher_dir = environment.get("PATH", "").partition(":")[0]
                ours = environment.get("CLAWSUP_STATE_DIR", "") if environment.get("CLAWSUP_RUN") else ""
                yield Running(process.pid, _state_dir(environment, argv), launcher_dir, ours)


def _state_dir(environment: Mapping[str, str], argv: list[str]) -> str:
    named = next((value for word, value in pairwise(argv) if word == "--profile"), "")
    home = environment.get("OPENCLAW_HOME") or environment.get("HOME") or "/"
    profile = named or environment.get("OPENCLAW_PROFILE") or paths.DEFAULT_PROFILE
    return os.path.realpath(environment.get("OPENCLAW_STATE_DIR") or paths.state_dir(profile, home))
