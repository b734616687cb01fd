"""A definition that could be read, with all that was found about it on the machine: what the isolation is judged on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from supervisor.openclaw.config import ConfigFacts, ConfigFault
from supervisor.openclaw.ports import Family
from supervisor.policy.definition import RANK, Definition
from supervisor.policy.document import Document
from supervisor.policy.fault import Fault

# A device and an inode that exist, and the path from there on that does not exist yet.
Spot: TypeAlias = tuple[int, int, str]
Kind: TypeAlias = Literal["absent", "directory", "file", "other"]


@dataclass(frozen=True, slots=True)
class Place:
    """A path and where it leads: two paths are one place if their `spot` is the same, whatever symlink or bind mount is between.

    `above` are the spots of all directories that it lies in.
    """

    path: str
    spot: Spot
    above: frozenset[Spot]
    kind: Kind = "absent"

    def is_in(self, other: "Place") -> bool:
        """Whether it lies inside the other, at any depth; not whether it is the other."""
        return other.spot in self.above


@dataclass(frozen=True, slots=True)
class Machine:
    """What of this machine decides on ports.

    `ephemeral` is the kernel's range for outgoing connections, `reserved` what the operator took out of it; below
    `unprivileged_from` a port needs a right, which `may_bind_low` says this process can hand down to a gateway of its own user.
    `hosts` are the machine's names and addresses, as they stand in URLs.
    """

    ephemeral: range = range(0)
    reserved: frozenset[int] = frozenset()
    unprivileged_from: int = 1024
    may_bind_low: bool = False
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Candidate:
    """`workspaces` carry the key that names each; `environment` is env_file, then [env]."""

    definition: Definition
    document: Document
    state_dir: Place
    config: Place
    workspaces: tuple[tuple[str, Place], ...]
    facts: ConfigFacts | ConfigFault
    environment: Mapping[str, str]
    patients_said: bool = False

    @property
    def name(self) -> str:
        """The gateway's name."""
        return self.definition.name

    @property
    def family(self) -> Family:
        """The ports kept for it."""
        return Family(self.definition.port, self.definition.cdp_ports)

    @property
    def precedence(self) -> tuple[bool, int, str]:
        """Lower goes first: of two that cannot both run, what is wanted before what is not, the rescue before main before extra."""
        return not self.definition.enabled, RANK[self.definition.role], self.name

    def shares_config(self, other: "Candidate") -> bool:
        """Whether one file configures both, so that all it says is said twice."""
        return self.config.spot == other.config.spot

    def shown(self) -> str:
        """Its name and file, as another's fault calls it."""
        return f'"{self.name}" ({self.document.file})'

    def error(self, key: str, text: str, mend: str, *, against: "Candidate | None" = None) -> Fault:
        """A fault of this definition that keeps it from being run, alone or beside another."""
        return self._fault(key, text, mend, "error", against)

    def warning(self, key: str, text: str, mend: str, *, against: "Candidate | None" = None) -> Fault:
        """A fault that keeps nothing from being run."""
        return self._fault(key, text, mend, "warning", against)

    def _fault(
        self, key: str, text: str, mend: str, severity: Literal["error", "warning"], against: "Candidate | None"
    ) -> Fault:
        names = (self.name,) if against is None else (self.name, against.name)
        return Fault(self.document.file, self._line(key), key, text, mend, severity, names)

    def _line(self, key: str) -> int:
        """The line of the key; a key of the OpenClaw config has none here, so the one that leads to it stands in."""
        first, *rest = key.split(".", 1)
        nearer = {"browser": ("config_path", "port"), "agents": ("config_path", "workspace")}
        for path in ((first, *rest), (first,), *((name,) for name in nearer.get(first, ()))):
            if path in self.document.lines:
                return self.document.lines[path]
        return 1
