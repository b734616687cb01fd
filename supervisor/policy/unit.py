"""The one systemd unit of all gateways, as text (R8, R26).

What is left out is left out on purpose. PrivateTmp, ProtectHome and ProtectSystem=strict hide state dirs and split OpenClaw's
own locks in /tmp. NoNewPrivileges, and with it everything that implies it for a unit that is not root's (SystemCallFilter,
RestrictNamespaces, PrivateDevices, ProtectKernel*, LockPersonality …), takes sudo and Chrome's setuid sandbox away from what
an agent runs; MemoryDenyWriteExecute stops Node's JIT. An operator whose agents need none of that adds them in a drop-in.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from supervisor.policy.definition import Definition

NAME: Final = "openclaw-supervisor.service"
MARK: Final = "# Written by clawsup install."
MARGIN_S: Final = 15
"""What the supervisor itself may take of a stop, beside its gateways."""

Scope = Literal["system", "user"]

# What not even sudo in an agent's shell has any business with; systemd does all of it when asked over its bus.
_FORBIDDEN_CAPABILITIES = (
    "CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_BOOT CAP_SYS_PACCT CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MAC_ADMIN CAP_MAC_OVERRIDE"
    " CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_LINUX_IMMUTABLE CAP_LEASE CAP_BPF"
)

_SYSTEM = f"""\
OOMScoreAdjust=-500
# What the rescue is favoured by when CPU is short; without root it takes this.
LimitNICE=-5
CapabilityBoundingSet=~{_FORBIDDEN_CAPABILITIES}
"""

_TEMPLATE = """\
{mark} To change it: clawsup install; to add to it: systemctl{flag} edit {name}.
[Unit]
Description=All OpenClaw gateways of this {whose} (clawsup)
{network}# The supervisor paces its gateways itself; the unit is never given up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Environment={path}
{user}Restart=always
RestartSec=1
# 75: another supervisor holds the state dir. 78: no definition is usable and none ever was. Neither mends by itself.
RestartPreventExitStatus=75 78
WatchdogSec=30
TimeoutStartSec=90
# A gateway reads this to know how long it may drain: the others' longest stop, then the rescue's, then {margin} s.
TimeoutStopSec={stop}
# SIGTERM to the supervisor alone, which stops the gateways in order; SIGKILL to whatever is left.
KillMode=mixed
# A cgroup for each gateway.
Delegate=yes
# One gateway that runs out of memory ends alone.
OOMPolicy=continue
{system}LimitNOFILE=65536
UMask=0077

[Install]
WantedBy={target}
"""


@dataclass(frozen=True, slots=True)
class Unit:
    """What differs from one installation to another; `user` is None for a user's own manager, `stop_s` whole seconds."""

    scope: Scope
    command: Sequence[str]
    path: str
    user: str | None
    stop_s: int


def render(unit: Unit) -> str:
    """The unit file."""
    system = unit.scope == "system"
    return _TEMPLATE.format(
        mark=MARK,
        flag="" if system else " --user",
        name=NAME,
        whose="host" if system else "user",
        network="Wants=network-online.target\nAfter=network-online.target\n" if system else "",
        command=" ".join(map(_argument, unit.command)),
        path=_word(f"PATH={unit.path}"),
        user=f"User={unit.user}\n" if unit.user is not None else "",
        margin=MARGIN_S,
        stop=unit.stop_s,
        system=_SYSTEM if system else "",
        target="multi-user.target" if system else "default.target",
    )


def stop_s(definitions: Iterable[Definition]) -> int:
    """TimeoutStopSec: the others stop side by side, the rescue after them."""
    stops = [(definition.role == "rescue", definition.stop.timeout) for definition in definitions]
    others = max((timeout for rescue, timeout in stops if not rescue), default=0.0)
    rescues = max((timeout for rescue, timeout in stops if rescue), default=0.0)
    return math.ceil(others + rescues) + MARGIN_S


def directories_line(conf_dir: str, state_dir: str) -> str:
    """How a unit's command names its two directories."""
    return " ".join(map(_argument, ("--conf-dir", conf_dir, "--state-dir", state_dir)))


def directories_of(text: str) -> str:
    """What a unit file of ours has in that place; "" when it is none of ours."""
    found = re.search(r"^ExecStart=.* (--conf-dir .*) run$", text, re.MULTILINE)
    return found[1] if found else ""


def command_of(text: str) -> str:
    """The ExecStart line of a unit file, as it stands there; "" when there is none."""
    found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def stop_s_of(text: str) -> int:
    """Its TimeoutStopSec, the last if there are several; 0 when it has none, or says it otherwise than in plain seconds."""
    found = re.findall(r"^TimeoutStopSec=(.*)$", text, re.MULTILINE)
    return int(found[-1]) if found and re.fullmatch(r"[0-9]+", found[-1]) else 0


def taken_over(commands: Iterable[str]) -> str:
    """A section that systemd passes over: what to type to go back to the units that were disabled in favour of this one."""
    lines = [f"TakenOver={command}\n" for command in dict.fromkeys(commands)]
    return "".join(["\n[X-Clawsup]\n", *lines]) if lines else ""


def taken(text: str) -> tuple[str, ...]:
    """The commands of that section."""
    return tuple(re.findall(r"^TakenOver=(.*)$", text, re.MULTILINE))


def _argument(word: str) -> str:
    """A word of a command line, where $ would begin a variable."""
    return _word(word).replace("$", "$$")


def _word(word: str) -> str:
    """One word of a setting, whatever is in it: % is a specifier to systemd, quotes and backslashes are its own."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped, re.ASCII) else f'"{escaped}"'
