"""The directory of definitions, as it is now: everything read, everything checked, nothing touched."""

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from supervisor.errors import ClawsupError, DefinitionsUnusable, NoSuchGateway
from supervisor.host.definitions.disk import SEEN_BY_OTHERS, SHORTAGES, content, place
from supervisor.host.definitions.machine import machine_facts
from supervisor.openclaw import launch, paths
from supervisor.openclaw.config import ConfigFacts, ConfigFault, read_config
from supervisor.policy.definition import NAME_PATTERN, Definition
from supervisor.policy.document import Document, parse
from supervisor.policy.env_lines import hash_of, parse_env
from supervisor.policy.facts import Roster
from supervisor.policy.resolution import NO_DEFAULTS, Defaults, Host, Resolved, read_defaults, resolve
from supervisor.policy.roster import Candidate, Fault, Machine, Place, judge

MAX_BYTES: Final = 1024 * 1024
MAX_CONFIG_BYTES: Final = 2 * 1024 * 1024  # what OpenClaw itself takes for an included file


@dataclass(frozen=True, slots=True)
class Reading:
    """`known` are all definitions that could be read, `environments` and `configs` what belongs to each of them.

    `environments` is env_file, then [env]; `faults` are all errors and warnings, by file and line.
    """

    roster: Roster
    faults: tuple[Fault, ...]
    environments: Mapping[str, Mapping[str, str]]
    configs: Mapping[str, ConfigFacts | ConfigFault]
    known: tuple[Definition, ...]

    def named(self, name: str) -> Definition:
        """The definition of that name; the errors of one that is not there or cannot be read."""
        known = {definition.name: definition for definition in self.known}
        if name in known:
            return known[name]
        broken = dict(self.roster.broken)
        if name in broken:
            raise DefinitionsUnusable(f"{name} cannot be read: {broken[name].reason}", mend=broken[name].mend)
        raise NoSuchGateway(f"no gateway is called {name}", mend=f"known: {', '.join(sorted({*known, *broken}))}")


def read(conf_dir: Path, *, home: Path | None = None, machine: Machine | None = None) -> Reading:
    """Read and judge every definition; the supervisor's own `home` and the `machine` are looked up if not given.

    Raises DefinitionsUnusable where there is not one file to be read, ClawsupError where the machine is too short to look.
    """
    folder = Path(os.path.abspath(conf_dir))  # noqa: PTH100 (supervisor.toml is beside the link, if it is one)
    stems = _stems(folder)
    defaults = _defaults(folder.parent / "supervisor.toml")
    own_home = str(home or _own_home())
    host = Host(str(folder), own_home, root=os.geteuid() == 0, home_of=_home_of)
    faults: list[Fault] = [*defaults.faults]
    candidates: list[Candidate] = []
    for stem in stems:
        document = _document(folder / f"{stem}.toml", stem)
        if isinstance(document, Fault):
            faults.append(document)
            continue
        resolved = resolve(stem, document, defaults, host)
        faults += resolved.faults
        if resolved.definition is not None:
            pairs, more = _env_file(resolved.definition, document)
            faults += more
            definition = resolved.definition.model_copy(update={"env_hash": hash_of(pairs)})
            environment = {**pairs, **definition.env}
            candidates.append(_candidate(resolved, definition, document, environment, own_home))
    legal = [stem for stem in stems if _is_name(stem)]
    verdict = judge(legal, candidates, faults, machine or machine_facts())
    return Reading(
        roster=verdict.roster,
        faults=verdict.faults,
        environments={candidate.name: candidate.environment for candidate in candidates},
        configs={candidate.name: candidate.facts for candidate in candidates},
        known=verdict.known,
    )


def _stems(folder: Path) -> list[str]:
    """The stems of all definition files, in order."""
    mend = "put one NAME.toml a gateway into it (README.md shows how), or name another directory with --conf-dir"
    try:
        names = [file.name for file in folder.iterdir()]
    except OSError as error:
        # A machine that is short of descriptors has unusable definitions only for now.
        kind = ClawsupError if error.errno in SHORTAGES else DefinitionsUnusable
        mend = "make it readable for the user that runs clawsup" if isinstance(error, PermissionError) else mend
        raise kind(f"{folder}: the definitions cannot be read: {error.strerror}", mend=mend) from error
    stems = sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml") and not name.startswith("."))
    if not stems:
        raise DefinitionsUnusable(f"{folder}: there is no definition in it", mend=mend)
    return stems


