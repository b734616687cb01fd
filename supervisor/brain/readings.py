"""What conf.d says now: the roster for policy, the environments for spawns, and the fallback when nothing can be read."""

from collections.abc import Mapping
from pathlib import Path

from loguru import logger

from supervisor.errors import DefinitionsUnusable
from supervisor.host import definitions
from supervisor.policy.definition import Definition
from supervisor.policy.facts import Roster
from supervisor.policy.state import Child


class Readings:
    """Reads one conf.d again and again; every fault found on the way is said on stderr."""

    def __init__(self, conf_dir: Path) -> None:
        self._conf_dir = conf_dir
        self._environments: Mapping[str, Mapping[str, str]] = {}

    def extra(self, definition: Definition) -> Mapping[str, str]:
        """What a definition gives its gateway: `env_file` overlaid with `[env]`, as last taken over."""
        return self._environments.get(definition.name, definition.env)

    def roster(self, *, dry: bool = False) -> Roster:
        """All definitions; `dry` takes nothing over. DefinitionsUnusable when there is not one that could be read."""
        reading = definitions.read(self._conf_dir)
        for fault in reading.faults:
            logger.warning(str(fault))
        if not dry:
            self._environments = reading.environments
        return reading.roster

    def first_roster(self, children: Mapping[str, Child]) -> Roster:
        """All definitions, or where not one can be used, those that the present children run by.

        DefinitionsUnusable when there are no such children either: then there is nothing to supervise.
        """
        kept = Roster(tuple(child.definition for child in children.values() if child.definition))
        try:
            roster = self.roster()
        except DefinitionsUnusable as unusable:
            if not kept.definitions:
                raise
            logger.warning(str(unusable))
            return kept
        if not roster.definitions and not children:
            raise DefinitionsUnusable(f"{self._conf_dir}: not one definition can be used", mend="clawsup check")
        return roster
