"""While a keeper holds the state dir and starts a new brain, a client waits for it, and never says that nobody is there."""

import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.control.client import checked, request
from supervisor.errors import ClawsupError, NoBrain, NoSupervisor
from tests.cli.typed import clawsup


@pytest.fixture
def kept(short_dir: Path) -> Iterator[Path]:
    """A state dir whose lock is held, as a keeper holds it."""
    descriptor = os.open(short_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield short_dir
    os.close(descriptor)


@pytest.mark.parametrize("words", [["status"], ["stop", "main"], ["reload"], ["why", "main"]], ids=str)
def test_a_brain_that_is_being_replaced_is_not_called_absent(kept: Path, words: list[str]) -> None:
    done = clawsup(kept, *words)

    assert (done.returncode, done.stdout) == (4, "")
    assert "being replaced" in done.stderr
    assert "start it" not in done.stderr


def test_a_new_brain_is_waited_for(kept: Path) -> None:
    path = kept / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:

        def rise() -> None:
            listener.bind(str(path))
            listener.listen(1)
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}")

        rising = threading.Timer(0.3, rise)
        rising.start()
        assert request(str(path), "GET", "/v1/status") == (200, b"{}")
        rising.join(timeout=20)


def test_a_socket_that_its_brain_left_behind_is_no_answer_either(kept: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(kept / "control.sock"))
    with pytest.raises(NoBrain):
        request(str(kept / "control.sock"), "GET", "/v1/status")


def test_a_lock_that_nobody_holds_is_no_keeper(short_dir: Path) -> None:
    (short_dir / "supervisor.lock").write_text("1\n")
    with pytest.raises(NoSupervisor, match="start it"):
        request(str(short_dir / "control.sock"), "GET", "/v1/status")


@pytest.mark.parametrize("body", [b"", b'{"schema": 1, "gate', b"<html>"])
@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_cut_off_is_as_good_as_none(status: int, body: bytes) -> None:
    with pytest.raises(ClawsupError, match="closed the connection without an answer\n  mend: ask again"):
        checked(status, body)
