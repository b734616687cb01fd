"""From a TOML document and the defaults to a definition: what is not said is filled in, paths become absolute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from supervisor.openclaw import paths
from supervisor.policy.definition import SECTIONS, Definition
from supervisor.policy.document import Document
from supervisor.policy.env_lines import name_faults
from supervisor.policy.fault import Fault
from supervisor.policy.wording import DEFINITION_KEYS, NO_KEYS, closest, faults_of, unknown_key

PER_GATEWAY: Final = frozenset({"port", "role", "profile", "state_dir", "config_path", "workspace"})
DEFAULT_KEYS: Final = DEFINITION_KEYS - PER_GATEWAY

# The rescue is never given up and never waits long, unless the operator says otherwise (INTERFACE.md §2).
_RESCUE_RESTART: Final[Mapping[str, Any]] = {"cap": 30, "burst": 0}
_TABLES: Final = frozenset({*SECTIONS, "env"})
_REQUIRED: Final[Mapping[str, Any]] = {
    "name": "x",
    "port": 1,
    "profile": None,
    "state_dir": "/",
    "config_path": "/",
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """`[defaults]` of supervisor.toml, without what is wrong in it.

    `user_unsure` says that a `user` was perhaps meant and cannot be known: root must then not guess.
    """

    values: Mapping[str, Any]
    faults: tuple[Fault, ...] = ()
    user_unsure: bool = False


NO_DEFAULTS: Final = Defaults({})


@dataclass(frozen=True, slots=True)
class Host:
    """What of the machine decides on defaults: the supervisor's home, whether it is root, the home of any other user."""

    conf_dir: str
    home: str
    root: bool
    home_of: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A definition as far as its own file can tell; `patients_said` tells an empty list from none."""

    definition: Definition | None
    faults: tuple[Fault, ...]
    patients_said: bool = False


def read_defaults(document: Document) -> Defaults:
    """Check `[defaults]`; each wrong key is reported and left out."""
    faults = [_misspelt(document, key) for key in document.values if key != "defaults" and closest(key, ["defaults"])]
    table = document.values.get("defaults", {})
    if not isinstance(table, dict):
        text = "is no table, expected [defaults]"
        faults.append(Fault(document.file, document.line("defaults"), "defaults", text, "write [defaults]"))
        return Defaults({}, tuple(faults), user_unsure=True)
    for key in table.keys() & (PER_GATEWAY | {"name"}):
        text = "belongs in a definition, as every gateway needs its own"
        faults.append(Fault(document.file, document.line("defaults", key), f"defaults.{key}", text, "move it"))
    strange = table.keys() - DEFAULT_KEYS - PER_GATEWAY - {"name"}
    faults += [unknown_key(key, DEFAULT_KEYS, document, None, "defaults") for key in sorted(strange)]
    values = {key: _frozen(value) for key, value in table.items() if key in DEFAULT_KEYS}
    names = [(name, document.line("defaults", "env", name)) for name in _table(values, "env")]
    faults += name_faults(document.file, names, None, prefix="defaults.env.")
    try:
        Definition.model_validate({**_REQUIRED, **values})
    except ValidationError as error:
        faults += faults_of(error, document, None, table=("defaults",))
        values = _without(values, [details["loc"] for details in error.errors(include_url=False)])
    unsure = ("user" in table) != ("user" in values) or any(closest(key, DEFAULT_KEYS) == "user" for key in strange)
    return Defaults(values, tuple(faults), user_unsure=unsure)


def _misspelt(document: Document, key: str) -> Fault:
    """Only a near miss is told: the other tables of supervisor.toml have other readers."""
    text = 'unknown table; did you mean "defaults"?'
    return Fault(document.file, document.line(key), key, text, "rename it to [defaults]", "warning")


def resolve(name: str, document: Document, defaults: Defaults, host: Host) -> Resolved:
    """The definition of one file, or every fault of it."""
    values = _merged(defaults.values, document.values)
    faults = list(_user_faults(name, document, values, defaults, host))
    faults += [unknown_key(key, DEFINITION_KEYS, document, name) for key in sorted(NO_KEYS & document.values.keys())]
    user = values.get("user")
    home = (host.home_of(user) if isinstance(user, str) else None) or host.home
    values = {**values, **_located(name, document.values, home), "name": name}
    said = "patients" in values
    if values.get("role") != "rescue":
        values.pop("patients", None)
    if "patients" in document.values and values.get("role") in {None, "main", "extra"}:
        text = 'is only for role = "rescue"'
        faults.append(Fault(document.file, document.line("patients"), "patients", text, "remove it", names=(name,)))
    names = [(variable, document.line("env", variable)) for variable in _table(document.values, "env")]
    faults += name_faults(document.file, names, name)
    try:
        definition = Definition.model_validate(values)
    except ValidationError as error:
        return Resolved(None, (*faults, *faults_of(error, document, name)))
    return Resolved(_expanded(definition, home, host.conf_dir), (*faults, *_doubts(definition, document)), said)


def _merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The file's keys over the defaults', tables key by key; the rescue's own defaults under both."""
    frozen = {key: _frozen(value) for key, value in own.items() if key not in NO_KEYS}
    merged = {**defaults, **frozen}
    for key in _TABLES & defaults.keys() & frozen.keys():
        if isinstance(frozen[key], dict):
            merged[key] = {**defaults[key], **frozen[key]}
    if merged.get("role") == "rescue" and isinstance(merged.get("restart", {}), dict):
        merged["restart"] = {**_RESCUE_RESTART, **merged.get("restart", {})}
    return merged


