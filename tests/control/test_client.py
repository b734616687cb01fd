import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.control.address import socket_path
from supervisor.control.client import checked, request, stream
from supervisor.errors import ClawsupError, NoSuchGateway, NoSupervisor, UsageError

LIMIT_S = 0.2


@pytest.fixture
def path(short_dir: Path) -> Path:
    return short_dir / "control.sock"


@contextmanager
def listening(path: Path, backlog: int = 8) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(backlog)
        yield listener


@contextmanager
def answering(path: Path, *parts: bytes) -> Iterator[list[bytes]]:
    """Answer one connection with these bytes; gives what it had sent."""
    heard: list[bytes] = []

    def answer(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            heard.append(peer.recv(65536))
            for part in parts:
                peer.sendall(part)

    with listening(path) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        try:
            yield heard
        finally:
            thread.join(timeout=20)


def test_the_request_is_one_that_any_server_understands(path: Path) -> None:
    with answering(path, b"HTTP/1.1 200 OK\r\n\r\n{}") as heard:
        assert request(str(path), "POST", "/v1/stop", {"all": True}) == (200, b"{}")

    assert heard == [b'POST /v1/stop HTTP/1.0\r\nhost: clawsup\r\ncontent-length: 13\r\n\r\n{"all": true}']


def test_lines_come_whole_however_they_were_cut(path: Path) -> None:
    with answering(path, b"HTTP/1.1 2", b"00 OK\r\na: b\r\n\r\n{", b'"a": 1}\n{}\n{"b"', b": 2}\n"):
        status, lines = stream(str(path), "POST", "/v1/stop")

        assert (status, list(lines)) == (200, [b'{"a": 1}', b"{}", b'{"b": 2}'])


def test_no_socket_is_no_supervisor(path: Path) -> None:
    with pytest.raises(NoSupervisor, match=f"nobody listens on {path}\n  mend: start it") as caught:
        request(str(path), "GET", "/v1/status")

    assert caught.value.exit_code == 4


def test_a_state_dir_that_is_a_file_has_no_supervisor(short_dir: Path) -> None:
    (short_dir / "state").write_text("")

    with pytest.raises(NoSupervisor):
        request(str(short_dir / "state" / "control.sock"), "GET", "/v1/status")


def test_a_socket_that_its_owner_left_behind_is_no_supervisor(path: Path) -> None:
    with listening(path):
        pass

    with pytest.raises(NoSupervisor):
        request(str(path), "GET", "/v1/status")


def test_a_supervisor_that_takes_no_connection_is_given_up(path: Path) -> None:
    with listening(path), pytest.raises(ClawsupError, match=rf"the supervisor does not answer \({LIMIT_S} s\)"):
        request(str(path), "GET", "/v1/status", timeout_s=LIMIT_S)


def test_a_supervisor_whose_backlog_is_full_is_given_up(path: Path) -> None:
    """The kernel keeps the connect() itself waiting, which no Python time limit covers."""
    with listening(path, backlog=0), socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        with pytest.raises(ClawsupError, match="the supervisor does not answer"):
            request(str(path), "GET", "/v1/status", timeout_s=LIMIT_S)


def test_silence_in_the_middle_of_an_answer_is_given_up(path: Path) -> None:
    with listening(path) as listener:
        ready = threading.Event()

        def half() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n{}\n")
                ready.wait(20)

        thread = threading.Thread(target=half)
        thread.start()
        try:
            _, lines = stream(str(path), "POST", "/v1/stop", timeout_s=LIMIT_S)
            assert next(lines) == b"{}"
            with pytest.raises(ClawsupError, match="the supervisor does not answer"):
                next(lines)
        finally:
            ready.set()
            thread.join(timeout=20)


def test_a_supervisor_that_ends_without_an_answer_says_nothing_about_the_work(path: Path) -> None:
    with answering(path), pytest.raises(ClawsupError, match="closed the connection without an answer"):
        request(str(path), "GET", "/v1/status")


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, b'{"error": "no gateway is called a", "known": ["b", "c"]}', NoSuchGateway, "known: b, c"),
        (404, b'{"error": "no gateway is called a", "known": []}', NoSuchGateway, "clawsup check"),
        (400, b'{"error": "names: wrong"}', UsageError, "names: wrong"),
        (403, b'{"error": "uid 7 may not"}', ClawsupError, "uid 7 may not"),
        (503, b'{"error": "too many"}', ClawsupError, "too many"),
    ],
)
def test_a_refusal_is_raised_as_what_it_means(status: int, body: bytes, kind: type[ClawsupError], said: str) -> None:
    with pytest.raises(ClawsupError, match=said) as caught:
        checked(status, body)

    assert type(caught.value) is kind


def test_a_path_that_the_kernel_would_cut_is_refused_in_bytes_not_characters() -> None:
    assert len(os.fsencode(socket_path("/" + "x" * 93))) == 107
    with pytest.raises(ClawsupError, match="is 108 bytes long"):
        socket_path("/" + "x" * 94)
    with pytest.raises(ClawsupError, match="is 109 bytes long"):
        socket_path("/" + "ä" * 47 + "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_supervisor_of_another_user_is_not_called_absent(path: Path) -> None:
    script = (
        "import hashlib, os, sys; from supervisor.control.client import request; os.setuid(65534)\n"
        "try: request(sys.argv[1], 'GET', '/v1/status')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    with listening(path):
        path.parent.chmod(0o755)
        path.chmod(0o600)
        ran = subprocess.run(
            [sys.executable, "-c", script, path],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )

    assert ran.stdout.startswith("ClawsupError")
    assert "may not talk to that supervisor" in ran.stdout
