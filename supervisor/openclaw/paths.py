"""Where OpenClaw keeps what belongs to a profile."""

import re
from posixpath import join, normpath
from typing import Final

DEFAULT_PROFILE: Final = "default"
PROFILE_RULE: Final = "letters, digits, _ and -, first a letter or digit, at most 64"

_PROFILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.IGNORECASE | re.ASCII)


def is_profile(name: str) -> bool:
    """Whether OpenClaw takes it after `--profile`."""
    return _PROFILE.fullmatch(name) is not None


def state_dir(profile: str, home: str) -> str:
    """OpenClaw's own rule: `~/.openclaw` for the default profile, else `~/.openclaw-PROFILE`, case kept."""
    return join(home, ".openclaw" if profile.lower() == DEFAULT_PROFILE else f".openclaw-{profile}")


def config_path(state_dir: str) -> str:
    """The config file inside a state directory."""
    return join(state_dir, "openclaw.json")


def expand(path: str, *, home: str, base: str) -> str:
    """The absolute, normal form of a path that may begin with `~/` or be relative to `base`; symlinks are not followed."""
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    return "/" + normpath(join(base, path)).lstrip("/")