def _is_name(stem: str) -> bool:
    return re.fullmatch(NAME_PATTERN, stem) is not None


def _document(path: Path, stem: str) -> Document | Fault:
    file, names = str(path), (stem,)
    if not _is_name(stem):
        shown = str(path.with_name(ascii(path.name)[1:-1]))
        text = "the file's stem is the gateway's name: expected a-z, 0-9 and -, first no -, at most 32"
        return Fault(shown, None, "", text, "rename the file")
    try:
        data, _ = content(file, MAX_BYTES)
    except OSError as error:
        return Fault(file, None, "", f"cannot be read: {error.strerror}", "make it a readable file", names=names)
    return parse(file, data, names)


def _defaults(path: Path) -> Defaults:
    file = str(path)
    try:
        data, _ = content(file, MAX_BYTES)
    except FileNotFoundError:
        return NO_DEFAULTS
    except OSError as error:
        fault = Fault(file, None, "", f"cannot be read: {error.strerror}", "make it a readable file")
        return Defaults({}, (fault,), user_unsure=True)
    document = parse(file, data, ())
    if isinstance(document, Fault):
        return Defaults({}, (document,), user_unsure=True)
    return read_defaults(document)


def _env_file(definition: Definition, document: Document) -> tuple[Mapping[str, str], tuple[Fault, ...]]:
    """The pairs of the file that `env_file` names, and what is wrong with it."""
    file = definition.env_file
    if file is None:
        return {}, ()

    def fault(text: str, mend: str) -> Fault:
        line = document.line("env_file")
        return Fault(document.file, line, "env_file", f"{file} {text}", mend, names=(definition.name,))

    try:
        data, mode = content(file, MAX_BYTES)
    except OSError as error:
        return {}, (fault(f"cannot be read: {error.strerror}", "create it with mode 0600"),)
    try:
        pairs, faults = parse_env(file, data.decode(), definition.name)
    except UnicodeDecodeError:
        return {}, (fault("is not UTF-8", "save it as UTF-8"),)
    if mode & SEEN_BY_OTHERS:
        open_ = fault(f"can be read or written by others (mode {mode:04o})", f"chmod 600 {file}")
        faults = (open_, *faults)
    return pairs, faults


def _candidate(
    resolved: Resolved, definition: Definition, document: Document, environment: Mapping[str, str], home: str
) -> Candidate:
    """Look at everything the definition points to."""
    home = (definition.user and _home_of(definition.user)) or home
    home = environment.get("OPENCLAW_HOME") or environment.get("HOME") or home
    variables = {"HOME": home, **environment, **launch.said(definition)}
    facts = read_config(definition.config_path, _config_bytes, environment=variables)
    return Candidate(
        definition=definition,
        document=document,
        state_dir=place(definition.state_dir),
        config=place(definition.config_path),
        workspaces=_workspaces(definition, facts, home),
        facts=facts,
        environment=environment,
        patients_said=resolved.patients_said,
    )


def _workspaces(definition: Definition, facts: ConfigFacts | ConfigFault, home: str) -> tuple[tuple[str, Place], ...]:
    """Every workspace that the gateway's agents would use, by OpenClaw's rule, and what the definition says of it."""
    expand = partial(paths.expand, home=home, base=definition.state_dir)
    found = dict(facts.workspaces) if isinstance(facts, ConfigFacts) else {}
    if definition.workspace is not None:
        found["workspace"] = definition.workspace
    elif "agents.defaults.workspace" not in found:
        found["workspace"] = "workspace"
    return tuple((key, place(expand(path))) for key, path in found.items())


def _config_bytes(path: str) -> bytes:
    return content(path, MAX_CONFIG_BYTES)[0]


def _own_home() -> str:
    """$HOME or what the password database says; a container may know neither."""
    home = os.path.expanduser("~")  # noqa: PTH111 (Path.home() raises where there is none)
    return home if home.startswith("/") else "/"


def _home_of(user: str) -> str | None:
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError):
        return None
