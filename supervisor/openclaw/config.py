"""What an OpenClaw config file says about the things that gateways must not share.

OpenClaw's file is JSON5. `$include` takes a file or a list of files, relative to the file that includes them: objects merge
deeply, arrays concatenate, keys beside `$include` win, at most ten levels. `${NAME}` in a string is the environment's. Nothing
is judged here but whether the file can be read: what it means for the gateway is OpenClaw's own business.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from types import MappingProxyType
from typing import Any, Final

import json5

MAX_INCLUDE_DEPTH: Final = 10
MAX_FILES: Final = 256
# Of all files together, since the brain's loop waits for them and a brain that is silent for 10 s is replaced: the json5 package
# reads 100 kB/s, and 26 of what is made to be slow. Plain JSON takes no time, only memory.
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_JSON5_BYTES: Final = 96 * 1024

_INCLUDE: Final = "$include"
_VARIABLE = re.compile(r"\$(\$?)\{([A-Z_][A-Z0-9_]*)\}")
_JSON5_LINE = re.compile(r"<string>:(\d+) (.*)", re.DOTALL)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """`port` is None where the file names no usable one. The pairs are (the value's key in the file, the value).

    `workspaces` are as written, not expanded; a value with a `${NAME}` that nobody sets is left out, as nothing is known of it.
    """

    path: str
    mode: str | None = None
    port: int | None = None
    tls: bool = False
    workspaces: tuple[tuple[str, str], ...] = ()
    cdp_urls: tuple[tuple[str, str], ...] = ()
    cdp_ports: tuple[tuple[str, int], ...] = ()
    includes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """Why nothing is known: `path` is the file at fault (perhaps an included one), `missing` that the config itself is not there."""

    path: str
    line: int | None
    text: str
    missing: bool = False


@dataclass(slots=True)
class _Reading:
    """What has been read so far of a config and all it includes: `size` bytes, of which `slow` were no plain JSON."""

    read: Callable[[str], bytes]
    includes: list[str] = field(default_factory=list)
    size: int = 0
    slow: int = 0


class _UnusableError(Exception):
    """Carries a fault out of the recursion; it never leaves this module."""

    def __init__(self, fault: ConfigFault) -> None:
        super().__init__(fault.text)
        self.fault = fault


def read_config(
    path: str, read: Callable[[str], bytes], *, environment: Mapping[str, str] = _NOTHING
) -> ConfigFacts | ConfigFault:
    """The facts of one config file and all it includes; `read` gives a file's bytes or raises OSError."""
    reading = _Reading(read)
    try:
        data = _load(path, reading, ())
        return _facts(path, data, environment, tuple(reading.includes))
    except _UnusableError as error:
        return error.fault
    except RecursionError:
        return ConfigFault(path, None, "is nested too deeply")


def load_config(path: str, read: Callable[[str], bytes]) -> Mapping[str, Any] | ConfigFault:
    """All that a config file and what it includes say, merged; `read` as above."""
    try:
        data = _load(path, _Reading(read), ())
    except _UnusableError as error:
        return error.fault
    except RecursionError:
        return ConfigFault(path, None, "is nested too deeply")
    return data if isinstance(data, dict) else ConfigFault(path, 1, "is no object: expected { … }")


def substituted(text: str, data: Mapping[str, Any], environment: Mapping[str, str]) -> str | None:
    """A string of the config `data` as OpenClaw takes it, its `${NAME}` replaced; None where a variable is set by nobody."""
    return _substituted(text, {**_variables(data), **environment})


def _load(path: str, reading: _Reading, chain: tuple[str, ...]) -> Any:
    """The content of one file with its includes resolved; `chain` is who included it, outermost first."""
    if path in chain:
        raise _UnusableError(ConfigFault(chain[-1], None, f"$include goes in a circle: {' -> '.join((*chain, path))}"))
    if len(chain) > MAX_INCLUDE_DEPTH:
        raise _UnusableError(ConfigFault(chain[-1], None, f"$include is nested deeper than {MAX_INCLUDE_DEPTH} levels"))
    if chain:
        reading.includes.append(path)
    if len(reading.includes) > MAX_FILES:
        raise _UnusableError(ConfigFault(chain[0], None, f"includes more than {MAX_FILES} files"))
    try:
        raw = reading.read(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and not chain
        reason = error.strerror or str(error) or type(error).__name__
        raise _UnusableError(ConfigFault(path, None, f"cannot be read: {reason}", missing)) from error
    reading.size += len(raw)
    if reading.size > MAX_BYTES:
        raise _UnusableError(ConfigFault(path, None, f"passes {MAX_BYTES >> 20} MiB for all files together: not read"))
    return _resolve(_parse(path, raw, reading), path, reading, (*chain, path))


def _parse(path: str, raw: bytes, reading: _Reading) -> Any:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnusableError(ConfigFault(path, raw.count(b"\n", 0, error.start) + 1, "is not UTF-8")) from error
    try:
        return json.loads(text)
    except ValueError:
        pass  # JSON5 then, or neither: json5 says which.
    reading.slow += len(raw)
    if reading.slow > MAX_JSON5_BYTES:
        text = f"is no plain JSON, and such files pass {MAX_JSON5_BYTES >> 10} KiB together: not read"
        raise _UnusableError(ConfigFault(path, None, text))
    try:
        return json5.loads(text)
    except ValueError as error:
        found = _JSON5_LINE.match(str(error))
        line, what = (int(found[1]), found[2]) if found else (1, str(error))
        raise _UnusableError(ConfigFault(path, line, f"is not JSON5: {what}")) from error


def _resolve(data: Any, path: str, reading: _Reading, chain: tuple[str, ...]) -> Any:
    if isinstance(data, list):
        return [_resolve(item, path, reading, chain) for item in data]
    if not isinstance(data, dict):
        return data
    beside = {key: _resolve(item, path, reading, chain) for key, item in data.items() if key != _INCLUDE}
    if _INCLUDE not in data:
        return beside
    named = data[_INCLUDE]
    files = [named] if isinstance(named, str) else named
    if not isinstance(files, list) or not all(isinstance(file, str) and is_text(file) for file in files):
        raise _UnusableError(ConfigFault(path, None, "$include is neither a file nor a list of files"))
    merged: Any = {}
    for index, file in enumerate(files):
        included = _load(normpath(join(dirname(path), file)), reading, chain)
        merged = included if isinstance(named, str) and index == 0 else _merge(merged, included)
    if beside and not isinstance(merged, dict):
        raise _UnusableError(ConfigFault(path, None, "keys beside $include, but what it includes is no object"))
    return _merge(merged, beside) if beside else merged


def _merge(target: Any, source: Any) -> Any:
    """OpenClaw's deep merge: objects key by key, arrays one after the other, anything else replaced."""
    if isinstance(target, dict) and isinstance(source, dict):
        both = {key: _merge(target[key], source[key]) for key in target.keys() & source.keys()}
        return {**target, **source, **both}
    if isinstance(target, list) and isinstance(source, list):
        return [*target, *source]
    return source


def _facts(path: str, data: Any, environment: Mapping[str, str], includes: tuple[str, ...]) -> ConfigFacts:
    if not isinstance(data, dict):
        raise _UnusableError(ConfigFault(path, 1, "is no object: expected { … }"))
    variables = {**_variables(data), **environment}
    gateway, browser = _object(data, "gateway"), _object(data, "browser")
    profiles = _named(browser, "profiles", "browser.profiles")
    urls = (("browser", browser), *profiles)
    mode = gateway.get("mode")
    return ConfigFacts(
        path=path,
        mode=mode if isinstance(mode, str) else None,
        port=_port(gateway.get("port")),
        tls=_object(gateway, "tls").get("enabled") is True,
        workspaces=_strings(_agents(_object(data, "agents")), "workspace", variables),
        cdp_urls=_strings(urls, "cdpUrl", variables),
        cdp_ports=tuple(
            (f"{key}.cdpPort", port) for key, value in profiles if (port := _port(value.get("cdpPort"))) is not None
        ),
        includes=includes,
    )


def _agents(agents: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """The defaults first, then every agent; `agents.list` is where older versions keep them."""
    older = agents.get("list")
    listed = enumerate(older) if isinstance(older, list) else ()
    return (
        ("agents.defaults", _object(agents, "defaults")),
        *_named(agents, "entries", "agents.entries"),
        *((f"agents.list[{index}]", agent) for index, agent in listed if isinstance(agent, dict)),
    )


def _named(parent: Mapping[str, Any], key: str, label: str) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    children = _object(parent, key).items()
    return tuple((f"{label}.{name}", value) for name, value in children if isinstance(value, dict) and is_text(name))


def _strings(
    owners: tuple[tuple[str, Mapping[str, Any]], ...], key: str, variables: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    found = ((f"{label}.{key}", _substituted(owner.get(key), variables)) for label, owner in owners)
    return tuple((label, value) for label, value in found if value is not None)


def _substituted(value: Any, variables: Mapping[str, str]) -> str | None:
    """The string with its `${NAME}` replaced, `$${NAME}` made literal; None if it is none, or a variable is not set."""
    if not isinstance(value, str) or not value.strip():
        return None
    if any(not escape and not variables.get(name) for escape, name in _VARIABLE.findall(value)):
        return None
    value = _VARIABLE.sub(lambda found: found[0][1:] if found[1] else variables[found[2]], value).strip()
    return value if is_text(value) else None


def _variables(data: Mapping[str, Any]) -> Mapping[str, str]:
    """What the file itself sets under `env` and `env.vars`, for names that the environment leaves open."""
    env = _object(data, "env")
    return {name: value for name, value in {**env, **_object(env, "vars")}.items() if isinstance(value, str)}


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    child = parent.get(key)
    return child if isinstance(child, dict) else {}


def _port(value: Any) -> int | None:
    """A JSON number that is whole, as JavaScript sees it: 18789.0 is 18789."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def is_text(value: str) -> bool:
    """Whether a string can be a path or be printed: no NUL, no lone surrogate."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
