"""What `clawsup up` shows while the supervisor runs: each gateway's way to ready, the table, and every change after it.

Theory of operation. `up` becomes the keeper itself, as `run` does: so what stands in the foreground, hears Ctrl-C and has the
exit code is the process that holds the gateways, and nothing stands between. This front is a child beside it, forked before:
it may die, hang or lose its terminal, and no gateway notices. It reads the supervisor's stderr through a pipe that never
blocks the writer; every line there is a reason to look at the status, and what is no ordinary line of the journal is shown.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from supervisor.cli import words
from supervisor.cli.table import note, table
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError

_LINE = re.compile(r"\S+Z (\S+): ")  # what the journal says goes by a gateway's name, and shows in the status too
_SETTLE_S = 0.05  # a line of the journal comes just before its effect can be seen
_CHUNK = 65536


def fork_front(front: "Front") -> None:
    """Put the front beside this process, and this process's stderr into its hands; return in what becomes the keeper."""
    ours, theirs = os.pipe()
    terminal = os.dup(2)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(theirs)
        _show(front, ours, terminal)
    os.set_blocking(theirs, False)
    os.dup2(theirs, 2)
    for descriptor in (ours, theirs, terminal):
        os.close(descriptor)


def _show(front: "Front", lines: int, terminal: int) -> NoReturn:
    """Show, until the supervisor is gone; the interpreter of the command is not to be returned into."""
    # Ctrl-C is the keeper's to hear; what it leads to is still to be shown.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(Exception), os.fdopen(terminal, "w", buffering=1) as screen:
            front.watch(lines, screen)
    finally:
        os._exit(0)


class Front:
    """What is shown of the supervisor behind `socket`: the gateways' `names`, and which of them are `encrypted` (TLS)."""

    def __init__(self, socket: str, names: Collection[str], encrypted: Collection[str]) -> None:
        self._socket = socket
        self._names = {"supervisor", *names}
        self._encrypted = encrypted
        self._screen: TextIO = sys.stderr
        self._told: dict[str, tuple[str, str]] = {}
        self._began = time.monotonic()
        self._shown = False

    def watch(self, lines: int, screen: TextIO) -> None:
        """Look whenever the supervisor says something, until it says nothing more for ever."""
        self._screen = screen
        begun = b""
        while chunk := os.read(lines, _CHUNK):
            *whole, begun = (begun + chunk).split(b"\n")
            time.sleep(_SETTLE_S)
            self.look()
            for line in whole:
                text = line.decode(errors="replace")
                found = _LINE.match(text)
                if found is None or found[1] not in self._names:
                    print(words.printable(text), file=self._screen)

    def look(self) -> None:
        """Tell what changed; the table as soon as nothing is on its way any more."""
        try:
            document = checked(*request(self._socket, "GET", "/v1/status"))
        except (ClawsupError, ValueError, OSError):
            return  # it has not begun to listen, or has ended
        for entry in document["gateways"]:
            self._names.add(entry["name"])
            self._tell(entry)
        wanted = [entry for entry in document["gateways"] if entry["wanted"]]
        if not self._shown and not any(entry["state"] in words.ON_ITS_WAY for entry in wanted):
            self._shown = True
            print(f"\n{picture(document, self._encrypted)}\nCtrl-C stops them all, in order.", flush=True)

    def _tell(self, entry: Mapping[str, Any]) -> None:
        state, short = entry["state"], {**entry, "warnings": ()}
        why = words.printable(note(short, words.now())) if state not in {"ready", "stopping", "stopped"} else ""
        if state == "starting" and not why.startswith("waits"):
            why = ""  # how far it has come changes every second
        news = (state, why if state in {"starting", "blocked"} else "")
        if state in words.UP and self._shown:
            why = "; ".join(filter(None, (why, _address(entry, self._encrypted))))
        if self._told.get(entry["name"]) == news:
            return
        self._told[entry["name"]] = news
        when = time.strftime("%H:%M:%S") if self._shown else f"{time.monotonic() - self._began:6.1f} s"
        print(f"{when}  {entry['name']:<10} {state}{f': {why}' if why else ''}", file=self._screen)
        if entry["wanted"] and entry.get("mend"):
            print(f"          mend: {words.printable(entry['mend'])}", file=self._screen)


def picture(document: Mapping[str, Any], encrypted: Collection[str]) -> str:
    """Draw the table, and below it where each Control UI is and how to get in (`encrypted`: the gateways with TLS).

    No token is printed, and no address of a gateway that is not up: somebody else may listen there.
    """
    entries = [entry for entry in document["gateways"] if entry["port"] and entry["wanted"]]
    up = [entry for entry in entries if entry["state"] in words.UP]
    if not up:
        return table(document)
    width = max(len(entry["name"]) for entry in entries)
    lines = [table(document), "", "Control UI:"]
    for entry in entries:
        where = _address(entry, encrypted) if entry in up else f"not now: it is {entry['state']}"
        lines.append(f"  {entry['name'].ljust(width)}  {where}")
    first = next((entry for entry in up if entry["role"] == "main"), up[0])["name"]
    way_in = f"to get in: clawsup exec {first} -- openclaw dashboard"
    return "\n".join([*lines, f"{way_in}   (no browser here? add --json, and open its browserUrl)"])


def _address(entry: Mapping[str, Any], encrypted: Collection[str]) -> str:
    return f"{'https' if entry['name'] in encrypted else 'http'}://127.0.0.1:{entry['port']}/"
