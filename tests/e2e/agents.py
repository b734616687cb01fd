"""What an agent types in its gateway's shell, with the fake OpenClaw: the script runs as a child of the gateway's process."""

import shlex
import sys
from pathlib import Path

from tests.e2e.supervised import Supervisor
from tests.e2e.world import REPOSITORY, Gateway, World, wait_for

CLAWSUP = f"PYTHONPATH={shlex.quote(str(REPOSITORY))} {shlex.quote(sys.executable)} -m supervisor"


def define_three(world: World) -> None:
    """A main whose only rung is the rescue, the rescue, and a gateway that is nobody's patient."""
    world.define("main", role="main", sections={"repair": {"steps": ["rescue"]}})
    world.define("rescue", role="rescue")
    world.define("ops")


def play(gateway: Gateway, knob: str, script: str, clawsup: str = CLAWSUP) -> Path:
    """Give the gateway's shell a script; what it says, and `exit N`, will be in the file that this gives."""
    said = gateway.fake_dir / "said"
    said.unlink(missing_ok=True)
    draft = gateway.fake_dir / "draft"
    done = shlex.quote(str(gateway.fake_dir / "agent.done"))
    text = script.replace("clawsup", clawsup)
    draft.write_text(f'({text}) >{said}.new 2>&1; echo "exit $?" >>{said}.new; mv {said}.new {said}; touch {done}\n')
    draft.rename(gateway.fake_dir / knob)
    return said


def typed(supervisor: Supervisor, name: str, script: str, clawsup: str = CLAWSUP) -> str:
    """Run a script in a gateway's own shell to its end, and give what it said."""
    said = play(supervisor.world.gateways[name], "shell", script, clawsup)
    wait_for(said.exists, f"{script} in the shell of {name}", 30, supervisor.story)
    return said.read_text(encoding="utf-8")


def refusals(supervisor: Supervisor) -> list[tuple[str, str, str | None]]:
    """What was refused so far: caller, verb, gateway."""
    return [(e["caller"], e["verb"], e["gateway"]) for e in supervisor.named("call_refused")]


def obeyed(supervisor: Supervisor) -> list[tuple[str, str, str | None]]:
    """What was done for agents so far: caller, verb, gateway."""
    return [(e["caller"], e["verb"], e["gateway"]) for e in supervisor.named("call_obeyed")]
