"""What happens when a gateway fails: crashes, loops, hangs, deafness, handoffs (the fake OpenClaw)."""

import signal
import sys
from datetime import UTC, datetime
from functools import partial

from tests.e2e.conftest import Supervise
from tests.e2e.supervised import gone
from tests.e2e.world import FAKE, World, kill


def test_a_killed_main_is_ready_again_and_the_rescue_is_not_touched(world: World, supervise: Supervise) -> None:
    """R24, R25, R27."""
    main, rescue = world.define("main", role="main"), world.define("rescue", role="rescue")
    supervisor = supervise()
    before = supervisor.wait_ready()
    kill(before["main"]["pid"])
    after = supervisor.wait_state("main", "ready", restarts=1)
    assert after["pid"] not in {before["main"]["pid"], None}
    assert after["last_exit"] | {"at": "", "ran_s": 0} == {
        "code": None,
        "signal": 9,
        "cause": "crash",
        "at": "",
        "ran_s": 0,
    }
    assert supervisor.gateway("rescue")["pid"] == before["rescue"]["pid"]
    assert (len(main.lives()), len(rescue.lives())) == (2, 1)


def test_what_a_killed_gateway_left_behind_is_swept(world: World, supervise: Supervise) -> None:
    """A child in its own session and a daemon whose parent has gone both hold the old life's ports and files."""
    for kind in ("setsid", "daemon"):
        world.define(kind, env={"FAKE_HELPER": kind})
    supervisor = supervise()
    for name, seen in supervisor.wait_ready().items():
        (helper,) = (world.gateways[name].fake_dir / "helpers").read_text(encoding="utf-8").split()
        kill(seen["pid"])
        supervisor.wait_for(partial(gone, int(helper)), f"the helper of {name} is gone")
        supervisor.wait_state(name, "ready", restarts=1)


def test_an_exit_loop_boots_at_most_three_times_in_the_window(world: World, supervise: Supervise) -> None:
    """OpenClaw's own breaker trips at three unclean boots in 300 s; the fourth waits for the window (INTERFACE.md §8)."""
    main = world.define("main", env={"FAKE_EXIT_AFTER_S": "0.4"}, sections={"restart": {"delay": 0.05}})
    supervisor = supervise()

    def waits_long() -> bool:
        seen = supervisor.gateway("main")
        at = datetime.fromisoformat(seen.get("next_retry_at") or "1970-01-01T00:00:00Z")
        return (at - datetime.now(UTC)).total_seconds() > 200

    supervisor.wait_for(waits_long, "the next start waits for the window")
    seen = supervisor.wait_state("main", "backoff", "failed")
    assert len(main.lives()) == 3
    assert seen["last_exit"]["code"] == 1
    assert seen["last_exit"]["cause"] == "crash"
    assert supervisor.cli("status").returncode == 3


def test_an_operators_start_ignores_backoff(world: World, supervise: Supervise) -> None:
    """INTERFACE.md §8: `start` and a stop in backoff are obeyed at once."""
    main = world.define("main", sections={"restart": {"delay": 600}})
    supervisor = supervise()
    kill(supervisor.wait_ready()["main"]["pid"])
    supervisor.wait_state("main", "backoff")
    assert supervisor.cli("stop", "main").returncode == 0
    assert supervisor.gateway("main")["state"] == "stopped"
    assert supervisor.cli("start", "main").returncode == 0
    supervisor.wait_state("main", "ready")
    assert len(main.lives()) == 2


def test_an_exit_0_that_nobody_asked_for_is_a_handoff_without_penalty(world: World, supervise: Supervise) -> None:
    """External mode: config changes and `openclaw gateway restart` end the gateway with 0, and we start it again."""
    main = world.define("main", sections={"restart": {"delay": 600}})
    supervisor = supervise()
    for restarts in (1, 2):
        supervisor.wait_state("main", "ready", restarts=restarts - 1)
        main.tell("restart")
        seen = supervisor.wait_state("main", "ready", restarts=restarts)
        assert seen["last_exit"]["cause"] == "handoff"
        assert seen["last_exit"]["code"] == 0
        supervisor.wait_for(lambda: not (main.fake_dir / "handoff").exists(), "consume took the handoff")


def test_an_exit_0_loop_without_handoffs_is_a_crash_loop(world: World, supervise: Supervise) -> None:
    """OpenClaw also exits 0 when its output breaks; that must not spin."""
    main = world.define("main", env={"FAKE_EXIT_AFTER_S": "1", "FAKE_EXIT_CODE": "0"})
    supervisor = supervise()
    seen = supervisor.wait_state("main", "backoff", "failed", deadline_s=60)
    assert seen["last_exit"]["code"] == 0
    assert len(main.lives()) <= 5


def test_a_stopped_process_is_hung_and_replaced(world: World, supervise: Supervise) -> None:
    """R27: it accepts connections and answers nothing."""
    main = world.define("main")
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    kill(pid, signal.SIGSTOP)
    seen = supervisor.wait_state("main", "ready", restarts=1)
    assert seen["pid"] != pid
    assert seen["last_exit"]["cause"] == "hung"
    assert "hung" in [event["event"] for event in supervisor.events("main")]
    assert len(main.lives()) == 2


