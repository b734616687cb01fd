"""What is to be known of a life right after its end: its status, what stood in its way, and what its config was."""

import os
import signal
from collections.abc import Callable

from supervisor.brain import preflight, rivals
from supervisor.brain.commands import Extra
from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Launchers, Place
from supervisor.brain.lives import Lives, Living
from supervisor.host.logs.reading import tail
from supervisor.openclaw import exits
from supervisor.policy.definition import Definition
from supervisor.policy.events import Exited
from supervisor.policy.facts import Guarded

# So many last lines are looked through for what an exit 78 was about.
LAST_WORDS = 30


class Endings:
    """Looks; at the machine as it is now, and so at once."""

    def __init__(  # noqa: PLR0913, PLR0917 - what is asked, each once
        self,
        place: Place,
        launchers: Launchers,
        guard: Guard,
        lives: Lives,
        extra: Extra,
        written: Callable[[str], int],
    ) -> None:
        self._logs = place.state_dir / "logs"
        self._written = written
        self._launchers = launchers
        self._guard = guard
        self._lives = lives
        self._extra = extra

    def told(self, name: str, life: int, status: int | None, definition: Definition, living: Living | None) -> Exited:
        """The end of a life by its wait status; `living` is None, or adopted, where its beginning was not seen."""
        code = None if status is None else os.waitstatus_to_exitcode(status)
        seen = living if living is not None and living.launcher is not None else None
        # Who had started had lock and ports, unless it says itself that it cannot go on with what it found.
        is_in_doubt = living is None or not living.started or code == exits.CONFIG
        guarded = Guarded()
        said = self._last_words(name, living) if code in (exits.OK, exits.CONFIG) else []
        if code == exits.CONFIG:
            guarded = self._guard.refused(definition, said, seen.config_key if seen else None)
        heard = exits.heard(said) if code == exits.OK else ""
        is_term = heard == "term" or code in (-signal.SIGTERM, exits.SIGTERM_BY_SHELL)
        is_ours = living is not None and living.is_told_to_end
        return Exited(
            name,
            life,
            code=code if code is None or code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            obstacle=preflight.after_exit(definition, ours=self._lives.is_leftover) if is_in_doubt else None,
            # A gateway whose files were replaced leaves with this code and no other; to look takes a tenth of a new start.
            upgraded=code == exits.FAILURE and seen is not None and self._identity(definition) != seen.launcher,
            config_key=self._guard.key(definition),
            guarded=guarded,
            heard=heard,
            rival=rivals.unit_of(definition) if is_term and not is_ours else "",
        )

    def _identity(self, definition: Definition) -> object:
        launcher = self._launchers.find(definition)
        return self._launchers.identity(definition, launcher, self._extra(definition)) if launcher else None

    def _last_words(self, name: str, living: Living | None) -> list[str]:
        """The last lines that this life has printed; where its beginning was not seen, the last of all."""
        lines = tail(self._logs / f"{name}.log", LAST_WORDS)
        if living is None or living.said_before is None:
            return lines
        # The last line may have no end.
        left = self._written(name) - living.said_before + 1
        mine: list[str] = []
        for line in reversed(lines):
            left -= len(line.encode()) + 1
            if left < 0:
                break
            mine.append(line)
        return mine[::-1]
