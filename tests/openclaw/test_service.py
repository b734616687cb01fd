"""The units that OpenClaw installs, as 2026.9.6 writes them."""

import pytest

from supervisor.openclaw.service import Service, describe, settings

# What `openclaw --profile rescue gateway install --port 19789` wrote, paths shortened.
RESCUE = """\
[Unit]
Description=OpenClaw Gateway (profile: rescue)
After=network-online.target
Wants=network-online.target
StartLimitBurst=10
StartLimitIntervalSec=300

[Service]
ExecStart=/opt/node/bin/node --max-old-space-size=8192 /opt/openclaw/dist/index.js gateway --port 19789
Restart=always
RestartSec=5
RestartPreventExitStatus=78
KillMode=mixed
Environment=HOME=/home/ann
Environment=OPENCLAW_STATE_DIR=/home/ann/.openclaw-rescue
Environment=OPENCLAW_CONFIG_PATH=/home/ann/.openclaw-rescue/openclaw.json
Environment=OPENCLAW_PROFILE=rescue
Environment=OPENCLAW_GATEWAY_PORT=19789
Environment="OPENCLAW_WINDOWS_TASK_NAME=OpenClaw Gateway (rescue)"

[Install]
WantedBy=default.target
"""


def test_openclaws_own_unit_tells_its_gateway() -> None:
    """R8."""
    found = describe("openclaw-gateway-rescue.service", settings(RESCUE), "/home/ann")
    assert found == Service("rescue", "/home/ann/.openclaw-rescue", "/home/ann/.openclaw-rescue/openclaw.json")


@pytest.mark.parametrize(
    ("name", "text", "state_dir"),
    [
        ("openclaw-gateway.service", "[Service]\nExecStart=openclaw gateway", "/home/ann/.openclaw"),
        ("openclaw-gateway-work.service", "[Service]\nExecStart=openclaw gateway", "/home/ann/.openclaw-work"),
        (
            "openclaw-gateway-x.service",
            "[Service]\nExecStart=openclaw --profile work gateway",
            "/home/ann/.openclaw-work",
        ),
        (
            "openclaw-gateway-x.service",
            "[Service]\nExecStart=openclaw --profile=work gateway",
            "/home/ann/.openclaw-work",
        ),
        ("openclaw-gateway-x.service", "[Service]\nEnvironment=HOME=/srv/x", "/srv/x/.openclaw-x"),
        ("openclaw-gateway-x.service", '[Service]\nEnvironment="OPENCLAW_STATE_DIR=%h/my claw"', "/home/ann/my claw"),
        ("openclaw-gateway-x.service", "[Service]\nEnvironment=A=1 \\\n  OPENCLAW_STATE_DIR=/d/../e/", "/e"),
        (
            "openclaw-gateway-x.service",
            "[X]\nEnvironment=HOME=/no\n[Service]\n#Environment=HOME=/no",
            "/home/ann/.openclaw-x",
        ),
    ],
)
def test_what_a_unit_leaves_out_follows_openclaws_rules(name: str, text: str, state_dir: str) -> None:
    """R6, R8: by hand or by an older OpenClaw, too."""
    assert describe(name, settings(text), "/home/ann").state_dir == state_dir


def test_a_drop_in_takes_back_what_the_unit_said() -> None:
    """systemd: an empty assignment empties the list."""
    text = f"{RESCUE}\n[Service]\nEnvironment=\nEnvironment=OPENCLAW_STATE_DIR=/other\nUser=bob\n"
    found = settings(text)
    assert found.user == "bob"
    assert describe("openclaw-gateway-rescue.service", found, "/home/ann").state_dir == "/other"


def test_broken_quotes_are_read_as_they_are() -> None:
    """A file of others may hold anything."""
    assert settings('[Service]\nEnvironment="A=1').environment == {'"A': "1"}
