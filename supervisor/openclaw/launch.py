"""How a gateway is started: its argv, its environment, and a PATH without the other gateways' shims (INTERFACE.md §7).

OpenClaw puts `<state dir>/tmp/agent-cli` first on the PATH of whatever its agent executes; the `openclaw` in there adds
that gateway's own `--profile`. A command typed in the rescue's shell and meant for main must not go through it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath
from typing import Protocol

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

INHERITED = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"),
        *("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *_PROXIES,
        *(name.lower() for name in _PROXIES),
    }
)
"""What passes from the supervisor's environment if it is set there; `LC_*` passes too."""

OURS = frozenset(
    {
        *("OPENCLAW_STATE_DIR", "OPENCLAW_CONFIG_PATH", "OPENCLAW_GATEWAY_PORT", "OPENCLAW_PROFILE"),
        *("OPENCLAW_WORKSPACE_DIR", "OPENCLAW_SUPERVISOR_MODE", "OPENCLAW_SERVICE_REPAIR_POLICY"),
        *("OPENCLAW_NO_AUTO_UPDATE", "OPENCLAW_DISABLE_BONJOUR"),
        *("CLAWSUP_GATEWAY", "CLAWSUP_CONF_DIR", "CLAWSUP_STATE_DIR", "CLAWSUP_RUN"),
    }
)
"""What only the supervisor sets: neither `env_file` nor `[env]` may."""

_SHIM = "/tmp/agent-cli"  # noqa: S108 (the end of a path inside a state dir, not a file in /tmp)


class Definition(Protocol):
    """The part of `policy.definition.Definition` that a start needs; this floor does not know that one."""

    @property
    def name(self) -> str:
        """The gateway's name."""
        ...

    @property
    def port(self) -> int:
        """The base port."""
        ...

    @property
    def profile(self) -> str | None:
        """None for the manual way, without `--profile`."""
        ...

    @property
    def state_dir(self) -> str:
        """Absolute."""
        ...

    @property
    def config_path(self) -> str:
        """Absolute."""
        ...

    @property
    def workspace(self) -> str | None:
        """None: OpenClaw's own rule holds."""
        ...

    @property
    def command(self) -> tuple[str, ...]:
        """The launcher and its first arguments."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """The user that `user =` names, as the password database knows it."""

    name: str
    home: str
    shell: str


def argv(definition: Definition, launcher: str) -> tuple[str, ...]:
    """Give the gateway's command line; `launcher` is the path that `command[0]` was resolved to."""
    return (*_openclaw(definition, launcher), "gateway", "run", "--port", str(definition.port))


def openclaw_argv(definition: Definition, launcher: str, words: Sequence[str]) -> tuple[str, ...]:
    """Give what `exec` runs for `words`: a first word `openclaw` stands for this gateway's command and profile."""
    if words and words[0] == "openclaw":
        return (*_openclaw(definition, launcher), *words[1:])
    return tuple(words)


def _openclaw(definition: Definition, launcher: str) -> tuple[str, ...]:
    profile = _named(definition)
    return (launcher, *definition.command[1:], *(("--profile", profile) if profile else ()))


def _named(definition: Definition) -> str | None:
    return None if definition.profile == "default" else definition.profile


def environment(  # noqa: PLR0913 (each is a fact of the start, and all are named at the call)
    definition: Definition,
    *,
    inherited: Mapping[str, str],
    extra: Mapping[str, str],
    launcher_dir: str,
    own_dir: str,
    conf_dir: str,
    state_dir: str,
    run_token: str | None,
    account: Account | None,
) -> dict[str, str]:
    """Compose the whole environment of a gateway, or, without a `run_token`, of a command run on its behalf.

    `extra` is `env_file` overlaid with `[env]`; `conf_dir` and `state_dir` are the supervisor's own.
    """
    passed = {name: value for name, value in inherited.items() if name in INHERITED or name.startswith("LC_")}
    if account is not None:
        passed |= {"HOME": account.home, "USER": account.name, "LOGNAME": account.name, "SHELL": account.shell}
    passed["PATH"] = _joined(launcher_dir, own_dir, *inherited.get("PATH", "").split(":"))
    wished = {name: value for name, value in extra.items() if name not in OURS}
    return passed | wished | _ours(definition, conf_dir, state_dir, run_token)


def said(definition: Definition) -> dict[str, str]:
    """Give the variables that say nothing but what stands in the definition."""
    found = {
        "OPENCLAW_STATE_DIR": definition.state_dir,
        "OPENCLAW_CONFIG_PATH": definition.config_path,
        "OPENCLAW_GATEWAY_PORT": str(definition.port),
        "CLAWSUP_GATEWAY": definition.name,
    }
    if profile := _named(definition):
        found["OPENCLAW_PROFILE"] = profile
    if definition.workspace is not None:
        found["OPENCLAW_WORKSPACE_DIR"] = definition.workspace
    return found


def _ours(definition: Definition, conf_dir: str, state_dir: str, run_token: str | None) -> dict[str, str]:
    ours = said(definition) | {
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "OPENCLAW_SERVICE_REPAIR_POLICY": "external",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_DISABLE_BONJOUR": "1",
        "CLAWSUP_CONF_DIR": conf_dir,
        "CLAWSUP_STATE_DIR": state_dir,
    }
    if run_token is not None:
        ours["CLAWSUP_RUN"] = run_token
    return ours


def clean_path(path: str, forbidden_dirs: Sequence[str]) -> str:
    """Drop from `path` what lies in one of `forbidden_dirs`, and any gateway's shim directory."""
    return _joined(*(entry for entry in path.split(":") if not _forbidden(entry, forbidden_dirs)))


def _forbidden(entry: str, forbidden_dirs: Sequence[str]) -> bool:
    normal = normpath(entry)
    return normal.endswith(_SHIM) or any(
        normal == inside or normal.startswith(inside.rstrip("/") + "/") for inside in map(normpath, forbidden_dirs)
    )


def _joined(*entries: str) -> str:
    """Join the absolute entries, each once; a relative one would mean a place in the gateway's state dir."""
    return ":".join(dict.fromkeys(entry for entry in entries if entry.startswith("/")))
