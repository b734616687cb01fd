"""What an operator types at a bad moment: between two brains, on a gateway that a stranger blocks, on one that is to go."""

import socket

from tests.e2e.conftest import Supervise
from tests.e2e.world import World, kill


def test_no_verb_says_that_nobody_runs_while_the_brain_is_replaced(world: World, supervise: Supervise) -> None:
    world.define("main", role="main")
    supervisor = supervise()
    supervisor.wait_ready()
    for words in (["status"], ["why", "main"], ["start", "main"]):
        kill(supervisor.status()["supervisor"]["pid"])
        done = supervisor.cli(*words)
        # Where the machine is slow, it may take longer than a client waits; then that is what is said.
        assert (done.returncode, "being replaced" in done.stderr) in {(0, False), (4, True)}, done.stderr
        supervisor.wait_for(supervisor.status, "a new brain")


def test_a_removed_gateway_is_gone_and_no_other_is_touched(world: World, supervise: Supervise) -> None:
    """Issue 3, item 2."""
    world.define("main", role="main")
    work = world.define("work")
    supervisor = supervise()
    before = supervisor.wait_ready()["main"]["pid"]
    done = supervisor.cli("remove", "work")
    assert (done.returncode, work.definition.exists()) == (0, False)
    assert [(entry["name"], entry["pid"]) for entry in supervisor.status()["gateways"]] == [("main", before)]


def test_repairing_what_a_stranger_blocks_says_so_and_it_still_starts_by_itself(
    world: World, supervise: Supervise
) -> None:
    main = world.define("main", role="main")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", main.port))
        stranger.listen()
        supervisor = supervise()
        supervisor.wait_state("main", "blocked")
        done = supervisor.cli("repair", "main")
        assert (done.returncode, f"port {main.port} is held by" in done.stderr) == (1, True)
    supervisor.wait_ready()


def test_a_definition_that_cannot_be_used_says_what_takes_it_once_it_can(world: World, supervise: Supervise) -> None:
    world.define("main", role="main")
    work = world.define("work")
    right = work.definition.read_text()
    work.definition.write_text(right.replace("port = ", "prot = "))
    supervisor = supervise()
    mend = supervisor.wait_state("work", "blocked")["mend"]
    assert mend.endswith("; then: clawsup reload")
    assert supervisor.cli("why", "work").stdout.endswith("starts once that is mended, with: clawsup reload\n")
    work.definition.write_text(right)
    assert supervisor.cli("reload").returncode == 0
    supervisor.wait_ready()
