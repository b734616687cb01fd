"""`clawsup why NAME`: what went wrong last, what it said, what comes next; also where no supervisor runs."""

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from supervisor.cli import words
from supervisor.cli.logs import known_log
from supervisor.cli.story import next_step
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import NoSupervisor
from supervisor.host.incidents import Incidents
from supervisor.host.journal import read as read_journal
from supervisor.host.logs.reading import tail

_SAID, _LONGEST = 4, 200  # last lines, and their characters: all of it is to be read at one glance
_TOGETHER_S = 30.0  # an incident is written right after the exit that it is about
_BACK = 2000  # events looked through where no supervisor tells
_COMMAND = re.compile(r"clawsup [^,;:()]+")

_CAUSES = {
    "asked": "it was stopped as asked",
    "handoff": "it ended to be restarted, as OpenClaw does after some changes",
    "upgraded": "the files of OpenClaw were replaced under it, and it left to run the new ones",
    "crash": "it fell",
    "config": "OpenClaw refuses to start on its config or state",
    "conflict": "another process has its port or its state dir",
    "missing": "something that it needs is not there",
    "hung": "it no longer answered, and was ended",
    "parked": "it lived on without listening, and was ended",
    "contested": "something else keeps stopping it",
}


def main(args: argparse.Namespace) -> int:
    """Tell it in at most ten lines, the last of which ends with the one next command."""
    try:
        path = f"/v1/gateways/{quote(args.name, safe='')}"
        entry = checked(*request(socket_path(args.state_dir), "GET", path))
    except NoSupervisor:
        entry = _from_files(args)
    incidents = Incidents(Path(args.state_dir) / "incidents")
    incident = _newest(incidents, entry)
    if args.json:
        entry = {**entry, "incident": incident}
        keys = ("incident", "name", "state", "reason", "mend", "last_exit", "since", "next_retry_at", "log_tail")
        following = _next(entry, incident or {})
        print(json.dumps({"schema": 1, **{key: entry.get(key) for key in keys}, "next": following}, indent=2))
    else:
        if incident is not None:
            said = (incidents.evidence(incident["id"], "log.txt") or b"").decode(errors="replace").splitlines()
            entry = {**entry, "log_tail": said or entry.get("log_tail")}
        print("\n".join(_told(entry, incident)))
    return 0


