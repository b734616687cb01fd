"""What an incident keeps and tells, of a repair, of a parked gateway, of a port that somebody holds (issue 7), with the fake."""

import hashlib
import json
import os
import signal
import socket

from tests.e2e.conftest import Supervise
from tests.e2e.mending import DAMAGES, define, fall, repaired, rungs, stable
from tests.e2e.world import World, kill


def test_an_incident_keeps_the_rejected_bytes_and_is_told_without_secrets(world: World, supervise: Supervise) -> None:
    main = define(world)
    main.write_config(auth={"mode": "token", "token": "s3cr3t-of-main"})
    running = supervise()
    stable(running)
    rejected = main.config.read_text().replace('"mode": "local", ', "").replace("s3cr3t-of-main", "s3cr3t-of-edit")
    main.config.write_text(rejected)
    running.wait_state("main", "ready", restarts=2)
    repaired(running, mended=True)

    (config,) = (running.state_dir / "incidents").iterdir()
    assert (config / "config.rejected").read_text() == rejected
    assert (config / "config.rejected").stat().st_mode & 0o777 == 0o600
    account = json.loads((config / "incident.json").read_text())
    assert (account["cause"], account["tried"][0]["rung"], account["ended"][:6]) == ("config", "rollback", "mended")
    shown = running.cli("incidents", "show", config.name).stdout + running.cli("config", "main", "diff").stdout
    shown += running.cli("config", "main", "show").stdout + running.cli("why", "main").stdout
    shown += running.cli("incidents", "--json").stdout + running.cli("incidents", "show", config.name, "--json").stdout
    assert "gateway" in shown
    assert "s3cr3t" not in shown
    for path in config.iterdir():
        if path.name != "config.rejected":
            assert "s3cr3t" not in path.read_text(), path


def test_an_incident_tells_all_that_was_known_at_the_moment(world: World, supervise: Supervise) -> None:
    """A crash of a gateway that had said much, and then a hang."""
    main = define(world, env={"FAKE_CHATTER": "1000"})
    running = supervise()
    good = stable(running)
    running.wait_for(lambda: running.log("main").count("\n") > 300, "it has said enough")
    pid = running.gateway("main")["pid"]
    main.config.write_bytes(good.replace(b"{", b'{"logging": {"level": "debug"}, ', 1))
    kill(pid)
    kill(running.wait_state("main", "ready", restarts=1)["pid"], signal.SIGSTOP)
    running.wait_state("main", "ready", restarts=2)

    incidents = sorted(path.parent for path in running.state_dir.glob("incidents/*/incident.json"))
    crash, hang = (json.loads((each / "incident.json").read_text()) for each in incidents)
    assert [(each["cause"], each["told_by"]) for each in (crash, hang)] == [
        ("crash", "its exit status"),
        ("hung", "probes without an answer"),
    ]
    assert (crash["exit"]["code"], crash["exit"]["signal"]) == (None, signal.SIGKILL)
    assert crash["exit"]["ran_s"] > 0.4
    assert crash["memory_peak_bytes"] > 1e6
    assert len((incidents[0] / "log.txt").read_text().splitlines()) == 200
    assert "ready" in (incidents[0] / "probes.txt").read_text()
    assert crash["config"]["key"] != crash["config"]["good"] == hashlib.sha256(good).hexdigest()
    assert "debug" in (incidents[0] / "config.diff").read_text()
    assert crash["ports"] == [main.port, main.port + 2]
    assert crash["openclaw"] == "2026.9.6"
    assert "no answer" in (incidents[1] / "probes.txt").read_text()
    assert "State:" in (incidents[1] / "process.txt").read_text()


def test_why_tells_the_newest_incident_in_ten_lines(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    stable(running)
    main.config.write_bytes(DAMAGES["unknown-key"])
    fall(running)
    running.wait_state("main", "ready", restarts=2)
    repaired(running, mended=True)

    told = running.cli("why", "main").stdout.splitlines()
    assert len(told) <= 10
    assert any("rollback" in line for line in told), told
    assert "clawsup config main diff" in told[-1]


def test_a_parked_gateway_is_replaced_and_its_state_kept_as_evidence(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    running.wait_ready()
    main.tell("park")
    running.wait_state("main", "hung", "starting")
    (main.fake_dir / "park").unlink()

    entry = running.wait_state("main", "ready", restarts=1)
    assert entry["last_exit"]["cause"] == "parked"
    (incident,) = (running.state_dir / "incidents").iterdir()
    account = json.loads((incident / "incident.json").read_text())
    assert account["cause"] == "parked"
    assert "connection refused" in account["why"]
    assert "State:" in (incident / "process.txt").read_text()
    assert "connection refused" in (incident / "probes.txt").read_text()


def test_a_restart_within_the_process_onto_a_bad_config_parks_and_is_mended(world: World, supervise: Supervise) -> None:
    """R27: it lives on without a listener; found, replaced, refused, rolled back."""
    main = define(world, env={"OPENCLAW_NO_RESPAWN": "1"})
    running = supervise()
    good = stable(running)
    pid = running.gateway("main")["pid"]
    main.config.write_bytes(DAMAGES["unknown-key"])
    kill(pid, signal.SIGUSR2)

    running.wait_state("main", "ready", restarts=2)
    assert main.config.read_bytes() == good
    assert [event["cause"] for event in running.named("exited")] == ["parked", "config"]
    assert rungs(running) == [("rollback", "start")]


def test_an_incident_names_who_holds_a_port(world: World, supervise: Supervise) -> None:
    main = define(world)
    running = supervise()
    running.wait_ready()
    with socket.create_server(("127.0.0.1", main.port + 2)):
        fall(running)
        path = running.wait_for(lambda: list(running.state_dir.glob("incidents/*/incident.json")), "an incident")[0]
        account = json.loads(path.read_text())
    (held,) = account["held"]
    assert (held["port"], held["pid"]) == (main.port + 2, os.getpid())
    shown = running.cli("incidents", "show", account["id"]).stdout
    assert f"port {main.port + 2}: listener of pid {os.getpid()}" in shown
    assert "memory: " in shown
    assert "versions: openclaw 2026.9.6" in shown
    last = running.cli("why", "main").stdout.splitlines()[-1]
    assert "clawsup " in last
