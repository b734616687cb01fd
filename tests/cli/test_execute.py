"""R19, FACTS 11.4: `exec` means the gateway it names, even when it is typed in another gateway's shell."""

import json
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.typed import clawsup, environment
from tests.control.in_memory import Fleet, entry, supervisor

DUMP = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}))
"""


@dataclass(frozen=True)
class Host:
    """Two definitions, a launcher that dumps what it sees, and the environment inside the rescue's shell."""

    root: Path
    env: Mapping[str, str]

    def dump(self, *words: str) -> dict[str, object]:
        """Exec a command that dumps; give what it saw."""
        done = self.type_in("exec", *words)
        assert done[0] == 0, done[2]
        seen: dict[str, object] = json.loads(done[1])
        return seen

    def type_in(self, *words: str) -> tuple[int, str, str]:
        """Give exit code, stdout and stderr."""
        done = clawsup(self.root / "s", *words, conf_dir=self.root / "conf.d", env=self.env)
        return done.returncode, done.stdout, done.stderr


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    conf_dir = tmp_path / "conf.d"
    conf_dir.mkdir()
    program(tmp_path / "bin" / "openclaw", DUMP)
    for name, port, role in (("main", 18789, "main"), ("rescue", 19789, "rescue")):
        (conf_dir / f"{name}.toml").write_text(f'port = {port}\nrole = "{role}"\n[env]\nMINE = "{name}"\n')
        (tmp_path / f".openclaw-{name}").mkdir()
    shim = tmp_path / ".openclaw-rescue" / "tmp" / "agent-cli"
    program(shim / "openclaw", "#!/bin/sh\necho this is the shim\n")
    inside = {
        "PATH": f"{shim}:{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "OPENCLAW_PROFILE": "rescue",
        "OPENCLAW_GATEWAY_PORT": "19789",
        "OPENCLAW_STATE_DIR": str(tmp_path / ".openclaw-rescue"),
        "OPENCLAW_CONFIG_PATH": str(tmp_path / ".openclaw-rescue" / "openclaw.json"),
        "OPENCLAW_GATEWAY_TOKEN": "of the rescue",
        "OPENCLAW_SHELL": "exec",
        "OPENCLAW_CLI": "1",
        "CLAWSUP_GATEWAY": "rescue",
        "CLAWSUP_RUN": "token of the rescue",
        "NODE_OPTIONS": "--inspect",
        "INVOCATION_ID": "1",
    }
    return Host(tmp_path, environment(**inside))


def test_a_command_typed_in_the_rescues_shell_reaches_main(host: Host) -> None:
    seen = host.dump("main", "--", "openclaw", "gateway", "status", "--json")
    env = seen["env"]

    assert isinstance(env, dict)
    assert seen["argv"] == ["--profile", "main", "gateway", "status", "--json"]
    assert seen["cwd"] == str(host.root / ".openclaw-main")
    assert {name: value for name, value in env.items() if name.startswith(("OPENCLAW_", "CLAWSUP_"))} == {
        "OPENCLAW_STATE_DIR": str(host.root / ".openclaw-main"),
        "OPENCLAW_CONFIG_PATH": str(host.root / ".openclaw-main" / "openclaw.json"),
        "OPENCLAW_GATEWAY_PORT": "18789",
        "OPENCLAW_PROFILE": "main",
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "OPENCLAW_SERVICE_REPAIR_POLICY": "external",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_DISABLE_BONJOUR": "1",
        "CLAWSUP_GATEWAY": "main",
        "CLAWSUP_CONF_DIR": str(host.root / "conf.d"),
        "CLAWSUP_STATE_DIR": str(host.root / "s"),
    }
    assert env["MINE"] == "main"
    assert {"NODE_OPTIONS", "INVOCATION_ID", "PYTHONPATH"}.isdisjoint(env)
    assert "agent-cli" not in env["PATH"]


def test_in_the_rescues_own_shell_the_rescue_is_named_once(host: Host) -> None:
    """Through its shim the profile would be given twice."""
    assert host.dump("rescue", "--", "openclaw", "browser", "status")["argv"] == [
        *("--profile", "rescue", "browser", "status"),
    ]


def test_an_openclaw_deeper_in_the_command_finds_no_shim_either(host: Host) -> None:
    seen = host.dump("main", "--", "sh", "-c", "openclaw health")

    assert seen["argv"] == ["health"]


def test_a_shim_reached_through_a_link_is_still_one(host: Host) -> None:
    (host.root / "elsewhere").symlink_to(host.root / ".openclaw-rescue" / "tmp")
    path = f"{host.root}/elsewhere/agent-cli:{host.env['PATH']}"
    linked = Host(host.root, {**host.env, "PATH": path})

    assert linked.dump("main", "--", "openclaw", "health")["argv"] == ["--profile", "main", "health"]


def test_a_launcher_that_openclaws_installer_put_into_the_state_dir_is_found(host: Host) -> None:
    own = host.root / ".openclaw-main" / "bin"
    program(own / "openclaw", DUMP)
    (host.root / "bin" / "openclaw").unlink()
    installed = Host(host.root, {**host.env, "PATH": f"{host.env['PATH']}:{own}"})

    assert installed.dump("main", "--", "openclaw")["argv"] == ["--profile", "main"]