def test_a_hang_that_hears_no_signal_ends_by_sigkill(world: World, supervise: Supervise) -> None:
    """R27: a blocked event loop does not run its SIGTERM handler."""
    main = world.define("main", sections={"stop": {"timeout": 1}})
    supervisor = supervise()
    supervisor.wait_ready()
    main.tell("hang")
    supervisor.wait_for(lambda: "hung" in [event["event"] for event in supervisor.events("main")], "hung")
    exited = supervisor.wait_for(
        lambda: [event for event in supervisor.events("main") if event["event"] == "exited"], "killed"
    )
    (main.fake_dir / "hang").unlink(missing_ok=True)
    assert exited[0]["signal"] == signal.SIGKILL
    supervisor.wait_state("main", "ready")


def test_not_ready_is_shown_and_never_restarts(world: World, supervise: Supervise) -> None:
    """A broken channel account turns /readyz 503; that is no reason to kill."""
    main = world.define("main")
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    main.tell("notready")
    supervisor.wait_state("main", "degraded", pid=pid)
    assert supervisor.cli("status").returncode == 5
    (main.fake_dir / "notready").unlink()
    supervisor.wait_state("main", "ready", pid=pid, restarts=0)


def test_a_gateway_deaf_to_sigterm_is_killed_at_its_timeout(world: World, supervise: Supervise) -> None:
    """R24: stop means stopped."""
    world.define("main", env={"FAKE_IGNORE_TERM": "1"}, sections={"stop": {"timeout": 1}})
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    assert supervisor.cli("stop", "main").returncode == 0
    seen = supervisor.gateway("main")
    assert (seen["state"], seen["pid"], seen["wanted"]) == ("stopped", None, False)
    assert seen["last_exit"]["signal"] == signal.SIGKILL
    assert seen["last_exit"]["cause"] == "asked"
    assert pid not in world.pids()


def test_stop_now_skips_the_grace(world: World, supervise: Supervise) -> None:
    """A drain of five minutes is cut short by `--now`."""
    world.define("main", env={"FAKE_DRAIN_S": "300"}, sections={"stop": {"timeout": 330}})
    supervisor = supervise()
    supervisor.wait_ready()
    assert supervisor.cli("stop", "main", "--now", timeout_s=30).returncode == 0
    assert supervisor.gateway("main")["state"] == "stopped"


def test_restart_gives_a_new_life_without_penalty(world: World, supervise: Supervise) -> None:
    """INTERFACE.md §3, §8."""
    main = world.define("main", sections={"restart": {"delay": 600}})
    supervisor = supervise()
    pid = supervisor.wait_ready()["main"]["pid"]
    for _ in range(4):
        assert supervisor.cli("restart", "main").returncode == 0
    seen = supervisor.wait_state("main", "ready")
    assert seen["pid"] != pid
    assert seen["last_exit"]["cause"] == "asked"
    assert len(main.lives()) == 5


def test_three_sigterms_of_somebody_else_are_a_contest(world: World, supervise: Supervise) -> None:
    """DESIGN.md §3: OpenClaw exits 0 for them, as for a restart of its own; fighting back would be a restart storm."""
    main = world.define("main", sections={"restart": {"delay": 0.1, "burst": 0}})
    unit = world.home / ".config/systemd/user/openclaw-gateway-main.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/usr/bin/openclaw gateway\nEnvironment=OPENCLAW_PROFILE=main\n")
    supervisor = supervise()
    for restarts in range(3):
        kill(supervisor.wait_state("main", "ready", restarts=restarts)["pid"], signal.SIGTERM)
    seen = supervisor.wait_state("main", "blocked")
    assert seen["reason"].endswith(f"; {unit.name} is this gateway too")
    assert (seen["last_exit"]["code"], seen["last_exit"]["cause"]) == (0, "contested")
    assert "did not come from this supervisor" in seen["reason"]
    assert len(main.lives()) == 3
    assert supervisor.cli("start", "main").returncode == 0


def test_handoffs_between_two_sigterms_are_no_contest(world: World, supervise: Supervise) -> None:
    main = world.define("main", sections={"restart": {"delay": 0.1, "burst": 0}})
    supervisor = supervise()
    for restarts, ends in enumerate(("restart", "term", "restart", "restart")):
        pid = supervisor.wait_state("main", "ready", restarts=restarts)["pid"]
        if ends == "term":
            kill(pid, signal.SIGTERM)
        else:
            main.tell("restart")
    supervisor.wait_state("main", "ready", restarts=4)
    assert "contested" not in [event["cause"] for event in supervisor.named("exited")]


def test_an_exit_1_after_its_files_were_replaced_is_an_upgrade_without_penalty(
    world: World, supervise: Supervise
) -> None:
    """OpenClaw sees that its installation was replaced under it, and leaves; the same exit without that is a crash."""
    launcher = world.root / "openclaw"
    script = f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n'
    launcher.write_text(script)
    launcher.chmod(0o755)
    main = world.define("main", sections={"restart": {"delay": 600}}, command=[str(launcher)])
    supervisor = supervise()
    for restarts in (1, 2):
        supervisor.wait_state("main", "ready", restarts=restarts - 1)
        newer = launcher.with_suffix(".new")
        newer.write_text(f"{script}# {restarts}\n")
        newer.chmod(0o755)
        newer.rename(launcher)
        main.tell("exit-1")
        seen = supervisor.wait_state("main", "ready", restarts=restarts)
        assert (seen["last_exit"]["code"], seen["last_exit"]["cause"]) == (1, "upgraded")
    assert list(supervisor.state_dir.glob("incidents/*")) == []
    main.tell("exit-1")
    assert supervisor.wait_state("main", "backoff")["last_exit"]["cause"] == "crash"
