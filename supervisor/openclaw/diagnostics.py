"""OpenClaw's own diagnostics and repairs that a rescue may run for its patient: a fixed list, word by word."""

from collections.abc import Mapping, Sequence
from typing import Final

from supervisor.openclaw.masking import Mask

_LONGEST: Final = 200

# What may follow each command: how many words at least and at most, and which flags.
_COMMANDS: Final[Mapping[tuple[str, ...], tuple[int, int, frozenset[str]]]] = {
    ("--version",): (0, 0, frozenset()),
    ("doctor",): (0, 0, frozenset({"--lint", "--json", "--fix", "--yes", "--non-interactive"})),
    ("config", "validate"): (0, 0, frozenset({"--json"})),
    ("config", "get"): (1, 1, frozenset({"--json"})),
    ("config", "set"): (2, 2, frozenset({"--json", "--strict-json"})),
    ("config", "unset"): (1, 1, frozenset()),
    ("plugins", "list"): (0, 0, frozenset({"--json"})),
    ("plugins", "disable"): (1, 1, frozenset()),
}

LISTED: Final = ", ".join(" ".join(("openclaw", *command)) for command in _COMMANDS)
"""The list, for a person."""

_CHANGING: Final = frozenset({("config", "set"), ("config", "unset"), ("plugins", "disable")})
# Without one of these even `doctor` may migrate the state (FACTS.md §10.2).
_LOOKS: Final = frozenset({"--lint", "--json"})
_CONFIG_SET: Final = ("openclaw", "config", "set")


def is_listed(words: Sequence[str]) -> bool:
    """Whether the command line, its first word `openclaw`, is on the list."""
    if tuple(words[:1]) != ("openclaw",):
        return False
    for command, (least, most, flags) in _COMMANDS.items():
        if tuple(words[1 : 1 + len(command)]) == command:
            rest = words[1 + len(command) :]
            plain = [word for word in rest if not word.startswith("-")]
            return least <= len(plain) <= most and flags.issuperset(word for word in rest if word.startswith("-"))
    return False


def changes(words: Sequence[str]) -> bool:
    """Whether a command of the list may change something, and does not only look."""
    if tuple(words[1:2]) == ("doctor",):
        return "--fix" in words or _LOOKS.isdisjoint(words)
    return tuple(words[1:3]) in _CHANGING


def shown(words: Sequence[str]) -> str:
    """The command line as it may be written down: without the value that a config is given, or what looks like a secret."""
    if tuple(words[:3]) == _CONFIG_SET:
        words = [*words[:4], *("…" for _ in words[4:])]
    return Mask().line(" ".join(words))[:_LONGEST]
