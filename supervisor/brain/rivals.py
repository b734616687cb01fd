"""OpenClaw's own units for gateways of ours, told from their files alone: nothing here waits for a systemd."""

import os
from collections.abc import Iterator, Sequence

from supervisor.host import systemd
from supervisor.openclaw import service
from supervisor.policy.definition import Definition


def units(
    manager: systemd.Manager, home: str, definitions: Sequence[Definition]
) -> Iterator[tuple[systemd.UnitFile, Definition]]:
    """Each unit of `manager` that is the same gateway as a definition: by state directory or config file."""
    for file in manager.unit_files(service.PATTERN):
        settings = service.settings(file.text)
        named = systemd.find_user(settings.user) if settings.user is not None else None
        default = "/root" if manager.user is None else home
        started = service.describe(file.name, settings, named.home if named else default)
        if same := next((each for each in definitions if _same(each, started)), None):
            yield file, same


def unit_of(definition: Definition) -> str:
    """The name of the unit that is this gateway too, of the host or of its user; "" where none is found."""
    user = systemd.find_user(definition.user) if definition.user is not None else _ourselves()
    managers = (systemd.Manager(), *([systemd.Manager(user)] if user is not None else []))
    home = user.home if user is not None else "/"
    name = next((file.name for manager in managers for file, _ in units(manager, home, (definition,))), "")
    return name.encode(errors="replace").decode()  # it goes into the journal, whatever bytes it has


def _ourselves() -> systemd.User:
    """In a container nobody may have our uid; HOME is where our gateways live."""
    return systemd.User("", os.geteuid(), os.getegid(), (), os.path.expanduser("~"), "")  # noqa: PTH111 - a string is wanted


def _same(definition: Definition, started: service.Service) -> bool:
    pairs = ((definition.state_dir, started.state_dir), (definition.config_path, started.config_path))
    return any(os.path.realpath(ours) == os.path.realpath(theirs) for ours, theirs in pairs)
