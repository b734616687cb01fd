"""All gateways at a glance: a summary, a line a gateway, and beneath them in full what did not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from supervisor.cli import words

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import Any

_HEADINGS = ("GATEWAY", "STATE", "FOR", "PORT", "RESTARTS", "")
_GAP = "  "
_FALLEN = frozenset({"backoff", "failed", "hung"})  # what is blocked has a mend beneath


def table(document: Mapping[str, Any]) -> str:
    """Render the document of INTERFACE.md §5 for people, no line wider than the terminal."""
    at, width = words.now(), words.width()
    entries = document["gateways"]
    lines = [_summary(entries)]
    lines += [
        words.coloured("", line)
        for why in document["supervisor"].get("degraded") or ()
        for line in _wrapped("supervisor: ", why, width)
    ]
    if not entries:
        return "\n".join(lines)
    rows = [_HEADINGS, *(_row(entry, at) for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS) - 1)]
    room = width - sum(widths) - len(_GAP) * len(widths)
    lines += [_line(row, widths, room) for row in rows]
    for entry, row in zip(entries, rows[1:], strict=True):
        lines += _beneath(entry, row[-1], room, width)
    if fallen := [entry["name"] for entry in entries if entry["wanted"] and entry["state"] in _FALLEN]:
        lines.append(f"more: clawsup why {words.printable(fallen[0])}")
    return "\n".join(lines)


def _summary(entries: list[Mapping[str, Any]]) -> str:
    if not entries:
        return "no gateways: no definition has been read (clawsup check says why)"
    wanted = [entry["state"] for entry in entries if entry["wanted"]]
    others = Counter(state for state in wanted if state != "ready")
    stopped = len(entries) - len(wanted)
    parts = [f"{wanted.count('ready')}/{len(wanted)} ready", *(f"{count} {state}" for state, count in others.items())]
    return ", ".join(parts + ([f"{stopped} not wanted"] if stopped else []))


def _row(entry: Mapping[str, Any], at: float) -> tuple[str, ...]:
    return (
        words.printable(entry["name"]),
        entry["state"],
        words.since(entry["since"], at),
        str(entry["port"] or "-"),
        str(entry["restarts"]),
        words.printable(note(entry, at)),
    )


def note(entry: Mapping[str, Any], at: float) -> str:
    """Say why it is as it is and what happens next, the most useful first; empty when all is well."""
    last_exit = entry.get("last_exit")
    next_step = words.retry(entry, at)
    why = entry.get("reason") or ""
    if not why and last_exit and entry["state"] in {"backoff", "failed", "hung", "repairing"}:
        why = words.ending(last_exit)
    before = ""
    if not why and entry["state"] == "ready" and entry["restarts"] and last_exit:
        before = f"before: {words.ending(last_exit)}"
    warnings = [f"warning: {text}" for text in entry.get("warnings") or ()]
    return "; ".join(filter(None, (next_step, why, *warnings, before)))


def _line(row: tuple[str, ...], widths: list[int], room: int) -> str:
    name, state, *figures, last = row
    cells = [name.ljust(widths[0]), state.ljust(widths[1])]
    cells += [figure.rjust(width) for figure, width in zip(figures, widths[2:], strict=True)]
    if row is not _HEADINGS:
        cells[1] = words.coloured(state, cells[1])
    return _GAP.join([*cells, _cut(last, room)]).rstrip()


def _cut(text: str, room: int) -> str:
    """Give as much of a note as there is room for: its first part whole rather than a torn piece of the second."""
    first = text.partition("; ")[0]
    return first if len(first) <= room < len(text) else words.cut(text, room)


def _beneath(entry: Mapping[str, Any], text: str, room: int, width: int) -> list[str]:
    """Give in full what the row of a troubled gateway had no room for, and the mend."""
    if not entry["wanted"] or (entry["state"] == "ready" and not entry.get("warnings")):
        return []
    mend = words.printable(entry.get("mend") or "")
    if len(text) <= room and not mend:
        return []
    name = words.printable(entry["name"])
    if len(text) <= room:
        return _wrapped(f"{name}: mend: ", mend, width)
    left = text.removeprefix(f"{_cut(text, room)}; ")  # what has found room stands in the row already
    return _wrapped(f"{name}: ", left, width) + (_wrapped("  mend: ", mend, width) if mend else [])


def _wrapped(head: str, text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(
        words.printable(text), width, initial_indent=head, subsequent_indent="  ", break_on_hyphens=False
    )
