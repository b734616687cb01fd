"""An operator at the command line, who asks again until it is done; what he wants is what counts."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.stage import Stage
from tests.e2e.world import REPOSITORY

AGAIN_S = 0.3
# By its exit code a verb has come to an end, whatever that was; only "nobody answers" is asked again at once.
_NOBODY = 4
PATIENCE_S = 60.0


@dataclass(slots=True)
class Asked:
    """One verb under way; `pid` is 0 between two tries."""

    verb: str
    name: str
    since: float
    pid: int = 0
    tries: int = 0
    again_at: float = 0.0

    def __str__(self) -> str:
        return f"{self.verb} {self.name}".strip()


class Operator:
    """Runs `clawsup VERB`; `held` are the gateways whose stop was confirmed, and when."""

    def __init__(self, stage: Stage, conf_dir: Path, env: Mapping[str, str]) -> None:
        self._stage = stage
        where = ["--conf-dir", str(conf_dir), "--state-dir", str(stage.state_dir)]
        self._command = [sys.executable, "-m", "supervisor", *where]
        self._env = {**env, "PYTHONPATH": str(REPOSITORY)}
        self._tries = 0
        self._under_way: dict[str, Asked] = {}
        self._status = 0
        self.held: dict[str, float] = {}
        self.unwanted: set[str] = set()
        self.done: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.last_at = -1.0
        self._status_at = 0.0

    def busy(self, name: str) -> bool:
        """Whether he still waits for a gateway's verb."""
        return name in self._under_way

    @property
    def waiting(self) -> list[str]:
        """What he waits for."""
        return [str(asked) for asked in self._under_way.values()]

    def ask(self, verb: str, name: str, now: float) -> bool:
        """Begin; False while another verb about this gateway is under way."""
        if name in self._under_way:
            return False
        if verb == "start":
            self.held.pop(name, None)
            self.unwanted.discard(name)
        elif verb == "stop":
            self.unwanted.add(name)
        self._under_way[name] = Asked(verb, name, now)
        return True

    def tend(self, now: float) -> list[str]:
        """See what has been answered, try again what was not; gives the verbs that came to no end."""
        stuck = []
        for name, asked in list(self._under_way.items()):
            if asked.pid and asked.pid in self._stage.ended:
                code = self._stage.ended.pop(asked.pid)
                asked.pid, asked.again_at = 0, now + AGAIN_S
                if code == 0 or (code != _NOBODY and asked.verb not in {"start", "stop"}):
                    self._confirm(asked, now)
                    del self._under_way[name]
                elif now - asked.since > PATIENCE_S:
                    stuck.append(f"{asked} comes to no end in {asked.tries} tries: {self._answer(asked)}")
                    del self._under_way[name]
            elif not asked.pid and now >= asked.again_at:
                asked.tries += 1
                self._tries += 1
                argv = [*self._command, asked.verb, *([name] if name else [])]
                asked.pid = self._stage.spawn(str(asked), argv, self._env, self._output(asked))
        return stuck

    def look(self, now: float, every_s: float) -> None:
        """`status --json` now and then; `last` is the newest document and `last_at` when it was asked for."""
        output = self._stage.root / "status.json"
        if self._status in self._stage.ended:
            self._stage.ended.pop(self._status)
            self._status = 0
            text = output.read_text(encoding="utf-8")
            self.last, self.last_at = _document(text), self._status_at
        if not self._status and now - self._status_at >= every_s:
            output.unlink(missing_ok=True)
            self._status_at = now
            self._status = self._stage.spawn("status", [*self._command, "status", "--json"], self._env, output)

    def _confirm(self, asked: Asked, now: float) -> None:
        self.done[asked.verb] += 1
        if asked.verb == "stop":
            self.held[asked.name] = now

    def _output(self, asked: Asked) -> Path:
        return self._stage.root / f"{asked.verb}-{asked.name or 'all'}.out"

    def _answer(self, asked: Asked) -> str:
        return self._output(asked).read_text(errors="replace")[-300:].replace("\n", " | ")


def _document(text: str) -> dict[str, Any]:
    """The answer of `status --json`, {} where nobody answered."""
    answer = next((line for line in text.splitlines() if line.startswith("{")), "{}")
    return dict(json.loads(answer))
