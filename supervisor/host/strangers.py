"""Processes seen from outside: who holds what a gateway needs, and which run token a process carries."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

_TOKEN = b"CLAWSUP_RUN="
_WIDTH = 80
# A command line may be megabytes long, and it is masked in the brain's loop.
_MAX_ARGV_BYTES = 2048

# Another process may end, or turn out to be another user's, between any two looks at it.
_OUT_OF_SIGHT = (FileNotFoundError, ProcessLookupError, PermissionError)

_WORD = r"(?:token|passw(?:or)?d|passphrase|secret|api[-_]?key|private[-_]?key|credentials?|authorization|bearer)"
_OPTION = re.compile(r"-[\w.-]*")
_SECRET = re.compile(_WORD, re.IGNORECASE)
_SECRET_WITHIN = re.compile(rf"({_WORD}[\w.-]*+[\"']?+(?:\s*+[=:]\s*|\s+)).+", re.IGNORECASE | re.DOTALL)
_SECRET_IN_URL = re.compile(r"(://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Stranger:
    """A process as an operator wants it named; what could not be seen is empty or None.

    `command` is at most 80 printable characters without secrets, `since` is in UTC, and `profile` is the OpenClaw profile
    in its environment, or else the name that a clawsup gave it.
    """

    pid: int
    user: str
    command: str
    profile: str
    unit: str
    since: datetime | None

    def __str__(self) -> str:
        facts = [
            ": ".join(filter(None, (self.user, self.command))),
            f"profile {self.profile}" if self.profile else "",
            f"unit {self.unit}" if self.unit else "",
            f"since {self.since:%Y-%m-%d %H:%M}Z" if self.since else "",
        ]
        return f"pid {self.pid} ({', '.join(filter(None, facts)) or 'gone, or hidden from us'})"


def describe(pid: int) -> Stranger:
    """Name a process as far as we may see it; a process that is gone has nothing but its pid."""
    user = command = profile = unit = ""
    since: datetime | None = None
    # From what everybody may see to what only the owner may: the first refusal ends the look.
    with suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(pid)
        since = datetime.fromtimestamp(process.create_time(), UTC)
        user = process.username()
        command = f"[{process.name()}]"
        unit = service(Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace"))
        command = _command(pid) or command
        environment = process.environ()
        profile = environment.get("OPENCLAW_PROFILE") or environment.get("CLAWSUP_GATEWAY") or ""
    return Stranger(pid, user, _printable(command), _printable(profile), _printable(unit), since)


def service(cgroups: str) -> str:
    """Name the innermost .service of /proc/PID/cgroup; a user's whole session (user@1000.service) is no service."""
    lines = (line.split(":", 2) for line in cgroups.splitlines())
    paths = [path for _, controllers, path in lines if controllers in {"", "name=systemd"}]
    parts = (part for path in paths for part in reversed(path.split("/")))
    return next((part for part in parts if part.endswith(".service") and not part.startswith("user@")), "")


def run_token(pid: int) -> str | None:
    """Read a process's CLAWSUP_RUN; None when it has none, is gone, or is another user's. OSError: /proc is unreadable."""
    token = _token(pid, b"")
    return None if token is None else token.decode(errors="replace")


def find_tokens(prefix: str) -> dict[int, str]:
    """Find every readable process whose run token begins with `prefix`; an OSError means that /proc cannot be read."""
    wanted = prefix.encode()
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
    tokens = ((pid, _token(pid, wanted)) for pid in pids)
    return {pid: token.decode(errors="replace") for pid, token in tokens if token is not None}


def _token(pid: int, prefix: bytes) -> bytes | None:
    try:
        environment = b"".join(_environment(pid))
    except _OUT_OF_SIGHT:
        return None
    _, found, rest = (b"\0" + environment).partition(b"\0" + _TOKEN + prefix)
    return prefix + rest.partition(b"\0")[0] if found else None


def _environment(pid: int) -> Iterator[bytes]:
    fd = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    try:
        while block := os.read(fd, 1 << 17):
            yield block
    finally:
        os.close(fd)


def _command(pid: int) -> str:
    """The command line, masked, as far as it is looked at; "" where there is none, as for a thread of the kernel."""
    with Path(f"/proc/{pid}/cmdline").open("rb") as file:
        seen = file.read(_MAX_ARGV_BYTES + 1)
    argv = os.fsdecode(seen).rstrip("\0").split("\0")
    # A process that has given itself a title has it in one piece.
    argv = argv if len(argv) > 1 else argv[0].split(" ")
    if len(seen) <= _MAX_ARGV_BYTES:
        return _masked(argv)
    # What is cut off could be what tells a secret: of a password in a URL, the @ behind it.
    return f"{_masked(argv[:-1])} …".lstrip()


def _masked(argv: list[str]) -> str:
    """Join a command line without what looks like a secret: rather a word too many than one too few."""
    shown: list[str] = []
    follows = False
    for word in argv:
        clean = _SECRET_IN_URL.sub(r"\1***@", _SECRET_WITHIN.sub(r"\1***", word))
        shown.append("***" if follows else clean)
        follows = not follows and _OPTION.fullmatch(word) is not None and _SECRET.search(word) is not None
    return " ".join(filter(None, shown))


def _printable(text: str) -> str:
    """Cut to one line that a terminal takes as text: what others call themselves may hold anything."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text).strip()
    return clean if len(clean) <= _WIDTH else f"{clean[: _WIDTH - 1]}…"
