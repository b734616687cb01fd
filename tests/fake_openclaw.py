#!/usr/bin/env python3
"""A stand-in for OpenClaw 2026.9.6: the argv, ports, probes, exit codes and signals of the real one, in fractions of a second.

Everything it does was measured on the real one; only the durations are shorter, and JSON stands for JSON5.

    [--profile P] gateway [run] [--port N]     the gateway: /healthz /startupz /readyz on 127.0.0.1 and ::1
    --version · onboard --non-interactive · config file|validate · doctor [--fix] · browser status · gateway status|stop|restart
    gateway restart-handoff consume --expected-pid PID | capabilities

Its own files are in STATE/fake/: `lives.jsonl` (one line a start: pid, argv, env, fds, cwd, monotonic …), `lock`, `handoff`,
`helpers`, and `overlap`, which appears when a gateway ever finds another live one on its state directory. Each line that it
prints carries `PID#N`, N counting from 1 in each life; `GET /fake` tells the last N. `GET /hold` sends a byte a second, forever.

Knobs in the environment (a definition's `[env]`), durations in seconds:

    FAKE_START_S 0.05        spawn to listening; in its first half SIGTERM kills, as in the real one
    FAKE_STARTED_S 0.05      listening to /startupz 200        FAKE_ADDRINUSE_S 0.3   how long a taken port is retried
    FAKE_DRAIN_S 0           SIGTERM to exit                   FAKE_IGNORE_TERM 1     deaf to SIGTERM and SIGINT
    FAKE_EXIT_AFTER_S        each life ends then, with FAKE_EXIT_CODE (1)
    FAKE_CHATTER 0           lines a second                    FAKE_HELPER setsid|daemon   leaves a process behind
    FAKE_VERSION_EXIT 0      exit code of --version            FAKE_VERSION_S 0       how long --version takes
    FAKE_DOCTOR_S 0          how long doctor takes
    FAKE_CONSUME_S 0         how long consume takes            FAKE_RESTART_WAIT_S 60 patience of `gateway restart`
    FAKE_SHADOW 1            each line that was printed is then appended to STATE/fake/shadow too

Knobs at run time (files in STATE/fake/): `hang` answers nothing and hears no signal while it exists · `notready` /readyz 503 ·
`park` alive without a listener while it exists · `exit-N` exits with N now, once · `restart` as SIGUSR2, once · `boot-exit-N` every
start exits with N while it exists · `shell` a script that the gateway runs as its child, once · `agent` the same, at `openclaw agent`
or through its hook; it ends the turn by making `agent.done` · `refuse` words that make any config invalid that has them.
"""

import json
import os
import shutil
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))

# `python -I` and a symlink know no other way to our own files.
from tests.fake_gateway import VERSION, Gateway, knob
from tests.fake_place import Place, read_config

HANDOFF_TTL_S = 60
PROTOCOL: dict[str, object] = {"ok": True, "protocol": "openclaw.gateway.restart-handoff", "protocolVersion": 1}


def version(_: Place) -> int:
    time.sleep(knob("FAKE_VERSION_S", 0))
    print(f"OpenClaw {VERSION} (fake)")
    return int(knob("FAKE_VERSION_EXIT", 0))


def run(place: Place) -> int:
    Gateway(place).run()


def config_file(place: Place) -> int:
    print(place.config_path)
    return 0


def config_validate(place: Place) -> int:
    _, issues = read_config(place.config_path)
    print(json.dumps({"ok": not issues, "valid": not issues, "path": place.config_path, "issues": issues}))
    return 1 if issues else 0


def doctor(place: Place) -> int:
    """`doctor --fix` is as blunt as the real one: `.last-good` comes back, a deleted file becomes one that cannot start."""
    time.sleep(knob("FAKE_DOCTOR_S", 0))
    _, issues = read_config(place.config_path)
    if "--fix" not in place.args:
        print(json.dumps({"ok": not issues, "issues": issues}))
        return 0
    if place.holder():
        print("another OpenClaw process owns gateway-lifecycle", file=sys.stderr)
        return 1
    if not os.path.exists(place.config_path):
        with open(place.config_path, "w", encoding="utf-8") as file:
            json.dump({"meta": {"lastTouchedVersion": VERSION}}, file)
    elif issues and os.path.exists(f"{place.config_path}.last-good"):
        shutil.copyfile(f"{place.config_path}.last-good", place.config_path)
    elif issues:
        print("recovery skipped: no last-good config", file=sys.stderr)
        return 1
    return 0


