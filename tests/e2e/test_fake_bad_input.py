"""Bad input, as the command meets it (issue 2): each is named with its mend, costs nobody else anything, and nothing is lost."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.supervised import Supervisor
from tests.e2e.world import FAKE, World

COLUMNS = 80


class Ordinary(Supervisor):
    """Started without root's rights over files and low ports, whoever runs the tests."""

    def argv(self, *words: str) -> list[str]:
        """Give the command line of a verb."""
        given_up = "--bounding-set=-dac_override,-dac_read_search,-net_bind_service"
        return [*(["setpriv", given_up] if os.geteuid() == 0 else []), *super().argv(*words)]


@pytest.fixture
def ordinary(world: World) -> Iterator[Ordinary]:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("no setpriv here to give root's rights up with")
    running = Ordinary(world)
    yield running
    world.conf_dir.chmod(0o700)
    running.stop()


def test_what_is_no_definition_is_named_and_the_others_run(world: World, ordinary: Ordinary) -> None:
    """R22."""
    said = {
        "directory": "it is a directory, not a file",
        "fifo": "it is a FIFO, not a file",
        "huge": "it is larger than 1024 KiB",
        "latin": ":2: is not UTF-8: byte 0xe4",
        "closed": "Permission denied",
        "low": "below 1024 the gateway needs the right to bind",
        "filed": "is a file, expected a directory",
    }
    world.define("good")
    paths = {name: world.conf_dir / f"{name}.toml" for name in said}
    paths["directory"].mkdir()
    os.mkfifo(paths["fifo"])
    paths["huge"].write_bytes(b"#" * 10_000_000)
    paths["latin"].write_bytes(b"port = 1\n# \xe4\n")
    paths["closed"].touch(mode=0)
    world.define("low", port=80)
    filed = world.define("filed").state_dir
    shutil.rmtree(filed)
    filed.write_text("precious")

    before = ordinary.start().wait_state("good", "ready")
    checked = ordinary.cli("check")
    assert checked.returncode == 78
    for name, text in said.items():
        blocked = ordinary.wait_state(name, "blocked")
        assert str(paths[name]) in blocked["reason"]
        assert text in blocked["reason"]
        assert blocked["mend"].endswith("then: clawsup reload")
        (line,) = [line for line in checked.stdout.splitlines() if line.startswith(str(paths[name])) and text in line]
        assert line
    table = ordinary.cli("status").stdout
    assert max(len(line) for line in table.splitlines() if world.root.name not in line) <= COLUMNS
    assert filed.read_text() == "precious"
    assert ordinary.gateway("good")["pid"] == before["pid"]


def test_a_place_that_cannot_be_used_blocks_its_gateway_until_it_can(world: World, ordinary: Ordinary) -> None:
    """A state dir that may not be entered, may not be written, is not there; a launcher that is no program."""
    world.define("good")
    folder, script = world.root / "folder", world.root / "script"
    folder.mkdir()
    script.touch(mode=0o644)
    modes = {"shut": 0, "unwritable": 0o500}
    said = {
        "shut": "may not be opened by uid",
        "unwritable": "may not be written by uid",
        "absent": "does not exist",
        "folder": f"{folder} is a directory, not a launcher",
        "script": f"{script} may not be executed",
    }
    gateways = {name: world.define(name) for name in ("shut", "unwritable", "absent")}
    gateways |= {name: world.define(name, command=[str(world.root / name)]) for name in ("folder", "script")}
    for name, mode in modes.items():
        gateways[name].state_dir.chmod(mode)
    shutil.rmtree(gateways["absent"].state_dir)

    before = ordinary.start().wait_state("good", "ready")
    for name, text in said.items():
        blocked = ordinary.wait_state(name, "blocked")
        assert text in blocked["reason"]
        assert blocked["mend"]
        assert ordinary.cli("why", name).stdout.splitlines()[-1].startswith("  next")
    for name in modes:
        gateways[name].state_dir.chmod(0o700)
        assert gateways[name].lives() == []
    gateways["absent"].state_dir.mkdir(mode=0o700)
    gateways["absent"].write_config()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -I {FAKE} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    ordinary.wait_ready(["shut", "unwritable", "absent", "script"])
    assert ordinary.gateway("good")["pid"] == before["pid"]


def test_a_conf_dir_that_may_not_be_read_changes_nothing(world: World, ordinary: Ordinary) -> None:
    world.define("good")
    before = ordinary.start().wait_state("good", "ready")
    world.conf_dir.chmod(0)

    for verb, code in (("reload", 1), ("check", 78)):
        refused = ordinary.cli(verb)
        assert refused.returncode == code
        assert f"{world.conf_dir}: the definitions cannot be read: Permission denied" in refused.stderr
        assert "make it readable" in refused.stderr
    second = Ordinary(world, state_dir=Path(f"{ordinary.state_dir}2")).start()
    assert second.process is not None
    assert second.process.wait(30) == 78
    assert "Permission denied" in second.errors.read_text()
    after = ordinary.wait_state("good", "ready")
    assert (after["pid"], after["restarts"]) == (before["pid"], 0)
