"""Candidates on a disk that is only thought of, and what is judged of them."""

from collections.abc import Mapping
from typing import Any

from supervisor.openclaw.config import ConfigFacts
from supervisor.policy.candidate import Spot
from supervisor.policy.definition import Definition
from supervisor.policy.document import Document
from supervisor.policy.roster import Candidate, Fault, Machine, Place, Verdict, judge
from supervisor.policy.toml_lines import Path

MACHINE = Machine()


def place(path: str, **kind: Any) -> Place:
    """A place on a disk without links, where nothing exists yet."""
    parts = path.strip("/").split("/")
    above: list[Spot] = [(1, 1, "/".join(parts[:size])) for size in range(len(parts))]
    return Place(path, (1, 1, "/".join(parts)), frozenset(above), **kind)


def candidate(  # noqa: PLR0913 (each is named at every call)
    name: str,
    port: int,
    *,
    state_dir: str = "",
    config_path: str = "",
    config: Mapping[str, Any] | None = None,
    lines: Mapping[Path, int] | None = None,
    patients_said: bool = False,
    **fields: Any,
) -> Candidate:
    state_dir = state_dir or f"/home/.openclaw-{name}"
    config_path = config_path or f"{state_dir}/openclaw.json"
    definition = Definition(
        name=name,
        port=port,
        profile=fields.pop("profile", name),
        state_dir=state_dir,
        config_path=config_path,
        **fields,
    )
    facts = ConfigFacts(config_path, **{"mode": "local", "port": port, **(config or {})})
    found = dict(facts.workspaces)
    if definition.workspace is not None:
        found["workspace"] = definition.workspace
    elif "agents.defaults.workspace" not in found:
        found["workspace"] = f"{state_dir}/workspace"
    return Candidate(
        definition=definition,
        document=Document(f"/conf.d/{name}.toml", {}, dict(lines or {})),
        state_dir=place(state_dir),
        config=place(config_path),
        workspaces=tuple((key, place(path)) for key, path in found.items()),
        facts=facts,
        environment=definition.env,
        patients_said=patients_said,
    )


def verdict(*candidates: Candidate, machine: Machine = MACHINE, found: tuple[Fault, ...] = ()) -> Verdict:
    return judge([each.name for each in candidates], candidates, found, machine)


def only_fault(*candidates: Candidate, machine: Machine = MACHINE) -> Fault:
    (fault,) = verdict(*candidates, machine=machine).faults
    return fault


def usable(judged: Verdict) -> list[str]:
    return [definition.name for definition in judged.roster.definitions]
