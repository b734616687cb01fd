"""Doctor's look at rivals: who else starts our gateways, runs on their state dirs, or sits on their ports."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from supervisor.cli import old_units, whose
from supervisor.cli.finding import Finding, error, ok, warning
from supervisor.cli.preparing import target_of
from supervisor.host import locks, ports, strangers
from supervisor.host.definitions import Reading
from supervisor.host.survey import profiles, services
from supervisor.openclaw.ports import Family
from supervisor.policy.definition import Definition


def findings(
    state_dir: str, reading: Reading, document: Mapping[str, Any] | None, *, supervised: bool
) -> Iterator[Finding]:
    """Units, pm2, crontabs; then processes and ports. A supervisor may be there (`supervised`) and give no document."""
    yield from _starters(state_dir, reading)
    ours = {entry["pid"] for entry in document["gateways"] if entry["pid"]} if document else set()
    seen = [*_processes(state_dir, reading, ours, supervised=supervised)]
    named = {pid for _, pid in seen}
    others = [finding for finding, _ in seen if finding]
    yield from others
    held = [finding for definition in reading.known for finding in _held(definition, ours | named)]
    yield from held
    if not others and not held:
        yield ok("ports, locks", "nobody else has a port or a state dir of these gateways")


def _starters(state_dir: str, reading: Reading) -> Iterator[Finding]:
    target = target_of(whose.account(state_dir))
    units = old_units.find(target, reading.known)
    for unit in units:
        yield error("units", str(unit), unit.type("disable --now"))
    dirs = {os.path.realpath(definition.state_dir): definition.name for definition in reading.known}
    rivals = [each for each in services.starters(target.user.home, user=target.user.name) if each.state_dir in dirs]
    for rival in rivals:
        yield error(rival.kind.partition(" ")[0], f"{rival} starts the gateway {dirs[rival.state_dir]} too", rival.mend)
    if not units and not rivals:
        yield ok("rivals", f"no unit, pm2 entry or crontab line of {target.user.name} starts one of these gateways")


def _processes(
    state_dir: str, reading: Reading, ours: set[int], *, supervised: bool
) -> Iterator[tuple[Finding | None, int]]:
    """Gateways on our state dirs that the supervisor does not name: strangers, what a dead one left, what a silent one has."""
    dirs = {os.path.realpath(definition.state_dir): definition for definition in reading.known}
    for running in profiles.gateways():
        definition = dirs.get(running.state_dir)
        if definition is None or running.pid in ours:
            continue
        who = strangers.describe(running.pid)
        if running.supervisor and os.path.realpath(running.supervisor) == os.path.realpath(state_dir):
            text = f"{definition.name} runs on without a supervisor: {who}"
            orphan = warning("orphans", text, "clawsup run adopts it as it is")
            yield None if supervised else orphan, running.pid
        else:
            text = f"{definition.state_dir} of {definition.name} is used by {who}"
            yield error("processes", text, "stop it with what started it"), running.pid


def _held(definition: Definition, known: set[int]) -> Iterator[Finding]:
    holders = [pid for pid in locks.holders(Path(definition.state_dir)) if pid not in known and pid != os.getpid()]
    for pid in holders:
        text = f"{definition.state_dir} of {definition.name} is locked by {strangers.describe(pid)}"
        yield error("locks", text, "end it, or give the definition another state_dir")
    family = Family(definition.port, definition.cdp_ports)
    for busy in ports.look(family.ports()):
        if busy.pid in known or busy.pid in holders or busy.kind == "untried":
            continue
        vital = busy.port in family.vital() and busy.fatal
        who = str(strangers.describe(busy.pid)) if busy.pid is not None else f"a process of uid {busy.uid}"
        if busy.kind == "forbidden":
            who = f"nobody, but may not be bound: {busy.error}"
        make = error if vital else warning
        text = f"port {busy.port} of {definition.name} is held by {who}"
        yield make("ports", text, "stop that one, or choose another `port`")
