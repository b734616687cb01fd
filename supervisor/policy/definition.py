"""What the operator wrote about one gateway: one `conf.d/NAME.toml`, defaults filled in, paths absolute.

Every field's description is what a wrong value is told that was expected; its `applied` says how a change is put into effect:
`live` at once, `restart` with a new life of the gateway, `identity` by ending this gateway and beginning another.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from supervisor.openclaw import paths

Role = Literal["main", "rescue", "extra"]
RANK: Final[Mapping[Role, int]] = {"rescue": 0, "main": 1, "extra": 2}
"""Who goes first, the lowest."""
Applied: TypeAlias = Literal["live", "restart", "identity"]

NAME_PATTERN = r"[a-z0-9][a-z0-9-]{0,31}"


def _field(expected: str, applied: Applied = "live", **limits: Any) -> Any:
    return Field(description=expected, json_schema_extra={"applied": applied}, **limits)


def _speakable(text: str) -> str:
    if "\0" in text:
        raise ValueError("has a NUL byte in it")
    return text


def _path(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty, expected a path")
    if text.startswith("~") and not text.startswith("~/") and text != "~":
        raise ValueError(f'is "{text}", but only ~/ is expanded: write the home directory out')
    return _speakable(text)


def _profile(name: str) -> str:
    if not paths.is_profile(name):
        raise ValueError(f'is "{name}", expected an OpenClaw profile: {paths.PROFILE_RULE}')
    return paths.DEFAULT_PROFILE if name.lower() == paths.DEFAULT_PROFILE else name


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words or not words[0].strip():
        raise ValueError('is empty, expected a launcher and its arguments, like ["openclaw"]')
    return words


Seconds = Annotated[float, _field("a number of seconds > 0", gt=0, allow_inf_nan=False)]
Text = Annotated[str, AfterValidator(_speakable)]
PathText = Annotated[str, AfterValidator(_path)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Start(_Section):
    """How long a start may take: `timeout` s from spawn to started, longer while it makes progress, never past `cap` s."""

    timeout: Seconds = 300
    cap: Seconds = 1200


class Stop(_Section):
    """How long a stop may take: `timeout` s from SIGTERM to SIGKILL."""

    timeout: Seconds = 330


class Probe(_Section):
    """How the gateway is asked: every `interval` s, each answer within `timeout` s; `failures` misses in a row are a hang."""

    interval: Seconds = 15
    timeout: Seconds = 10
    failures: Annotated[int, _field("a whole number, at least 1", ge=1)] = 8


class Restart(_Section):
    """When a fallen gateway is tried again (INTERFACE.md §8); durations in s, `burst` 0 means no limit of unclean boots."""

    delay: Seconds = 1.0
    cap: Seconds = 900
    stable: Seconds = 120
    burst: Annotated[int, _field("a whole number, at least 0", ge=0)] = 3
    window: Seconds = 310


class Repair(_Section):
    """The ladder of repairs, in order; empty: never."""

    steps: Annotated[
        tuple[Literal["rollback", "doctor", "rescue"], ...],
        _field('a list of the steps "rollback", "doctor", "rescue"'),
    ] = ("rollback", "doctor", "rescue")


class Definition(BaseModel):
    """One gateway as the operator wants it.

    `profile` is None for the manual way (state dir and config path both given, no `--profile`); paths are absolute and
    expanded; `patients` is empty but for the rescue; `env_hash` is no key of a file: it tells one content of `env_file` from another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, _field("a gateway's name", "identity", pattern=f"^{NAME_PATTERN}$")]
    port: Annotated[int, _field("a whole number from 1 to 65535", "restart", ge=1, le=65535)]
    role: Annotated[Role, _field('"main", "rescue" or "extra"')] = "extra"
    profile: Annotated[
        Annotated[str, AfterValidator(_profile)] | None, _field("the name of an OpenClaw profile", "identity")
    ]
    state_dir: Annotated[PathText, _field("a path in quotes", "identity")]
    config_path: Annotated[PathText, _field("a path in quotes", "identity")]
    workspace: Annotated[PathText | None, _field("a path in quotes", "restart")] = None
    enabled: Annotated[bool, _field("true or false")] = True
    command: Annotated[
        tuple[Text, ...], AfterValidator(_command), _field('a list of strings, like ["openclaw"]', "restart")
    ] = ("openclaw",)
    env_file: Annotated[PathText | None, _field("a path in quotes", "restart")] = None
    env_hash: Annotated[str, _field("nothing", "restart")] = ""
    cdp_ports: Annotated[int, _field("a whole number from 0 to 100", "restart", ge=0, le=100)] = 9
    patients: Annotated[tuple[str, ...], _field('a list of gateway names, like ["main"]')] = ()
    user: Annotated[Text | None, _field("a user's name in quotes", "identity", min_length=1)] = None
    env: Annotated[Mapping[str, Text], _field('a table of strings: NAME = "value"', "restart")] = {}
    start: Annotated[Start, _field("a table: [start]")] = Start()
    stop: Annotated[Stop, _field("a table: [stop]")] = Stop()
    probe: Annotated[Probe, _field("a table: [probe]")] = Probe()
    restart: Annotated[Restart, _field("a table: [restart]")] = Restart()
    repair: Annotated[Repair, _field("a table: [repair]")] = Repair()


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    name: field.annotation
    for name, field in Definition.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, _Section)
}


def applied(field: str) -> Applied:
    """How a change of one field of a definition is put into effect."""
    extra = cast("Mapping[str, Applied]", Definition.model_fields[field].json_schema_extra)
    return extra["applied"]
