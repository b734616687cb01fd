"""Ports that are taken, and the owners of listeners, with real sockets of real processes."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.host.ports import Busy, Foreign, Unseen, listener, look

ME = os.getpid()


@pytest.fixture
def ipv6() -> None:
    """This machine has [::1]."""
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


def listening(address: str, *, dual: bool = False, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, dualstack_ipv6=dual)


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port


@contextmanager
def another_listener(*options: str) -> Iterator[tuple[int, int]]:
    """The pid of another process and the port on which it listens."""
    script = (
        "import socket, sys; s = socket.socket();"
        "[s.setsockopt(socket.SOL_SOCKET, getattr(socket, o), 1) for o in sys.argv[2:]];"
        "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    port, *names = options or ("0",)
    command = [sys.executable, "-S", "-c", script, port, *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield child.pid, int(child.stdout.readline())


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_free_ports_are_not_busy(base_port: int) -> None:
    assert look(range(base_port, base_port + 20)) == ()


def test_a_taken_port_names_its_process() -> None:
    """R4, R24."""
    with another_listener() as (pid, port):
        expected = (Busy(port, "127.0.0.1", "listener", fatal=True, pid=pid, uid=os.geteuid()),)
        assert look([port]) == expected
        assert look([port], known=[ME, pid]) == expected
        assert look([port], known=[ME]) == expected


@pytest.mark.usefixtures("ipv6")
def test_a_listener_on_every_address_blocks_too() -> None:
    with listening("0.0.0.0") as server:
        (busy,) = look([port_of(server)])
        assert (busy.address, busy.fatal, busy.pid) == ("0.0.0.0", True, ME)
    with listening("::", dual=True) as server:
        (busy,) = look([port_of(server)])
        assert (busy.address, busy.fatal, busy.pid) == ("::", True, ME)


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("address", ["::1", "::"])
def test_a_listener_on_ipv6_alone_is_told_but_not_fatal(address: str) -> None:
    with listening(address) as server:
        assert look([port_of(server)]) == (
            Busy(port_of(server), address, "listener", fatal=False, pid=ME, uid=os.geteuid()),
        )


def test_a_listener_on_another_address_alone_keeps_no_port_busy() -> None:
    with listening("127.0.0.2") as server:
        assert look([port_of(server)]) == ()


def test_only_the_busy_ports_of_a_family_are_told_in_order(base_port: int) -> None:
    with listening("127.0.0.1", port=base_port + 9), listening("127.0.0.1", port=base_port + 2):
        assert [busy.port for busy in look(range(base_port, base_port + 20))] == [base_port + 2, base_port + 9]


def test_a_connection_that_has_just_ended_keeps_no_port_busy() -> None:
    """Node binds with SO_REUSEADDR: a port in TIME_WAIT is free to it."""
    with listening("127.0.0.1") as server:
        port = port_of(server)
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    assert look([port]) == ()


def test_an_outgoing_connection_can_keep_a_port_busy() -> None:
    with listening("127.0.0.1") as server, socket.socket() as client:
        client.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        assert look([port_of(client)]) == (
            Busy(port_of(client), "127.0.0.1", "connection", fatal=True, pid=ME, uid=os.geteuid()),
        )


def test_a_socket_that_is_only_bound_keeps_its_port_busy() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert look([port_of(bound)]) == (Busy(port_of(bound), "127.0.0.1", "bound", fatal=True),)


def test_a_low_port_is_forbidden_to_users() -> None:
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81:
        pytest.skip("every user may bind low ports here")
    with as_nobody():
        assert look([81]) == (Busy(81, "127.0.0.1", "forbidden", fatal=True, error="Permission denied"),)


def test_of_another_users_process_the_uid_is_told() -> None:
    with another_listener() as (_, port), as_nobody():
        assert look([port]) == (Busy(port, "127.0.0.1", "listener", fatal=True, pid=None, uid=0),)
        assert listener(port, [ME]) == Foreign(None, 0)


def test_a_machine_without_descriptors_says_so() -> None:
    with listening("127.0.0.1") as server:
        port = port_of(server)
        with no_descriptors():
            (busy,) = look([port])
            owner = listener(port, [ME])
    assert (busy.kind, busy.error) == ("untried", "Too many open files")
    assert owner == Unseen(f"the listener on port {port} cannot be looked up: Too many open files")


def test_the_owner_of_a_listener_is_proven() -> None:
    with another_listener() as (pid, port):
        assert listener(port, [ME, pid]) == pid
        assert listener(port, [ME]) == Foreign(pid, os.geteuid())
        assert listener(port, []) == Foreign(pid, os.geteuid())
    assert listener(port, [pid]) is None


@pytest.mark.usefixtures("ipv6")
def test_every_address_that_serves_loopback_proves_the_owner() -> None:
    for address, dual in (("127.0.0.1", False), ("0.0.0.0", False), ("::", True)):
        with listening(address, dual=dual) as server:
            assert listener(port_of(server), [ME]) == ME


@pytest.mark.usefixtures("ipv6")
def test_a_listener_on_ipv6_loopback_proves_nothing() -> None:
    with listening("::1") as server:
        assert listener(port_of(server), [ME]) is None


def test_a_port_shared_with_a_stranger_is_foreign() -> None:
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = port_of(ours)
        assert listener(port, [ME]) == ME
        with another_listener(str(port), "SO_REUSEPORT") as (pid, _):
            assert listener(port, [ME]) == Foreign(pid, os.geteuid())
            assert listener(port, [ME, pid]) in {ME, pid}


@pytest.mark.usefixtures("ipv6")
def test_kernels_without_sock_diag_are_read_through_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_NETLINK", 255)  # No kernel has this family.
    for address, dual in (("127.0.0.1", False), ("0.0.0.0", False), ("::", True), ("::1", False)):
        with listening(address, dual=dual) as server:
            (busy,) = look([port_of(server)])
            assert (busy.address, busy.kind, busy.pid) == (address, "listener", ME)
            assert listener(port_of(server), [ME]) == (None if address == "::1" else ME)
