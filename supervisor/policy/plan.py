"""What a reload would do: for each gateway what changed in its definition, and how that is put into effect."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from supervisor.policy.definition import Definition, applied
from supervisor.policy.facts import Roster
from supervisor.policy.state import Child, life_of

Effect: TypeAlias = Literal["none", "live", "restart", "replace", "start", "stop", "broken", "orphaned", "forget"]

MASKED = "***"


@dataclass(frozen=True, slots=True)
class Difference:
    """One key of a definition; values as text, those of `env` and of `env_file` masked."""

    key: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload does to one gateway.

    `replace` is a restart under another identity; `orphaned` runs on though its definition is gone; `broken` keeps running on
    its last good definition, or stays blocked; `reason` says why, where it is not plain.
    """

    name: str
    effect: Effect
    differences: tuple[Difference, ...] = ()
    reason: str = ""


def plan(children: Mapping[str, Child], roster: Roster, *, prune: bool) -> tuple[Change, ...]:
    """One change for each gateway that is or shall be, by name; all of them `none` when nothing changed."""
    defined = {definition.name: definition for definition in roster.definitions}
    broken = dict(roster.broken)
    names = sorted({*children, *defined, *broken})
    return tuple(_change(name, children.get(name), defined.get(name), broken, prune=prune) for name in names)


def differences(before: Definition, after: Definition) -> tuple[Difference, ...]:
    """The keys in which two definitions of one gateway differ, tables taken apart."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return tuple(found for key in new for found in _differing(key, old[key], new[key]))


def effect_of(before: Definition, after: Definition) -> Literal["none", "live", "restart", "replace"]:
    """How a running gateway takes the step from one definition to the other: by the strictest of the changed keys."""
    kinds = {applied(key) for key in type(after).model_fields if getattr(before, key) != getattr(after, key)}
    if "identity" in kinds:
        return "replace"
    if "restart" in kinds:
        return "restart"
    return "live" if kinds else "none"


def with_live(before: Definition, after: Definition) -> Definition:
    """The old definition with the live keys of the new one: what a running gateway can take at once."""
    live = {key: getattr(after, key) for key in type(after).model_fields if applied(key) == "live"}
    return before.model_copy(update=live)


def _change(
    name: str,
    child: Child | None,
    definition: Definition | None,
    broken: Mapping[str, object],
    *,
    prune: bool,
) -> Change:
    lives = child is not None and life_of(child.state) is not None
    if name in broken:
        reason = getattr(broken[name], "reason", "")
        return Change(name, "broken", reason=reason)
    if definition is None:
        if not lives:
            return Change(name, "forget")
        return Change(name, "stop" if prune else "orphaned", reason="its definition is gone")
    if child is None or child.definition is None:
        return Change(name, "start" if definition.enabled else "none")
    found = differences(child.definition, definition)
    if not found:
        returns = not lives and not child.held and (child.orphaned or child.broken is not None)
        return Change(name, "start" if returns and definition.enabled else "none")
    effect: Effect = effect_of(child.definition, definition)
    if child.definition.enabled != definition.enabled and not child.held:
        effect = "start" if definition.enabled else "stop"
    elif not lives:
        # Nobody runs by the old definition, so nobody must be told to end.
        effect = "live"
    return Change(name, effect, found)


def _differing(key: str, before: object, after: object) -> Iterator[Difference]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for part in sorted({*before, *after}):
            if before.get(part) != after.get(part):
                yield from _told(key, part, before.get(part), after.get(part))
        return
    if key == "env_hash":
        yield Difference("env_file.content", MASKED if before else "", MASKED if after else "")
        return
    yield Difference(key, _text(before), _text(after))


def _told(key: str, part: str, before: object, after: object) -> Iterator[Difference]:
    if key == "env":
        yield Difference(f"env.{part}", "" if before is None else MASKED, "" if after is None else MASKED)
    else:
        yield Difference(f"{key}.{part}", _text(before), _text(after))


def _text(value: object) -> str:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
