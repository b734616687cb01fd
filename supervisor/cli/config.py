"""`clawsup config NAME history | show | diff | rollback`: what a gateway's config has been, and the way back; no supervisor is needed.

Only `put`, and what a gateway's own agent changes, goes through the supervisor (cli/errand.py).
"""

import argparse
import json
import pwd
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from supervisor.cli import errand, inside, words
from supervisor.cli.logs import readable
from supervisor.cli.named import named
from supervisor.errors import ClawsupError, UsageError
from supervisor.host import config_files
from supervisor.host.definitions import read
from supervisor.host.snapshots import Snapshot, Snapshots, changed_keys
from supervisor.openclaw.content import Content
from supervisor.openclaw.diffing import diff
from supervisor.openclaw.masking import Mask
from supervisor.policy.definition import Definition

_RED, _GREEN = "failed", "ready"


def main(args: argparse.Namespace) -> int:
    """Carry one of the five out."""
    if args.what == "put" or (args.what == "rollback" and inside.is_inside() and inside.gateway(args)):
        return errand.main(args)
    definition = named(args, read(Path(args.conf_dir)))
    if args.what != "show" or args.hash:
        readable(Path(args.state_dir) / "snapshots")
    store = Snapshots(Path(args.state_dir) / "snapshots" / definition.name)
    present = config_files.read(definition.config_path, owner=_owner(definition))
    if args.what == "history":
        return _history(args, store, present)
    if args.what == "show":
        return _show(args, _content(store, present, args.hash))
    if args.what == "diff":
        return _diff(args, store, present)
    return _rollback(args, definition, store, present)


def _show(args: argparse.Namespace, content: Content) -> int:
    text = Mask().config(content.text)
    if args.json:
        text = json.dumps({"schema": 1, "gateway": args.name, "key": content.key, "text": text}, indent=2) + "\n"
    print(text, end="")
    return 0


def _history(args: argparse.Namespace, store: Snapshots, present: Content) -> int:
    snapshots = store.all()
    if args.json:
        entries = [
            {
                **asdict(each),
                "files": [path for path, _ in each.files],
                "good": each.good,
                "present": each.key == present.key,
            }
            for each in snapshots
        ]
        print(json.dumps({"schema": 1, "present": present.key, "snapshots": entries}, indent=2))
        return 0
    if not snapshots:
        print(f"nothing is kept of {args.name} yet: a config is kept when a gateway starts on it")
    short = changed_keys(snapshots)
    for each in snapshots:
        marks = _marks(each, present)
        seen = datetime.fromtimestamp(each.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        print(f"{short[each.key]}  {seen}  {each.version or '-':<10}  {', '.join(marks)}".rstrip())
    return 0


def _marks(snapshot: Snapshot, present: Content) -> list[str]:
    how = "booted" if snapshot.booted else "hot" if snapshot.hot else ""
    marks = [f"good ({how})" if how else "started on" if snapshot.ran else ""]
    marks += [f"refused: {words.printable(snapshot.refused)}" if snapshot.refused else ""]
    marks += ["in place now" if snapshot.key == present.key else ""]
    return [mark for mark in marks if mark]


def _diff(args: argparse.Namespace, store: Snapshots, present: Content) -> int:
    before, after, labels = _sides(args, store, present)
    lines = diff(before, after, labels=labels)
    if args.json:
        print(json.dumps({"schema": 1, "from": labels[0], "to": labels[1], "lines": lines}, indent=2))
        return 0
    for line in lines or [f"no difference between {labels[0]} and {labels[1]}"]:
        colour = _GREEN if line.startswith("+") else _RED if line.startswith("-") else ""
        shown = words.printable(line)
        print(words.coloured(colour, shown) if colour else shown)
    return 0


def _sides(args: argparse.Namespace, store: Snapshots, present: Content) -> tuple[Content, Content, tuple[str, str]]:
    """What is compared: a named one with what is in place; else the good one with that, or with the edit that was rolled back."""
    if args.hash:
        return _content(store, present, args.hash), present, (args.hash, "in place now")
    good = store.newest_good()
    if good is None:
        raise ClawsupError(f"{args.name} has no good config yet", mend=f"clawsup config {args.name} history")
    base = store.content(good.key) or Content()
    if present.key != good.key:
        return base, present, (f"good {good.key[:8]}", "in place now")
    refused = next((each for each in store.all() if each.refused), None)
    edit = store.content(refused.key) if refused else None
    if refused is None or edit is None:
        return base, present, (f"good {good.key[:8]}", "in place now")
    return base, edit, (f"good {good.key[:8]}, in place now", f"refused {refused.key[:8]}")


def _rollback(args: argparse.Namespace, definition: Definition, store: Snapshots, present: Content) -> int:
    if args.hash:
        wanted = _only(store, args.hash)
    else:
        good = [each for each in store.all() if each.good and each.key != present.key]
        if not good:
            raise ClawsupError(
                f"{args.name} has no other good config to go back to", mend=f"clawsup config {args.name} history"
            )
        wanted = max(good, key=lambda each: each.good_at)
    content = store.content(wanted.key)
    if content is None:
        raise ClawsupError(f"the bytes of {wanted.key[:8]} are no longer there", mend="choose another one")
    refused = store.keep(present, version="") or config_files.replace(content, owner=_owner(definition))
    if refused:
        raise ClawsupError(refused, mend="nothing more was changed; type this as root, or as the user of the gateway")
    result = {"schema": 1, "gateway": args.name, "from": present.key, "to": wanted.key}
    if args.json:
        json.dump(result, sys.stdout)
        print()
    else:
        print(f"{definition.config_path} is {wanted.key[:8]} again")
        if present.files:
            print(f"  what was there: clawsup config {args.name} rollback {present.key[:8]}")
    return 0


def _owner(definition: Definition) -> int | None:
    if definition.user is None:
        return None
    try:
        return pwd.getpwnam(definition.user).pw_uid
    except KeyError:
        return None


def _content(store: Snapshots, present: Content, prefix: str | None) -> Content:
    if not prefix:
        if not present.files:
            raise ClawsupError(f"there is no config to show ({present.unreadable or 'no such file'})")
        return present
    found = store.content(_only(store, prefix).key)
    if found is None:
        raise ClawsupError(f"the bytes of {prefix} are no longer there")
    return found


def _only(store: Snapshots, prefix: str) -> Snapshot:
    found: Sequence[Snapshot] = store.named(prefix)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{prefix} is the beginning of {len(found)} hashes: give more of it")
    raise ClawsupError(f"no snapshot begins with {prefix}", mend="the history lists them all")
