"""Processes seen from outside: what an operator is told of them, and their run tokens."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from supervisor.host.strangers import Stranger, describe, find_tokens, run_token, service
from tests.real_openclaw import node_binary


@contextmanager
def process(*arguments: str, **env: str) -> Iterator[int]:
    """A shell with these further arguments and this environment; it waits, and ends with the block."""
    command = ["/bin/sh", "-c", "echo; read line", *arguments]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # From here on it is the shell, and no longer the copy of us that fork made.
        yield child.pid


@contextmanager
def as_nobody() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_stranger_is_named_with_all_that_can_be_seen() -> None:
    with process("gateway", OPENCLAW_PROFILE="main") as pid:
        stranger = describe(pid)
    assert (stranger.pid, stranger.user) == (pid, psutil.Process().username())
    assert stranger.command == "/bin/sh -c echo; read line gateway"
    assert stranger.profile == "main"
    assert stranger.since is not None
    assert abs(datetime.now(UTC) - stranger.since) < timedelta(minutes=5)


def test_a_gateway_without_profile_is_named_by_its_clawsup() -> None:
    with process(CLAWSUP_GATEWAY="rescue") as pid:
        assert describe(pid).profile == "rescue"
    with process(CLAWSUP_GATEWAY="rescue", OPENCLAW_PROFILE="second") as pid:
        assert describe(pid).profile == "second"


def test_the_phrase_for_operators() -> None:
    since = datetime(2026, 11, 22, 12, 3, 59, tzinfo=UTC)
    full = Stranger(991, "claw", "openclaw-gateway", "main", "openclaw-gateway.service", since)
    assert str(full) == (
        "pid 991 (claw: openclaw-gateway, profile main, unit openclaw-gateway.service, since 2026-11-22 12:03Z)"
    )
    assert str(Stranger(7, "1001", "[node]", "", "", None)) == "pid 7 (1001: [node])"
    assert str(Stranger(7, "", "", "", "", None)) == "pid 7 (gone, or hidden from us)"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--token", "sesame", "--port", "1"], "--token *** --port 1"),
        (["--gateway-token=sesame"], "--gateway-token=***"),
        (["--password", "sesame street", "x"], "--password *** x"),
        (["--api-key", "--sesame", "x"], "--api-key *** x"),
        (["OPENAI_API_KEY=sesame"], "OPENAI_API_KEY=***"),
        (["-H", "Authorization: Bearer sesame"], "-H Authorization: ***"),
        (["http://h/?a=1&token=sesame&b=2"], "http://h/?a=1&token=***"),
        (["http://h/#token=sesame"], "http://h/#token=***"),
        (["socks5://me:sesame@h:1/"], "socks5://***@h:1/"),
        (["openclaw --token sesame gateway"], "openclaw --token ***"),
        (['{"token": "sesame"}'], '{"token": ***'),
        (["--client-secret", "sesame"], "--client-secret ***"),
    ],
)
def test_secrets_in_a_command_line_are_not_shown(arguments: list[str], shown: str) -> None:
    with process(*arguments) as pid:
        assert describe(pid).command == f"/bin/sh -c echo; read line {shown}"


def test_a_command_line_is_cut_and_cannot_write_to_the_terminal() -> None:
    with process("\x1b[2J\n\u202e", "x" * 500) as pid:
        command = describe(pid).command
    assert command.isprintable()
    assert len(command) == 80
    assert command.endswith("x…")


def test_what_has_no_command_line_is_named_in_brackets() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert describe(child.pid).command == "[true]"  # A zombie has a name and nothing else.
    child.wait()


def test_a_process_that_is_gone_is_only_a_number() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    for pid in (child.pid, 2**40, 2**70, -1):
        assert describe(pid) == Stranger(pid, "", "", "", "", None)
        assert run_token(pid) is None


def test_another_users_process_shows_what_everybody_may_see() -> None:
    with process("gateway", OPENCLAW_PROFILE="main", CLAWSUP_RUN="ours.1") as pid, as_nobody():
        stranger = describe(pid)
        assert (stranger.user, stranger.command) == ("root", "/bin/sh -c echo; read line gateway")
        assert stranger.profile == ""
        assert run_token(pid) is None
        assert pid not in find_tokens("")


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/openclaw-gateway.service\n", "openclaw-gateway.service"),
        ("0::/system.slice/openclaw-supervisor.service/main\n", "openclaw-supervisor.service"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/openclaw-gateway-main.service\n",
            "openclaw-gateway-main.service",
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/shell.scope\n", ""),
        ("4:memory:/elsewhere.service\n1:name=systemd:/system.slice/cron.service\n0::/\n", "cron.service"),
        ("0::/system.slice/odd:name.service\n", "odd:name.service"),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_the_unit_is_the_innermost_service(cgroups: str, unit: str) -> None:
    assert service(cgroups) == unit


def test_a_run_token_is_read_from_the_environment() -> None:
    with process(A="1", CLAWSUP_RUN="ours.17", Z="2") as pid:
        assert run_token(pid) == "ours.17"
    with process(NOT_CLAWSUP_RUN="ours.17", A="CLAWSUP_RUN=ours.17") as pid:
        assert run_token(pid) is None
    with process(CLAWSUP_RUN="") as pid:
        assert run_token(pid) == ""


def test_tokens_are_found_by_their_instance() -> None:
    ours = f"test-{os.getpid()}."
    with (
        process(CLAWSUP_RUN=f"{ours}1") as first,
        process(A="1", CLAWSUP_RUN=f"{ours}2") as second,
        process(CLAWSUP_RUN=f"not-{ours}3"),
        process(OTHER_CLAWSUP_RUN=f"{ours}4"),
        process(f"CLAWSUP_RUN={ours}5"),
    ):
        assert find_tokens(ours) == {first: f"{ours}1", second: f"{ours}2"}


def test_a_title_that_overwrites_the_command_line_leaves_the_token() -> None:
    """A real gateway calls itself `openclaw-gateway` (FACTS §4)."""
    node = str(node_binary())
    script = "process.title = 'openclaw-gateway'; console.log(); process.stdin.resume()"
    env = {"CLAWSUP_RUN": "ours.1", "OPENCLAW_PROFILE": "main"}
    with subprocess.Popen([node, "-e", script], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gateway:
        assert gateway.stdout is not None
        gateway.stdout.readline()
        assert run_token(gateway.pid) == "ours.1"
        assert (describe(gateway.pid).command, describe(gateway.pid).profile) == ("openclaw-gateway", "main")


def seconds(pid: int) -> float:
    """The least of three, which is what it costs and not what the machine was busy with."""
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        describe(pid)
        took.append(time.perf_counter() - begun)
    return min(took)


@pytest.mark.parametrize("piece", ["token", "-token", "token ", "a://", "-"])
def test_a_long_command_line_costs_no_more_than_a_short_one(piece: str) -> None:
    """It is masked in the brain's loop: with one that took 10 s, whoever holds a port would have the brain replaced."""
    word = piece * (120_000 // len(piece))
    with process("gateway") as short, process(*[word] * 8) as long:
        assert seconds(long) < 50 * seconds(short)
        assert describe(long).command.startswith("/bin/sh -c echo; read line ")
        assert describe(long).command.endswith("…")
