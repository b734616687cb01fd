"""The limits that a child lives by: those of its definition, or the defaults where none was ever readable."""

from supervisor.policy.definition import Probe, Restart, Start, Stop
from supervisor.policy.state import Child


def start_rule(child: Child) -> Start:
    """How long its start may take."""
    return child.definition.start if child.definition is not None else Start()


def stop_rule(child: Child) -> Stop:
    """How long its stop may take."""
    return child.definition.stop if child.definition is not None else Stop()


def probe_rule(child: Child) -> Probe:
    """How it is asked."""
    return child.definition.probe if child.definition is not None else Probe()


def restart_rule(child: Child) -> Restart:
    """When it is tried again."""
    return child.definition.restart if child.definition is not None else Restart()
