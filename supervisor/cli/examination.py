"""Everything that `clawsup doctor` looks at, in the order in which a person would ask."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.cli import host_checks, place_checks, rival_checks, unit_checks, whose
from supervisor.cli.finding import Finding, error, ok, warning
from supervisor.cli.preparing import Workbench, unset
from supervisor.control.address import socket_path
from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, DefinitionsUnusable, NoSupervisor
from supervisor.host.definitions import Reading, read
from supervisor.host.runtimes import ask_version
from supervisor.openclaw import setup


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at: `document` is the status of the supervisor that runs here, None where none does or it is silent.

    `path` says whose PATH commands were looked for on.
    """

    bench: Workbench
    reading: Reading
    document: Mapping[str, Any] | None
    path: str


def examine(conf_dir: str, state_dir: str) -> list[Finding]:
    """Look at everything; what cannot be looked at is a finding itself."""
    document, about_supervisor = _supervisor(state_dir)
    findings = [about_supervisor]
    if os.path.isdir(state_dir) and not os.access(state_dir, os.R_OK | os.X_OK):
        return [*findings, *_machine(state_dir)]  # it is another user's, and so is all that its definitions name
    # One that is silent, or that this user may not ask, is there all the same.
    supervised = document is not None or about_supervisor.severity == "error"
    home = whose.account(state_dir).pw_dir
    path = document["supervisor"].get("path") if document else None
    inherited = {"HOME": home, **({"PATH": path} if path else {})}
    bench = Workbench.of(conf_dir, state_dir, os.path.dirname(sys.executable), **inherited)
    try:
        reading = read(Path(conf_dir), home=Path(home))
    except DefinitionsUnusable as unusable:
        findings.append(error("definitions", unusable.what, "clawsup up writes the first ones"))
        return [*findings, *_machine(state_dir)]
    patient = Patient(bench, reading, document, "the supervisor's PATH" if path else "this shell's PATH")
    findings += _definitions(reading)
    findings += _launchers(patient)
    findings += _configs(reading)
    findings += place_checks.findings(state_dir, reading)
    findings += rival_checks.findings(state_dir, reading, document, supervised=supervised)
    findings += unit_checks.findings(conf_dir, state_dir, reading, document)
    enabled = [definition for definition in reading.roster.definitions if definition.enabled]
    running = _running(document)
    silent = supervised and document is None
    findings += host_checks.machine_findings(0 if silent else sum(each.name not in running for each in enabled))
    findings += host_checks.disk(state_dir, [definition.state_dir for definition in reading.known])
    return findings


def _supervisor(state_dir: str) -> tuple[Mapping[str, Any] | None, Finding]:
    try:
        document = checked(*request(socket_path(state_dir), "GET", "/v1/status"))
    except NoSupervisor:
        return None, warning("supervisor", f"none runs on {state_dir}", "clawsup up, or clawsup install for a service")
    except ClawsupError as refused:
        return None, error("supervisor", refused.what, refused.mend)
    about = document["supervisor"]
    if degraded := about.get("degraded"):
        return document, warning("supervisor", "; ".join(degraded), "clawsup events tells when that began")
    return document, ok("supervisor", f"{about['version']}, pid {about['keeper_pid']}, on {state_dir}")


def _machine(state_dir: str) -> Iterator[Finding]:
    yield from host_checks.machine_findings(0)
    yield from host_checks.disk(state_dir, ())


def _running(document: Mapping[str, Any] | None) -> frozenset[str]:
    entries = document["gateways"] if document else ()
    return frozenset(entry["name"] for entry in entries if entry["pid"])


def _definitions(reading: Reading) -> Iterator[Finding]:
    for fault in reading.faults:
        make = error if fault.severity == "error" else warning
        yield make("definitions", str(fault), fault.mend)
    if not reading.faults:
        names = ", ".join(definition.name for definition in reading.known)
        yield ok("definitions", f"{names}: nothing wrong with any")


def _launchers(patient: Patient) -> Iterator[Finding]:
    """Each launcher once, and the Node that it would find."""
    asked: set[tuple[str, ...]] = set()
    for definition in patient.reading.roster.definitions:
        if definition.command in asked:
            continue
        asked.add(definition.command)
        extra = patient.reading.environments[definition.name]
        answer = patient.bench.version(definition, extra)
        command = " ".join(definition.command)
        launcher = patient.bench.launchers.find(definition)
        where = "" if "/" in definition.command[0] else f", on {patient.path}"
        if launcher is None or answer.version is None:
            mend = "install OpenClaw (clawsup runtime install), or correct `command`"
            yield error("OpenClaw", f"{command} does not work: {answer.said}{where}", mend)
            continue
        yield ok("OpenClaw", f"{answer.version} ({f'{launcher}{where}' if where else command})")
        environment = patient.bench.environment(definition, launcher, extra)
        node = ask_version(("/usr/bin/env", "node"), environment, patient.bench.user(definition)).said
        if setup.node_is_supported(node):
            yield ok("Node", f"{node.strip()} for {definition.name}")
        else:
            mend = f"put Node {setup.NODE_RULE} first on the PATH, or let clawsup runtime install bring one"
            yield warning("Node", f"{definition.name} finds no supported one on its PATH: {node}", mend)


def _configs(reading: Reading) -> Iterator[Finding]:
    for definition in unset(reading):
        mend = f"clawsup add {definition.name} --setup has OpenClaw write a first one"
        yield warning("config", f"{definition.name} has no {definition.config_path} yet", mend)