def test_a_command_of_several_words_and_the_manual_way(host: Host) -> None:
    """R18: with both paths given and no profile, none is named."""
    state_dir = host.root / "by-hand"
    state_dir.mkdir()
    (host.root / "conf.d" / "hand.toml").write_text(
        f'port = 20789\nstate_dir = "{state_dir}"\nconfig_path = "{state_dir}/c.json"\n'
        f'command = ["env", "python3", "{host.root}/bin/openclaw"]\n'
    )

    assert host.dump("hand", "--", "openclaw", "status")["argv"] == ["status"]


def test_without_the_dashes_a_plain_command_works_too(host: Host) -> None:
    assert host.dump("main", "openclaw", "--version")["argv"] == ["--profile", "main", "--version"]


def test_the_commands_own_exit_code_is_the_answer(host: Host) -> None:
    assert host.type_in("exec", "main", "--", "sh", "-c", "exit 42")[0] == 42


def test_a_closed_pipe_ends_the_command_as_anywhere_else(host: Host) -> None:
    """The interpreter ignores SIGPIPE for itself; what it becomes must not."""
    assert (
        int(host.type_in("exec", "main", "--", "grep", "SigIgn", "/proc/self/status")[1].split()[1], 16) & (1 << 12)
        == 0
    )


@pytest.mark.parametrize(
    ("prepare", "words", "code", "said"),
    [
        (None, ["main", "--", "no-such-thing"], 127, "no-such-thing: no such command on the PATH of main"),
        ("no launcher", ["main", "--", "openclaw"], 127, "openclaw: no such command on the PATH of main"),
        (None, ["mian", "--", "true"], 4, "no gateway is called mian"),
        ("no state dir", ["main", "--", "true"], 1, "cannot go to the state dir of main: No such file"),
        ("no interpreter", ["main", "--", "openclaw"], 126, "bin/openclaw: No such file"),
        ("broken", ["broken", "--", "true"], 78, "broken cannot be read"),
        ("no definitions", ["main", "--", "true"], 78, "there is no definition in it"),
    ],
)
def test_what_cannot_be_run_is_said_with_the_exit_code_a_shell_would_give(
    host: Host, prepare: str | None, words: list[str], code: int, said: str
) -> None:
    preparations: dict[str | None, Callable[[], object]] = {
        None: lambda: None,
        "no launcher": (host.root / "bin" / "openclaw").unlink,
        "no state dir": (host.root / ".openclaw-main").rmdir,
        "no interpreter": lambda: program(host.root / "bin" / "openclaw", "#!/no/such/interpreter\n"),
        "broken": lambda: (host.root / "conf.d" / "broken.toml").write_text("port = "),
        "no definitions": lambda: [file.rename(host.root / file.name) for file in (host.root / "conf.d").iterdir()],
    }
    preparations[prepare]()

    got = host.type_in("exec", *words)

    assert got[:2] == (code, "")
    assert said in got[2]
    assert "\n  mend: " in got[2]


@pytest.mark.parametrize("words", [["exec", "old", "--", "true"], ["config", "old", "history"]])
def test_of_a_gateway_whose_definition_is_gone_that_is_said(short_dir: Path, words: list[str]) -> None:
    """It runs on, and `status` shows it: that no gateway has the name would not be true."""
    (short_dir / "main.toml").write_text("port = 18789\n")
    with supervisor(Fleet({"old": entry("old")}), short_dir):
        done = clawsup(short_dir, *words, conf_dir=short_dir)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"the definition of old is gone ({short_dir}/old.toml is not there); its gateway is ready" in done.stderr
    assert "clawsup status old" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks after the supervisor of somebody else")
def test_root_becomes_the_user_whom_the_supervisor_runs_as(short_dir: Path) -> None:
    """R19: a system unit runs as somebody, and `~` in its definitions is that user's home."""
    for directory in ("s", "theirs"):
        (short_dir / directory).mkdir()
        os.chown(short_dir / directory, pwd.getpwnam("nobody").pw_uid, -1)
    short_dir.chmod(0o755)
    places = f'state_dir = "{short_dir}/theirs"\nconfig_path = "{short_dir}/theirs/c.json"\n'
    (short_dir / "main.toml").write_text(f"port = 18789\n{places}")
    done = clawsup(short_dir / "s", "exec", "main", "--", "sh", "-c", 'id -un; echo "$USER $HOME"', conf_dir=short_dir)
    if "cannot read this clawsup" in done.stderr:
        pytest.skip("another user cannot read these sources")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["nobody", f"nobody {pwd.getpwnam('nobody').pw_dir}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_the_user_of_the_definition(host: Host) -> None:
    """So that nothing of root's is left in that user's state dir."""
    state_dir = host.root / "theirs"
    state_dir.mkdir()
    for directory in (state_dir, *state_dir.parents):
        if directory.stat().st_uid == 0 and directory.is_relative_to("/tmp"):
            directory.chmod(0o755)
    (host.root / "conf.d" / "theirs.toml").write_text(
        f'port = 20789\nuser = "nobody"\nstate_dir = "{state_dir}"\nconfig_path = "{state_dir}/c.json"\n'
    )

    code, out, said = host.type_in("exec", "theirs", "--", "sh", "-c", 'id -un; echo "$HOME $USER"; id -G')

    assert code == 0, said
    user, places, groups = out.splitlines()
    assert (user, places.split()[-1]) == ("nobody", "nobody")
    assert "0" not in groups.split()
