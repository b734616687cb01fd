"""Finds out who calls on the control socket, by whose tree it grew from, and lets it do what its standing allows.

Rights come from the walk up the tree alone. A run token or a mark (host/processes.py) can only lower them: whoever has one, but
was not born below that gateway's process, is an observer.
"""

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio

from supervisor.brain.chronicle import Chronicle
from supervisor.brain.lives import Lives
from supervisor.control import rights
from supervisor.control.pace import Pace
from supervisor.control.rights import Standing
from supervisor.control.server import may as may_connect
from supervisor.host.callers import Caller, lineage
from supervisor.openclaw import diagnostics
from supervisor.policy.definition import Definition
from supervisor.policy.record import Line
from supervisor.policy.state import Child

_PACE = "pace"

Children = Callable[[], Mapping[str, Child]]
Entries = Callable[[], Mapping[str, Mapping[str, Any]]]


class Gatekeeper:
    """Judges every call; what a gateway's own tree does, or is refused, goes into the journal."""

    def __init__(
        self, lives: Lives, chronicle: Chronicle, children: Children, entries: Entries, keeper_pid: int
    ) -> None:
        self._lives = lives
        self._chronicle = chronicle
        self._children = children
        self._entries = entries
        self._ours = frozenset({keeper_pid, os.getpid()})
        self._masters = frozenset({0, os.geteuid()})
        self._pace = Pace(chronicle.recall(_PACE), lambda changes: chronicle.remember(_PACE, changes))

    def may(self, caller: Caller, verb: str, name: str, words: Sequence[str] = ()) -> str:
        """Why this caller may not do that; "" if it may, and then it counts as done."""
        if caller.uid not in self.guests() and (refused := may_connect(caller, verb, name)):
            return refused
        if verb == "status":
            return ""
        standing = self.standing(caller)
        refused = rights.may(standing, verb, name, self._entries().get(name), words)
        if not refused and standing.kind != "operator" and rights.changes(verb, words):
            refused = self._pace.refusal(str(standing), anyio.current_time())
        if standing.kind != "operator" and (refused or verb not in rights.LOOKS):
            argv = " ".join(filter(None, (verb, name, diagnostics.shown(words))))
            fields = {"verb": verb, "caller": str(standing), "pid": caller.pid, "argv": argv}
            line = Line("call_refused", name or None, {**fields, "why": refused})
            self._chronicle.note([line if refused else Line("call_obeyed", name or None, fields)])
        return refused

    def guests(self) -> frozenset[int]:
        """The other users that gateways run as: they may call, and prove by their tree that one of those has sent them."""
        definitions = (child.definition for child in self._children().values())
        found = set()
        for user in {each.user for each in definitions if each is not None and each.user is not None}:
            with suppress(KeyError):
                found.add(pwd.getpwnam(user).pw_uid)
        return frozenset(found) - self._masters

    def standing(self, caller: Caller) -> Standing:
        """Who that is."""
        is_guest = caller.uid not in self._masters
        if caller.pid == 0 and not is_guest:
            # Outside our pid namespace, thus above it or beside it: what grew from a gateway can only be below.
            return Standing("operator")
        line = lineage(caller.pid, caller.pidfd)
        if line is None:
            return Standing("observer", why="nobody can tell which process that was")
        above = next((name for pid in line if (name := self._lives.gateway_at(pid)) is not None), "")
        signs = self._lives.told(caller.pid)
        if above and signs <= {above}:
            return self._gateway(above)
        if above:
            return Standing("observer", why=f"it grew from {above} and carries the sign of another gateway")
        if signs:
            return Standing("observer", why="it carries the sign of a gateway, and is not below that gateway's process")
        if self._ours & set(line[1:]):
            return Standing("observer", why="it grew from this supervisor, and from no gateway that lives")
        if is_guest:
            return Standing(
                "observer", why=f"uid {caller.uid} does not own this supervisor, and it grew from no gateway"
            )
        return Standing("operator")

    def definition(self, name: str) -> Definition | None:
        """What is in effect for a gateway; None where that cannot be read."""
        child = self._children().get(name)
        return child.definition if child is not None else None

    def _gateway(self, name: str) -> Standing:
        definition = self.definition(name)
        patients = definition.patients if definition is not None and definition.role == "rescue" else ()
        return Standing("gateway", name, tuple(patient for patient in patients if patient != name))
