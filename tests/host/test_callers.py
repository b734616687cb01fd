"""Who connected, and what it grew from (R9)."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.host import callers

_CONNECT = "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"


@pytest.fixture
def listener(short_dir: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_dir / "s"))
        listening.listen()
        listening.settimeout(10)
        yield listening


def test_the_peer_is_the_process_that_connected_and_its_ancestors_lead_to_us(listener: socket.socket) -> None:
    with subprocess.Popen(["sh", "-c", f"{sys.executable} -c '{_CONNECT}' $0; :", listener.getsockname()]) as shell:
        connection, _ = listener.accept()
        with connection:
            peer = callers.caller_of(connection)
            lineage = callers.lineage(peer.pid, peer.pidfd)
            os.close(peer.pidfd)
    assert lineage is not None
    assert lineage[:3] == (peer.pid, shell.pid, os.getpid())
    assert (peer.uid, peer.gid) == (os.geteuid(), os.getegid())


def test_a_peer_that_is_gone_has_no_lineage(listener: socket.socket) -> None:
    with subprocess.Popen([sys.executable, "-c", _CONNECT, listener.getsockname()]) as child:
        connection, _ = listener.accept()
        with connection:
            peer = callers.caller_of(connection)
            child.send_signal(signal.SIGKILL)
            child.wait()
            lineage = callers.lineage(peer.pid, peer.pidfd)
            os.close(peer.pidfd)
    assert lineage is None


def test_what_could_not_be_pinned_has_no_lineage() -> None:
    assert callers.lineage(os.getpid(), -1) is None
    assert callers.lineage(0, -1) is None
