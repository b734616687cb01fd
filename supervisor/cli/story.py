"""One gateway's whole story: how it is, why, what happens next, where its things are, what it said last."""

from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.cli import words
from supervisor.policy.sentence import PLUMBING, sentence

_MIB = 1024 * 1024
_EVENTS = 5


def story(entry: Mapping[str, Any]) -> str:
    """Render the answer of `GET /v1/gateways/NAME` for people."""
    at = words.now()
    head = words.coloured(entry["state"], f"{words.printable(entry['name'])}: {entry['state']}")
    lines = [f"{head} for {words.since(entry['since'], at)}"]
    lines += [f"  {label:<10} {words.printable(value)}" for label, value in _facts(entry, at) if value]
    if events := [event for event in entry.get("events") or () if event.get("event") not in PLUMBING]:
        lines += ["what happened last:", *(f"  {event_line(event)}" for event in events[-_EVENTS:])]
    if log := entry.get("log_tail"):
        lines += [f"what it printed last (more: clawsup logs {entry['name']}):"]
        lines += [f"  {words.printable(line)}" for line in log]
    return "\n".join(lines)


def _facts(entry: Mapping[str, Any], at: float) -> Iterator[tuple[str, str]]:
    definition = entry.get("definition") or {}
    yield "why", entry.get("reason") or ""
    yield "mend", entry.get("mend") or ""
    yield "next", next_step(entry, at)
    for warning in entry.get("warnings") or ():
        yield "warning", warning
    if last_exit := entry.get("last_exit"):
        yield "last life", f"{words.ending(last_exit)}, {words.since(last_exit.get('at'), at)} ago"
    yield "restarts", str(entry["restarts"])
    yield "pid", f"{entry['pid']}{' (adopted)' if entry.get('adopted') else ''}" if entry["pid"] else ""
    yield "memory", f"{entry['rss_bytes'] / _MIB:.0f} MiB" if entry.get("rss_bytes") else ""
    yield "port", str(entry["port"] or "")
    yield "role", entry.get("role") or ""
    yield "profile", definition.get("profile") or ""
    yield "state dir", definition.get("state_dir") or ""
    yield "config", _config(entry, definition)
    yield "workspace", definition.get("workspace") or ""
    yield "command", " ".join(definition.get("command") or ())


def _config(entry: Mapping[str, Any], definition: Mapping[str, Any]) -> str:
    path = definition.get("config_path") or ""
    return f"{path} ({entry['config']})" if path and entry.get("config") else path


def next_step(entry: Mapping[str, Any], at: float) -> str:
    """Say what happens next by itself, or what a person may do; empty when nothing is to be said."""
    name = entry["name"]
    retry = words.retry(entry, at)
    if not entry["wanted"]:
        return f"stays down until: clawsup start {name}" if entry["state"] == "stopped" else "goes down"
    match entry["state"]:
        case "ready":
            return ""
        case "blocked" if "clawsup reload" in (entry.get("mend") or ""):
            return "starts once that is mended, with: clawsup reload"
        case "blocked":
            return f"starts by itself once that is mended{f' ({retry} at the latest)' if retry else ''}"
        case "failed" if not entry.get("next_retry_at"):
            return retry
        case "backoff" | "failed":
            return f"{retry or 'tried again later'}; at once with: clawsup start {name}"
        case "starting":
            return "ready as soon as it says that it has started"
        case "hung" | "stopping":
            return "started again as soon as its process is gone"
        case "repairing":
            return "a start, as soon as that is done, shows whether it has helped"
        case "degraded":
            return "runs on; its own /readyz names what is missing"
        case _:
            return retry


def event_line(event: Mapping[str, Any]) -> str:
    """Render one event of the journal: when, whose, and what; `--json` has the rest."""
    said = sentence(str(event.get("event", "")), event)
    return words.printable(f"{event.get('at', '')} {event.get('gateway') or 'supervisor'}: {said}")
