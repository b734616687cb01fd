"""A directory of definitions and a home, on a real disk."""

from dataclasses import dataclass
from pathlib import Path

from supervisor.host.definitions import Reading, read
from supervisor.policy.fault import Fault
from supervisor.policy.roster import Machine

SAMPLES = Path(__file__).parents[1] / "conf.d"
CONFIG = "{gateway: {mode: 'local', port: PORT}}"


@dataclass(frozen=True, slots=True)
class ConfD:
    """`directory` is conf.d, `home` is what `~` means in it; the machine has no limits."""

    directory: Path
    home: Path

    @classmethod
    def below(cls, path: Path) -> "ConfD":
        """Make both."""
        found = cls(path / "etc" / "conf.d", path / "home")
        found.directory.mkdir(parents=True)
        found.home.mkdir()
        return found

    def write(self, name: str, text: str, *, config: str | None = CONFIG) -> Path:
        """Write NAME.toml, and the config file where its profile has it unless `config` is None."""
        file = self.directory / f"{name}.toml"
        file.write_text(text)
        if config is not None:
            port = next((line.split("=")[1] for line in text.splitlines() if line.startswith("port")), "0")
            self.config(name).parent.mkdir(exist_ok=True)
            self.config(name).write_text(config.replace("PORT", port))
        return file

    def config(self, name: str) -> Path:
        """Where the profile of that name has its config file."""
        return self.home / f".openclaw-{name}" / "openclaw.json"

    def defaults(self, text: str) -> Path:
        """Write supervisor.toml."""
        file = self.directory.parent / "supervisor.toml"
        file.write_text(text)
        return file

    def env_file(self, content: bytes, *, mode: int = 0o600) -> Path:
        """Write a.env."""
        file = self.directory / "a.env"
        file.write_bytes(content)
        file.chmod(mode)
        return file

    def read(self) -> Reading:
        """Read all of it."""
        return read(self.directory, home=self.home, machine=Machine())


def by_key(found: Reading) -> dict[str, Fault]:
    """The faults, one a key."""
    return {fault.key: fault for fault in found.faults}


def usable(found: Reading) -> list[str]:
    """The gateways that can run."""
    return [definition.name for definition in found.roster.definitions]