def _located(name: str, own: Mapping[str, Any], home: str) -> dict[str, Any]:
    """Profile and paths by OpenClaw's rule where the file is silent; what has the wrong type is left for pydantic to name."""
    manual = "profile" not in own and "state_dir" in own and "config_path" in own
    profile = own.get("profile", None if manual else name)
    state_dir = own.get("state_dir", paths.state_dir(profile if isinstance(profile, str) else name, home))
    config = own.get("config_path")
    if config is None:
        config = paths.config_path(state_dir) if isinstance(state_dir, str) and state_dir.strip() else "-"
    return {"profile": profile, "state_dir": state_dir, "config_path": config}


def _expanded(definition: Definition, home: str, conf_dir: str) -> Definition:
    """Every path absolute; a launcher with a slash in it is a path too."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else paths.expand(path, home=home, base=conf_dir)

    launcher, *words = definition.command
    launcher = paths.expand(launcher, home=home, base=conf_dir) if "/" in launcher else launcher
    changes = {key: absolute(getattr(definition, key)) for key in ("state_dir", "config_path", "workspace", "env_file")}
    return definition.model_copy(update={**changes, "command": (launcher, *words)})


def _user_faults(
    name: str, document: Document, values: Mapping[str, Any], defaults: Defaults, host: Host
) -> tuple[Fault, ...]:
    user, line = values.get("user"), document.line("user")
    if user is None and defaults.user_unsure and host.root:
        text = "cannot be known, as [defaults] in supervisor.toml is broken; root does not guess"
        return (Fault(document.file, 1, "user", text, "mend supervisor.toml, or set user here", names=(name,)),)
    if not isinstance(user, str):
        return ()
    if not host.root:
        text = f'is "{user}", but only a supervisor that runs as root can change the user'
        return (Fault(document.file, line, "user", text, "remove it, or run clawsup as root", names=(name,)),)
    if host.home_of(user) is None:
        text = f'is "{user}", which is no user of this machine'
        return (Fault(document.file, line, "user", text, "create the user, or name another", names=(name,)),)
    return ()


def _doubts(definition: Definition, document: Document) -> tuple[Fault, ...]:
    """What is legal and cannot be meant."""
    start = definition.start
    if start.timeout <= start.cap:
        return ()
    text = f"is {start.timeout:g}, but [start] cap ends every start after {start.cap:g} s"
    line = document.line("start", "timeout")
    return (Fault(document.file, line, "start.timeout", text, "raise start.cap", "warning", (definition.name,)),)


def _frozen(value: Any) -> Any:
    """TOML's arrays as tuples, which is what strict models take."""
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = values.get(key)
    return table if isinstance(table, dict) else {}


def _without(values: Mapping[str, Any], wrong: list[tuple[str | int, ...]]) -> dict[str, Any]:
    """The values less the keys that were found wrong, in a table the one key, else the whole."""
    kept = dict(values)
    for first, *rest in wrong:
        table = kept.get(str(first))
        if rest and isinstance(table, dict):
            kept[str(first)] = {key: value for key, value in table.items() if key != rest[0]}
        else:
            kept.pop(str(first), None)
    return kept
