"""The output of lives that follow each other: each begins with a line of its own; with the keeper's end of the line in our own hands."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.brain.identity import Identity
from supervisor.brain.lives import Lives
from supervisor.brain.outputs import Outputs
from supervisor.host.line import Line


@pytest.fixture
def line() -> Iterator[Line]:
    keeper, brain = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line = Line(brain.detach())
    yield line
    line.close()
    keeper.close()


def outputs(directory: Path, line: Line) -> Outputs:
    """Those of one brain, whose pumps never get their turn."""
    return Outputs(directory, line, Lives(Identity("test", "seed"), None), lambda _: None)


def says(brain: Outputs, text: str) -> None:
    """Be a life that says this and ends."""
    end = brain.child_end("main")
    os.write(end, text.encode())
    os.close(end)


def test_each_life_begins_with_a_line_of_its_own(tmp_path: Path, line: Line) -> None:
    """R24."""
    brain = outputs(tmp_path, line)
    says(brain, "one\nhalf a li")
    says(brain, "two\n")
    says(brain, "three\n")
    brain.drain_all()
    assert (tmp_path / "main.log").read_text() == "one\nhalf a li\ntwo\nthree\n"
    brain.logs["main"].close()


def test_a_brain_that_adopts_a_life_in_mid_line_lets_it_end_that_itself(tmp_path: Path, line: Line) -> None:
    """R25."""
    first = outputs(tmp_path, line)
    end = first.child_end("main")
    os.write(end, b"half a li")
    first.drain_all()
    second = outputs(tmp_path, line)
    second.of("main")
    os.write(end, b"ne\n")
    second.drain_all()
    assert (tmp_path / "main.log").read_text() == "half a line\n"
    os.close(end)
    for brain in (first, second):
        brain.logs["main"].close()
