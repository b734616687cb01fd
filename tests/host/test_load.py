"""What the machine shows of a process: the facts that the discounts are made of."""

import os
import signal
import subprocess
import time

from supervisor.host import load


def test_a_look_at_a_process_shows_what_it_used_and_how_it_is() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        seen = load.look(child.pid, time.monotonic())
        assert seen.ran < 5
        assert seen.asleep >= -1
        child.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 10
        while load.look(child.pid, 0.0).state != "T":
            assert time.monotonic() < deadline
        assert f"/proc/{child.pid}/status" in load.evidence(child.pid)
        assert load.peak_bytes(child.pid) > 0
    finally:
        child.kill()
        child.wait()


def test_a_process_that_is_gone_has_no_facts() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    seen = load.look(child.pid, 1.0)
    assert (seen.state, seen.ran, seen.waited) == ("", 0.0, None)
    assert load.peak_bytes(child.pid) == 0


def test_what_we_do_ourselves_is_seen_as_running() -> None:
    before = load.look(os.getpid(), 0.0)
    deadline = time.monotonic() + 10
    while load.look(os.getpid(), 0.0).ran - before.ran < 0.05:
        assert time.monotonic() < deadline
