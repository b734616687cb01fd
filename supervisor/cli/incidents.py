"""`clawsup incidents [NAME]` and `incidents show ID`: what is kept about each failure; also where no supervisor runs."""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from supervisor.cli import words
from supervisor.cli.logs import known_log, readable
from supervisor.errors import ClawsupError, UsageError
from supervisor.host.incidents import Incidents
from supervisor.openclaw.masking import Mask

_RAW = "config.rejected"
_SHOWN = 20
_MIB = 1024 * 1024


def main(args: argparse.Namespace) -> int:
    """List them, or tell one."""
    place = Path(args.state_dir) / "incidents"
    store = Incidents(place)
    if args.what == ["show"] or len(args.what) > 2 or (len(args.what) == 2 and args.what[0] != "show"):  # noqa: PLR2004
        raise UsageError("which incident?", mend="clawsup incidents, then: clawsup incidents show ID")
    readable(place)
    if args.what[:1] == ["show"]:
        return _show(args, store, args.what[1])
    return _list(args, store, next(iter(args.what), None))


def _list(args: argparse.Namespace, store: Incidents, gateway: str | None) -> int:
    found = [account for ident in store.ids(gateway) if (account := store.account(ident))]
    if gateway is not None and not found:
        known_log(args, gateway)
    if args.json:
        print(json.dumps({"schema": 1, "incidents": found}, indent=2))
        return 0
    for account in found:
        said = "; ".join(filter(None, (f"{account.get('cause')}: {account.get('why') or ''}", _outcome(account))))
        print(words.cut(words.printable(f"{account['id']}  {said}"), words.width()))
    if not found:
        print("no incidents")
    return 0


def _show(args: argparse.Namespace, store: Incidents, ident: str) -> int:
    account = store.account(ident)
    if account is None:
        raise ClawsupError(f"no incident is called {ident}", mend="clawsup incidents")
    files = store.files(ident)
    if args.json:
        texts = {name: _masked(store, ident, name) for name in files}
        print(json.dumps({**account, "evidence": texts}, indent=2))
        return 0
    print("\n".join(told(account)))
    for name in files:
        lines = _masked(store, ident, name).splitlines()
        print(f"{name}:" + (f" (the last {_SHOWN} of {len(lines)} lines)" if len(lines) > _SHOWN else ""))
        for line in lines[-_SHOWN:]:
            print(f"  {words.printable(line)}")
    return 0


def told(account: Mapping[str, Any]) -> list[str]:
    """The account of an incident in some lines: what, how it was told, what was tried, what came of it."""
    lines = [f"incident {account.get('id')}, {account.get('at')}: {account.get('cause')}"]
    lines += [f"  {words.printable(account['why'])}"] if account.get("why") else []
    lines += [f"  {label}: {words.printable(text)}" for label, text in _facts(account) if text]
    for step in account.get("tried") or ():
        detail = f": {step['detail']}" if step.get("detail") else ""
        lines.append(
            f"  tried {words.printable(step.get('rung'))}: {words.printable(step.get('outcome'))}{words.printable(detail)}"
        )
    lines += [f"  came of it: {outcome}"] if (outcome := words.printable(_outcome(account))) else []
    return lines


def _facts(account: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was known at the moment, as far as it was: words, and what they are of."""
    ended, config, peak = account.get("exit") or {}, account.get("config") or {}, account.get("memory_peak_bytes")
    yield "told by", account.get("told_by") or ""
    how = words.ending({**ended, "cause": account.get("cause")}) if ended else ""
    yield "ended", "" if how.partition(" after")[0] in str(account.get("why")) else how
    yield "memory", f"{peak / _MIB:.0f} MiB at most ({account.get('memory_told_by')})" if peak else ""
    good = f"; good is {config['good'][:8]}" if config.get("good") else ""
    key = str(config.get("key") or "")[:8] or "not there"
    yield "config", f"{config['path']} was {key}{good}" if config.get("path") else ""
    for held in account.get("held") or ():
        who = f"pid {held['pid']}" if held.get("pid") else f"uid {held.get('uid')}"
        about = ", ".join(str(held[key]) for key in ("user", "command", "unit") if held.get(key))
        yield f"port {held.get('port')}", f"{held.get('kind')} of {who}{f' ({about})' if about else ''}"
    versions = [f"{key} {account[key]}" for key in ("openclaw", "clawsup", "linux") if account.get(key)]
    yield "versions", ", ".join(versions)


def _outcome(account: Mapping[str, Any]) -> str:
    return str(account.get("ended") or "")


def _masked(store: Incidents, ident: str, name: str) -> str:
    text = (store.evidence(ident, name) or b"").decode("utf-8", errors="replace")
    return Mask().config(text) if name == _RAW else text