def onboard(place: Place) -> int:
    """Write a config that starts, with a token of its own making; without both flags the real one asks questions."""
    if not {"--non-interactive", "--accept-risk"} <= set(place.args):
        print("Interactive onboarding requires a TTY.", file=sys.stderr)
        return 1
    port, token = int(place.option("--gateway-port", "18789")), os.urandom(24).hex()
    gateway = {"mode": "local", "port": port, "bind": "loopback", "auth": {"mode": "token", "token": token}}
    os.makedirs(place.state_dir, mode=0o700, exist_ok=True)
    with open(os.open(place.config_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"gateway": gateway, "meta": {"lastTouchedVersion": VERSION}}, file)
    print(json.dumps({"ok": True, "mode": "local", "gateway": {"port": port}}))
    return int(knob("FAKE_ONBOARD_EXIT", 0))


def consume(place: Place) -> int:
    """Tell whether the exit of `--expected-pid` was a restart it asked for, and forget it."""
    time.sleep(knob("FAKE_CONSUME_S", 0))
    pid = int(place.option("--expected-pid", "0"))
    path = f"{place.fake_dir}/handoff"
    answer: dict[str, object] = {"status": "none", "reason": "missing"}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            row = json.load(file)
        if time.time() >= row["createdAt"] + HANDOFF_TTL_S:
            answer = {"status": "rejected", "reason": "expired", "handoffPid": row["pid"]}
        elif row["pid"] != pid:
            answer = {"status": "rejected", "reason": "pid-mismatch", "handoffPid": row["pid"]}
        else:
            answer = {"status": "accepted", "handoff": row}
        if answer.get("reason") != "pid-mismatch":
            os.unlink(path)
    print(json.dumps(PROTOCOL | answer))
    return 0


def capabilities(_: Place) -> int:
    print(json.dumps(PROTOCOL | {"operations": ["consume"]}))
    return 0


def agent(place: Place) -> int:
    """A turn of the agent: the gateway runs the script `agent` in its own shell; 1 where it does not run, or there is no script."""
    if not place.holder() or not os.path.exists(f"{place.fake_dir}/agent"):
        print("LLM request failed", file=sys.stderr)
        return 1
    done = f"{place.fake_dir}/agent.done"
    if os.path.exists(done):
        os.unlink(done)  # of an earlier script
    os.rename(f"{place.fake_dir}/agent", f"{place.fake_dir}/shell")
    while not os.path.exists(done):
        time.sleep(0.02)
    print(json.dumps({"status": "ok"}))
    return 0


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def restart(place: Place) -> int:
    """Ask the running gateway for a restart, then wait for its successor."""
    old = place.holder()
    if not old:
        print("Gateway is not running.", file=sys.stderr)
        return 1
    os.kill(old, signal.SIGUSR2)
    port = place.port(read_config(place.config_path)[0])
    deadline = time.monotonic() + knob("FAKE_RESTART_WAIT_S", 60)
    while place.holder() in (0, old) or not reachable(port):
        if time.monotonic() > deadline:
            print("Timed out waiting for the gateway to come back.", file=sys.stderr)
            return 1
        time.sleep(0.05)
    print(f"Gateway restarted: pid {place.holder()}")
    return 0


def stop(_: Place) -> int:
    print("Use that supervisor to stop the gateway.", file=sys.stderr)
    return 1


def status(place: Place) -> int:
    """Exit code 0 whether it runs or not, as the real one."""
    port = place.port(read_config(place.config_path)[0])
    print(
        json.dumps({"gateway": {"port": port}, "rpc": {"ok": reachable(port)}, "config": {"path": place.config_path}})
    )
    return 0


def browser_status(place: Place) -> int:
    """Ask the gateway that environment and config file point to."""
    port = place.port(read_config(place.config_path)[0])
    if not reachable(port):
        print(f"gateway on port {port} is not reachable", file=sys.stderr)
        return 1
    print(
        f"profile: openclaw\nenabled: true\nrunning: false\ncdpPort: {port + 11}\ncdpUrl: http://127.0.0.1:{port + 11}"
    )
    return 0


VERBS = {
    "--version": version,
    "gateway": run,
    "gateway run": run,
    "gateway restart": restart,
    "gateway stop": stop,
    "gateway status": status,
    "gateway restart-handoff consume": consume,
    "gateway restart-handoff capabilities": capabilities,
    "config file": config_file,
    "config validate": config_validate,
    "doctor": doctor,
    "onboard": onboard,
    "browser status": browser_status,
    "agent": agent,
}


def main() -> int:
    place = Place(sys.argv[1:])
    words = " ".join(word for word in place.args if word == "--version" or not word.startswith("-"))
    for verb in sorted(VERBS, key=len, reverse=True):
        if words == verb or words.startswith(f"{verb} "):
            return VERBS[verb](place)
    print(f"OpenClaw does not recognize {words!r}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
