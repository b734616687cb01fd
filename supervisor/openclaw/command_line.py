"""What the words that start OpenClaw say, with their environment: whether they run a gateway, and on which state directory."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from supervisor.openclaw import paths

_TAKES_A_VALUE: Final = frozenset({"--profile", "--log-level", "--container"})
# Node and an option of its own may stand before the launcher.
_LAUNCHER_WITHIN: Final = 3


def runs_gateway(words: Sequence[str]) -> bool:
    """Whether this is a gateway itself: `gateway status`, `logs`, `call` and the like only talk to one."""
    launcher = next((at for at, word in enumerate(words[:_LAUNCHER_WITHIN]) if "openclaw" in word), None)
    if launcher is None:
        return False
    rest = list(words[launcher + 1 :])
    while rest and rest[0].startswith("-"):
        del rest[: 2 if rest[0] in _TAKES_A_VALUE else 1]
    verb, following = (*rest, "", "")[:2]
    return verb == "gateway" and (following in ("", "run") or following.startswith("-"))


def option(words: Sequence[str], name: str) -> str:
    """The value of `NAME VALUE` or `NAME=VALUE`; "" where there is none."""
    for word, following in pairwise((*words, "")):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""


def state_dir(
    words: Sequence[str], environment: Mapping[str, str], home: str, *, profile: str = paths.DEFAULT_PROFILE
) -> str:
    """By OpenClaw's rule; `profile` is whose it is where nothing else is said, `home` where the environment knows none.

    `OPENCLAW_STATE_DIR` wins, unless it is that of the profile in the environment and `--profile` names another one.
    `OPENCLAW_PROFILE` alone chooses no directory (FACTS.md §1.4).
    """
    home = environment.get("OPENCLAW_HOME") or environment.get("HOME") or home
    named = option(words, "--profile")
    chosen = paths.state_dir(named or profile, home)
    said = environment.get("OPENCLAW_STATE_DIR", "").strip()
    if not said:
        return chosen
    said = paths.expand(said, home=home, base=home)
    inherited = paths.state_dir(environment.get("OPENCLAW_PROFILE") or paths.DEFAULT_PROFILE, home)
    return chosen if named and said == inherited else said
