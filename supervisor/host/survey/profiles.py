"""OpenClaw's own traces: the profiles of a home, and the gateways that run."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisor.host.survey import files
from supervisor.openclaw import command_line, paths, setup
from supervisor.openclaw.config import ConfigFacts, ConfigFault, read_config

_PREFIX = ".openclaw"
# The title a gateway gives itself, and as the kernel cuts it.
_TITLES = frozenset({"openclaw-gateway", "openclaw-gatewa"})
_LOCK = re.compile(r"(/.*)/tmp/openclaw-\d+/gateway\.state\.lock\.sqlite")
_MAX_CONFIG_BYTES = 2 * 1024 * 1024


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
        profile = name.removeprefix(f"{_PREFIX}-") if name != _PREFIX else paths.DEFAULT_PROFILE
        state_dir = paths.state_dir(profile, home)
        config = paths.config_path(state_dir)
        if not paths.is_profile(profile) or state_dir != os.path.join(home, name):  # noqa: PTH118 (paths are text here, as in a definition)
            continue
        if os.path.exists(config):  # noqa: PTH110 (Path.exists raises where it may not look)
            found.append(Profile(profile, state_dir, read_config(config, _content)))
    return tuple(found)


def _content(path: str) -> bytes:
    return files.content(path, _MAX_CONFIG_BYTES)


def gateways() -> tuple[Running, ...]:
    """Every gateway that runs and whose environment we may see."""
    return tuple(_gateways())


def _gateways() -> Iterator[Running]:
    for process in psutil.process_iter():
        # It may end, or turn out to be another user's, between any two looks at it.
        with suppress(psutil.Error, OSError):
            argv = process.cmdline()
            is_titled = process.name() in _TITLES and not any(argv[1:])
            if not is_titled and not command_line.runs_gateway(argv):
                continue
            environment = process.environ()
            state_dir = command_line.state_dir(argv, environment, "/")
            if is_titled:
                locked = _locked(process.pid)
                if not locked and not _listens(process):
                    continue
                state_dir = locked or state_dir
            launcher_dir = environment.get("PATH", "").partition(":")[0]
            ours = environment.get("CLAWSUP_STATE_DIR", "") if environment.get("CLAWSUP_RUN") else ""
            yield Running(process.pid, os.path.realpath(state_dir), launcher_dir, ours)


def _locked(pid: int) -> str:
    """The state dir whose lock a gateway holds open: its `--profile` is gone with its argv. "" where there is none."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if found := _LOCK.fullmatch(str(entry.readlink())):
                return found[1]
    return ""


def _listens(process: psutil.Process) -> bool:
    """Whether a port is its own: `openclaw gateway status` and the like give themselves a gateway's title, too."""
    return any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp"))
