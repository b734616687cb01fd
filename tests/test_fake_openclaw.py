"""The fake OpenClaw keeps the contract that was measured on the real one."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_installed import DEADLINE_S, FAKE, Installed, wait_for


@pytest.fixture
def fake(tmp_path: Path, base_port: int) -> Iterator[Installed]:
    installed = Installed(tmp_path, base_port)
    yield installed
    for process in installed.started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_version_is_told_and_can_be_made_to_fail(fake: Installed) -> None:
    assert fake.call("--version").stdout == "OpenClaw 2026.9.6 (fake)\n"
    assert fake.call("--version", FAKE_VERSION_EXIT="1").returncode == 1


def test_a_symlink_named_openclaw_runs_it(fake: Installed, tmp_path: Path) -> None:
    link = tmp_path / "openclaw"
    link.symlink_to(FAKE)
    assert subprocess.run([link, "--version"], env=fake.env, capture_output=True, check=False).returncode == 0


def test_probes_tell_starting_from_started_from_draining(fake: Installed) -> None:
    process = fake.gateway(FAKE_STARTED_S="1", FAKE_DRAIN_S="60")
    wait_for(lambda: fake.get("/healthz")[0] == 200)
    assert fake.get("/startupz")[1]["pendingReason"] == "startup-sidecars"
    assert fake.get("/readyz")[0] == 503
    wait_for(lambda: fake.get("/readyz")[0] == 200)
    assert fake.get("/startupz")[1]["status"] == "started"
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: fake.get("/readyz")[1]["failing"] == ["gateway-draining"])
    assert fake.get("/healthz")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert fake.get("/startupz")[1]["status"] == "draining"
    assert process.poll() is None


def test_probes_refuse_post_and_proxies_and_answer_head(fake: Installed) -> None:
    fake.ready_gateway()
    assert fake.get("/healthz", "POST")[0] == 405
    assert fake.get("/healthz", **{"X-Forwarded-For": "10.0.0.1"})[0] == 403
    assert fake.get("/healthz", "HEAD") == (200, None)
    assert fake.get("/nothing")[0] == 404


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (None, "Missing config"),
        ("", "missing gateway.mode"),
        ('{"gateway": {', "missing gateway.mode"),
        ('{"gateway": {}}', "missing gateway.mode"),
        ('{"gateway": {"mode": "remote"}}', "current: remote"),
        ('{"gateway": {"mode": "local"}, "foo": 1}', 'Unrecognized key: "foo"'),
        ('{"gateway": {"mode": "local", "port": "1"}}', "expected number"),
    ],
)
def test_a_config_that_cannot_start_exits_78_and_says_why(fake: Installed, config: str | None, line: str) -> None:
    fake.config.unlink() if config is None else fake.config.write_text(config)
    process = fake.gateway()
    assert line in process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 78


def test_a_taken_port_ends_it_with_1(fake: Installed) -> None:
    with socket.create_server(("127.0.0.1", fake.port)):
        process = fake.gateway(FAKE_ADDRINUSE_S="0.1")
        assert "already listening" in process.communicate(timeout=DEADLINE_S)[0]
    assert process.returncode == 1


def test_sigterm_ends_a_ready_one_with_0_and_a_young_one_by_signal(fake: Installed) -> None:
    process = fake.ready_gateway()
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0
    young = fake.gateway(FAKE_START_S="60")
    wait_for(lambda: len(fake.lives()) == 2)
    young.send_signal(signal.SIGTERM)
    assert young.wait(DEADLINE_S) == -signal.SIGTERM


def test_a_deaf_one_hears_neither_sigterm_nor_sigint(fake: Installed) -> None:
    process = fake.ready_gateway(FAKE_IGNORE_TERM="1")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert fake.get("/readyz")[0] == 200
    assert process.poll() is None


def test_sigusr2_leaves_a_handoff_that_is_accepted_once_and_only_for_its_pid(fake: Installed) -> None:
    process = fake.ready_gateway()
    process.send_signal(signal.SIGUSR2)
    assert process.wait(DEADLINE_S) == 0

    def consume(pid: int) -> str:
        answer = json.loads(
            fake.call("gateway", "restart-handoff", "consume", "--expected-pid", str(pid), "--json").stdout
        )
        return str(answer.get("reason", answer["status"]))

    assert [consume(process.pid + 1), consume(process.pid), consume(process.pid)] == [
        "pid-mismatch",
        "accepted",
        "missing",
    ]


def test_without_a_supervisor_it_restarts_in_its_own_process_and_a_bad_config_parks_it(fake: Installed) -> None:
    process = fake.ready_gateway(OPENCLAW_SUPERVISOR_MODE="", FAKE_START_S="0.2")
    process.send_signal(signal.SIGUSR2)
    wait_for(lambda: fake.get("/healthz")[0] == 0)
    wait_for(lambda: fake.get("/readyz")[0] == 200)
    assert fake.get("/fake")[1]["pid"] == process.pid
    fake.config.write_text("{")
    process.send_signal(signal.SIGUSR2)
    wait_for(lambda: fake.get("/healthz")[0] == 0)
    assert process.poll() is None


def test_gateway_restart_waits_for_the_successor(fake: Installed) -> None:
    first = fake.ready_gateway()
    caller = subprocess.Popen(
        fake.argv("gateway", "restart"),
        env=fake.env | {"OPENCLAW_GATEWAY_PORT": str(fake.port)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.wait(DEADLINE_S) == 0
    assert caller.poll() is None
    second = fake.ready_gateway()
    assert str(second.pid) in caller.communicate(timeout=DEADLINE_S)[0]
    assert caller.returncode == 0


def test_a_second_one_on_the_same_state_dir_is_refused_and_remembered(fake: Installed) -> None:
    first = fake.ready_gateway()
    second = fake.gateway()
    assert second.wait(DEADLINE_S) == 78
    assert (fake.fake_dir / "overlap").read_text() == f"{second.pid} met {first.pid}\n"


def test_a_successor_of_a_killed_one_meets_nobody(fake: Installed) -> None:
    for _ in range(3):
        process = fake.ready_gateway(FAKE_HELPER="setsid")
        process.kill()
        process.wait()
    helpers = [int(pid) for pid in (fake.fake_dir / "helpers").read_text().split()]
    for pid in helpers:
        os.kill(pid, signal.SIGKILL)
    assert len(helpers) == 3
    assert not (fake.fake_dir / "overlap").exists()


def test_a_life_records_how_it_was_started(fake: Installed) -> None:
    process = fake.ready_gateway(COLOUR="blue")
    life = fake.lives()[0]
    assert life["pid"] == process.pid
    assert life["argv"] == ["--profile", "main", "gateway", "run", "--port", str(fake.port)]
    assert life["env"]["COLOUR"] == "blue"
    assert set(life["fds"]) == {"0", "1", "2"}


def test_files_command_a_running_one(fake: Installed) -> None:
    process = fake.ready_gateway()
    (fake.fake_dir / "notready").touch()
    assert fake.get("/readyz")[1]["failing"] == ["channels"]
    (fake.fake_dir / "hang").touch()
    wait_for(lambda: fake.get("/healthz")[0] == 0)
    assert process.poll() is None
    (fake.fake_dir / "hang").unlink()
    wait_for(lambda: fake.get("/healthz")[0] == 200)
    (fake.fake_dir / "park").touch()
    wait_for(lambda: fake.get("/healthz")[0] == 0)
    (fake.fake_dir / "exit-3").touch()
    assert process.wait(DEADLINE_S) == 3
    assert not (fake.fake_dir / "exit-3").exists()


def test_lines_are_numbered_without_a_gap(fake: Installed) -> None:
    process = fake.ready_gateway(FAKE_CHATTER="200", FAKE_SHADOW="1")
    wait_for(lambda: fake.get("/fake")[1]["lines"] > 50)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=DEADLINE_S)[0]
    lines = output.splitlines()
    assert [line.split()[2] for line in lines] == [f"{process.pid}#{number}" for number in range(1, len(lines) + 1)]
    assert (fake.fake_dir / "shadow").read_text() == output


def test_a_held_connection_drips_on(fake: Installed) -> None:
    fake.ready_gateway()
    with socket.create_connection(("127.0.0.1", fake.port), timeout=DEADLINE_S) as held:
        held.sendall(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        heard = b""
        while heard.count(b".") < 3:  # one of them stands in HTTP/1.1
            heard += held.recv(100)


def test_a_reader_that_has_gone_ends_it_with_0(fake: Installed) -> None:
    process = fake.ready_gateway(FAKE_CHATTER="10")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(DEADLINE_S) == 0


def test_the_command_line_resolves_a_profile_as_openclaw_does(fake: Installed, tmp_path: Path) -> None:
    rescue = {"OPENCLAW_PROFILE": "rescue", "OPENCLAW_GATEWAY_PORT": "19789"}
    canonical = fake.call("config", "file", OPENCLAW_STATE_DIR=f"{tmp_path}/.openclaw-rescue", **rescue)
    custom = fake.call("config", "file", OPENCLAW_STATE_DIR=f"{tmp_path}/st", **rescue)
    assert canonical.stdout.strip() == str(fake.config)
    assert custom.stdout.strip() == f"{tmp_path}/st/openclaw.json"
    assert json.loads(fake.call("gateway", "status", **rescue).stdout)["gateway"]["port"] == 19789
    assert json.loads(fake.call("gateway", "status").stdout)["gateway"]["port"] == 23592


def test_doctor_restores_last_good_and_refuses_beside_a_live_gateway(fake: Installed) -> None:
    assert json.loads(fake.call("config", "validate", "--json").stdout)["valid"]
    fake.config.with_name("openclaw.json.last-good").write_text(good := fake.config.read_text())
    fake.config.write_text("{")
    assert fake.call("config", "validate", "--json").returncode == 1
    assert fake.call("doctor", "--fix").returncode == 0
    assert fake.config.read_text() == good
    fake.ready_gateway()
    assert fake.call("doctor", "--fix").returncode == 1


def test_it_is_light(fake: Installed) -> None:
    process = fake.ready_gateway()
    resident_kb = next(
        line.split()[1]
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    assert int(resident_kb) < 30_000
