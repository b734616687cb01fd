"""One line of the journal as a person reads it: the same words on stderr, in `events` and in `status NAME`."""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

Fields: TypeAlias = Mapping[str, object]

# Lines that are there for a replay: the line after each says what came of it.
PLUMBING: Final = frozenset({"probed", "ticked", "booted", "spawn_refused", "obstacle_changed"})
_KEY: Final = re.compile(
    r"\b[0-9a-f]{64}\b"
)  # of a config's content; its beginning is what `config NAME history` shows
_HIDDEN: Final = frozenset(
    {"seq", "at", "until", "gateway", "event", "crc", "decision", "fleet", "roster", "life", "start_ticks"}
)


def sentence(event: str, fields: Fields) -> str:
    """What happened, in words; `fields` are those of the journal line, of any version of it."""
    words = _WORDS.get(event, _plainly)(fields)
    said = event.removeprefix("supervisor_").replace("_", " ")
    return f"{said}: {words}" if words else said


def ending(code: object, signal: object) -> str:
    """An exit status in words."""
    if isinstance(signal, int):
        return f"killed by signal {signal}"
    return f"exit {code}" if isinstance(code, int) else "exit status unknown"


def _spawned(fields: Fields) -> str:
    warnings = fields.get("warnings")
    return "; ".join([f"pid {fields.get('pid')}", *(map(str, warnings) if isinstance(warnings, list) else ())])


def _exited(fields: Fields) -> str:
    code = fields.get("code")
    how = ending(code, fields.get("signal"))
    parts = [how.replace(f"exit {code}", f"code {code}").removeprefix("exit ")]  # the event's name has said that
    if isinstance(ran_s := fields.get("ran_s"), (int, float)):
        parts.append(f"after {span(ran_s)}")
    if cause := fields.get("cause"):
        parts.append(f"({cause})")
    return " ".join(parts)


def _waiting(fields: Fields) -> str:
    wait_s = fields.get("in_s")
    why = str(fields.get("why", ""))
    return f"{why}; tried again in {span(wait_s)}" if isinstance(wait_s, (int, float)) else why


def _failed(fields: Fields) -> str:
    """Given up until its next retry, or where the ladder did not help, until something is mended."""
    return _blocked(fields) if "obstacle" in fields else _waiting(fields)


def _blocked(fields: Fields) -> str:
    obstacle = fields.get("obstacle")
    if not isinstance(obstacle, Mapping):
        return str(fields.get("reason", ""))
    return f"{obstacle.get('reason')} (mend: {obstacle.get('mend')})"


def _started(fields: Fields) -> str:
    after_s = fields.get("after_s")
    return f"after {span(after_s)}" if isinstance(after_s, (int, float)) else ""


def _why(fields: Fields) -> str:
    return str(fields.get("why", ""))


def _rung(fields: Fields) -> str:
    return str(fields.get("rung", "")).replace("_", " ")


def _step(fields: Fields) -> str:
    detail = f" ({fields['detail']})" if fields.get("detail") else ""
    return f"{_rung(fields)}: {fields.get('outcome')}{detail}"


def _repaired(fields: Fields) -> str:
    how = "mended" if fields.get("mended") else "not mended"
    return f"{how}; tried {fields['tried']}" if fields.get("tried") else how


def _nothing(_: Fields) -> str:
    return ""


def _plainly(fields: Fields) -> str:
    plain = {key: value for key, value in fields.items() if key not in _HIDDEN}
    return ", ".join(
        f"{key} {_KEY.sub(lambda found: found[0][:8], str(value))}"
        for key, value in plain.items()
        if isinstance(value, (str, int, float)) and value not in ("", False)
    )


def span(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 10:  # noqa: PLR2004 - below ten, tenths matter
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004 - up to two minutes people think in seconds
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


_WORDS: Final[Mapping[str, Callable[[Fields], str]]] = {
    "spawned": _spawned,
    "adopted": _spawned,
    "exited": _exited,
    "started": _started,
    "backoff": _waiting,
    "failed": _failed,
    "blocked": _blocked,
    "degraded": _why,
    "hung": _why,
    "repair_started": _why,
    "repairing": _rung,
    "repair_step": _step,
    "repair_ended": _repaired,
    "ready": _nothing,
    "stopping": _nothing,
    "stopped": _nothing,
    "reloaded": _nothing,
}