def _newest(incidents: Incidents, entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """The newest incident, unless the gateway has ended again since and nothing was wrong with that."""
    account = next(filter(None, map(incidents.account, incidents.ids(entry["name"]))), None)
    ended = words.instant((entry.get("last_exit") or {}).get("at"))
    begun = words.instant(str((account or {}).get("at")))
    known = account is not None and (ended is None or (begun is not None and begun >= ended - _TOGETHER_S))
    return account if known else None


def _told(entry: Mapping[str, Any], incident: Mapping[str, Any] | None) -> list[str]:
    at = words.now()
    since = f" for {words.since(entry['since'], at)}" if entry.get("since") else ""
    lines = [words.coloured(entry["state"], f"{words.printable(entry['name'])}: {entry['state']}{since}")]
    ended = entry.get("last_exit")
    if entry.get("reason"):
        lines.append(f"  because    {words.printable(entry['reason'])}")
    if ended:
        cause = _CAUSES.get(str(ended.get("cause")), "")
        when = words.since(ended.get("at"), at)
        lines.append(f"  last life  {words.ending(ended)}, {when} ago{f': {cause}' if cause else ''}")
    warnings = "; ".join(entry.get("warnings") or ())
    lines += [f"  warning    {words.printable(warnings)[:_LONGEST]}"] if warnings else []
    if not ended and not entry.get("reason") and not warnings:
        lines.append("  nothing went wrong that is still remembered")
    repaired = _repaired(incident or {})
    lines += [f"  {label:<10} {words.printable(text)[:_LONGEST]}" for label, text in repaired]
    said = [line for line in entry.get("log_tail") or () if line.strip()][-_SAID + len(repaired) + bool(warnings) :]
    if said and (ended or entry["state"] != "ready"):
        lines.append("  it said last:")
        lines += [f"    {words.printable(line)[:_LONGEST]}" for line in said]
    if entry.get("mend"):
        lines.append(f"  mend       {words.printable(entry['mend'])}")
    if ended or incident or entry.get("reason"):
        lines.append(f"  next       {words.printable(_next(entry, incident or {}))}")
    return lines


def _repaired(incident: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was tried about it, and what came of that."""
    tried = [f"{step.get('rung')}: {step.get('detail') or step.get('outcome')}" for step in incident.get("tried") or ()]
    facts = [("tried", "; ".join(tried)), ("came of it", str(incident.get("ended") or ""))]
    return [(label, text) for label, text in facts if text and tried]


def _next(entry: Mapping[str, Any], incident: Mapping[str, Any]) -> str:
    """What comes by itself, and last the one command that leads on."""
    if entry["state"] == "unsupervised":
        return "nothing by itself, as no supervisor runs here: clawsup up"
    if str(incident.get("ended")).startswith("mended"):
        return f"see what was refused: clawsup config {entry['name']} diff"
    by_itself = next_step(entry, words.now())
    if "clawsup" in by_itself:
        return by_itself
    return f"{by_itself or 'nothing by itself'}; more: {_command(entry, incident)}"


def _command(entry: Mapping[str, Any], incident: Mapping[str, Any]) -> str:
    """What the mend names, if that changes something; else what shows most of what went wrong."""
    named: list[str] = [found.strip() for found in _COMMAND.findall(str(entry.get("mend") or ""))]
    if changing := [each for each in named if not each.startswith("clawsup logs")]:
        return changing[-1]
    if incident.get("cause") == "config" and (incident.get("config") or {}).get("good"):
        return f"clawsup config {entry['name']} diff"
    if incident:
        return f"clawsup incidents show {incident['id']}"
    # What never ran has printed nothing.
    return f"clawsup {'logs' if entry.get('last_exit') else 'status'} {entry['name']}"


def _from_files(args: argparse.Namespace) -> dict[str, Any]:
    """The same facts from the journal and the log that the last supervisor left."""
    state_dir = Path(args.state_dir)
    mine = [
        event for event in read_journal(state_dir / "events.jsonl", last=_BACK) if event.get("gateway") == args.name
    ]
    if not mine:
        known_log(args, args.name)
    ended = next((event for event in reversed(mine) if event.get("event") == "exited"), None)
    trouble = next((event for event in reversed(mine) if event.get("event") in _TROUBLE), None)
    if trouble and ended and _seq(trouble) < _seq(ended):
        trouble = None
    obstacle = trouble.get("obstacle") if trouble else None
    told: Mapping[str, Any] = obstacle if isinstance(obstacle, Mapping) else {}
    return {
        "name": args.name,
        "state": "unsupervised",
        "wanted": True,
        "since": None,
        "reason": told.get("reason") or (trouble.get("why") if trouble else None),
        "mend": told.get("mend"),
        "last_exit": ended and _exit(ended, mine, told),
        "log_tail": tail(state_dir / "logs" / f"{args.name}.log", _SAID),
    }


_TROUBLE = frozenset({"blocked", "backoff", "failed", "hung"})


def _exit(ended: Mapping[str, Any], mine: list[dict[str, object]], told: Mapping[str, Any]) -> dict[str, Any]:
    """The exit as `status` shows it, as far as the journal tells."""
    spawned = next((e for e in mine if e.get("event") == "spawned" and e.get("life") == ended.get("life")), None)
    began, at = (words.instant(str(event.get("at"))) if event else None for event in (spawned, ended))
    ran_s = at - began if at is not None and began is not None else None
    cause = ended.get("cause") or told.get("cause") or ("upgraded" if ended.get("upgraded") else None)
    if cause is None:
        cause = "asked" if ended.get("code") == 0 else "crash"
    return {
        "code": ended.get("code"),
        "signal": ended.get("signal"),
        "cause": cause,
        "at": ended.get("at"),
        "ran_s": ran_s,
    }


def _seq(event: Mapping[str, object]) -> int:
    number = event.get("seq")
    return number if isinstance(number, int) else 0
