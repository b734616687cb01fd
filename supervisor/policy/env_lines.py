"""The environment an operator adds to a gateway: `env_file` and `[env]`."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from supervisor.openclaw.launch import OURS
from supervisor.policy.fault import Fault

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Not ours to set, but each turns a promise of the supervisor into its opposite (FACTS.md §1.4).
_DANGEROUS: Final[Mapping[str, str]] = {
    "OPENCLAW_SERVICE_MARKER": "makes the gateway kill whatever holds its port",
    "OPENCLAW_NO_RESPAWN": "makes the gateway restart in place, unseen, and hang there if its config is bad",
    "OPENCLAW_HOME": "moves OpenClaw's home away from the paths checked here",
    "INVOCATION_ID": "makes the gateway believe that systemd runs it",
}

_INSTEAD: Final[Mapping[str, str]] = {
    "OPENCLAW_STATE_DIR": "set state_dir in the definition",
    "OPENCLAW_CONFIG_PATH": "set config_path in the definition",
    "OPENCLAW_GATEWAY_PORT": "set port in the definition",
    "OPENCLAW_PROFILE": "set profile in the definition",
    "OPENCLAW_WORKSPACE_DIR": "set workspace in the definition",
}


def parse_env(file: str, text: str, gateway: str) -> tuple[Mapping[str, str], tuple[Fault, ...]]:
    """The pairs of an env file: KEY=VALUE a line, `#` comments, an `export` before and one pair of quotes around are dropped."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.removeprefix("export ").partition("=")
        key, value = key.strip(), value.strip()
        if not equals:
            # The line itself may be a secret, so it is not shown.
            faults.append(Fault(file, number, "", "has no =, expected KEY=VALUE", "write KEY=VALUE", names=(gateway,)))
            continue
        faults += name_faults(file, [(key, number)], gateway, prefix="")
        if "\0" in value:
            faults.append(Fault(file, number, key, "has a NUL byte in it", "remove it", names=(gateway,)))
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        found[key] = value[1:-1] if quoted else value
    return found, tuple(faults)


def hash_of(pairs: Mapping[str, str]) -> str:
    """What tells the pairs of one env file from those of another; "" where there are none."""
    return hashlib.sha256(json.dumps(sorted(pairs.items())).encode()).hexdigest() if pairs else ""


def name_faults(
    file: str, names: Iterable[tuple[str, int]], gateway: str | None, *, prefix: str = "env."
) -> tuple[Fault, ...]:
    """What is wrong with the names (each with its line) that a file sets."""
    faults: list[Fault] = []
    involved = () if gateway is None else (gateway,)
    for name, line in names:
        if _NAME.fullmatch(name) is None:
            text = "is no name of a variable, expected letters, digits and _, first no digit"
            faults.append(Fault(file, line, f"{prefix}{_shown(name)}", text, "correct the name", names=involved))
        elif name in OURS:
            text = "is set by clawsup and may not be set here"
            mend = _INSTEAD.get(name, "remove it")
            faults.append(Fault(file, line, f"{prefix}{name}", text, mend, names=involved))
        elif name in _DANGEROUS:
            text = _DANGEROUS[name]
            faults.append(Fault(file, line, f"{prefix}{name}", text, "remove it", "warning", involved))
    return tuple(faults)


def _shown(name: str) -> str:
    """A name that is none, fit to be printed and short enough not to be the secret that was pasted in its place."""
    return ascii(name)[1:-1][:20]
