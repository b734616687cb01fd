from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw.launch import OURS, Account, argv, clean_path, environment, openclaw_argv
from supervisor.policy.definition import Definition

SHIM = "/home/claw/.openclaw-rescue/tmp/agent-cli"
ALLOWED = {
    *(
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "TZ",
        "TMPDIR",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
}
FOREIGN = (
    *("CLAWDBOT_STATE_DIR", "CLAWDBOT_CONFIG_PATH", "MOLTBOT_STATE_DIR", "MOLTBOT_GATEWAY_TOKEN", "CLAWSUP_RUN"),
    *("INVOCATION_ID", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM", "MAINPID"),
    *("SYSTEMD_EXEC_PID", "WATCHDOG_USEC", "NODE_OPTIONS", "LD_PRELOAD", "PYTHONPATH", "OPENCLAW_HOME"),
    *("OPENCLAW_GATEWAY_TOKEN", "OPENCLAW_SHELL", "OPENCLAW_CLI", "OPENCLAW_SERVICE_MARKER", "OPENCLAW_NO_RESPAWN"),
    *("OPENCLAW_WORKSPACE_DIR", "OPENCLAW_PROFILE", "OPENCLAW_STATE_DIR", "OPENCLAW_ALLOW_MULTI_GATEWAY"),
)


def definition(**changes: object) -> Definition:
    values = {"name": "main", "port": 18789, "profile": "main", "state_dir": "/s/main", "config_path": "/s/main/c.json"}
    return Definition.model_validate(values | changes)


def composed(
    inherited: Mapping[str, str] = {},
    extra: Mapping[str, str] = {},
    of: Definition | None = None,
    *,
    run_token: str | None = None,
    account: Account | None = None,
) -> dict[str, str]:
    return environment(
        of or definition(),
        inherited=inherited,
        extra=extra,
        launcher_dir="/opt/openclaw/bin",
        own_dir="/opt/clawsup/bin",
        conf_dir="/etc/c",
        state_dir="/var/s",
        run_token=run_token,
        account=account,
    )


@pytest.mark.parametrize(
    ("profile", "words"),
    [("main", ["--profile", "main"]), ("default", []), (None, [])],
    ids=["a profile", "the default profile", "the manual way"],
)
def test_a_gateway_is_started_with_its_profile_and_its_port(profile: str | None, words: list[str]) -> None:
    """R4, R6, R18."""
    one = definition(profile=profile, command=("openclaw", "--no-color"))

    assert argv(one, "/bin/openclaw") == ("/bin/openclaw", "--no-color", *words, "gateway", "run", "--port", "18789")


def test_exec_gives_the_word_openclaw_the_gateways_command_and_profile() -> None:
    """R19."""
    one = definition(command=("node", "/opt/openclaw.mjs"), profile="rescue")

    assert openclaw_argv(one, "/bin/node", ("openclaw", "browser", "status")) == (
        *("/bin/node", "/opt/openclaw.mjs", "--profile", "rescue", "browser", "status"),
    )


def test_exec_leaves_other_commands_as_they_are() -> None:
    assert openclaw_argv(definition(), "/bin/openclaw", ["sh", "-c", "openclaw status"]) == (
        "sh",
        "-c",
        "openclaw status",
    )


def test_the_environment_of_a_gateway_is_exactly_this() -> None:
    """R1, R2, R3, R4."""
    of = definition(workspace="/w/main")

    assert composed({"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, {"TZ": "UTC"}, of, run_token="t") == {
        "PATH": "/opt/openclaw/bin:/opt/clawsup/bin:/usr/bin:/bin",
        "LC_ALL": "C",
        "TZ": "UTC",
        "OPENCLAW_STATE_DIR": "/s/main",
        "OPENCLAW_CONFIG_PATH": "/s/main/c.json",
        "OPENCLAW_GATEWAY_PORT": "18789",
        "OPENCLAW_PROFILE": "main",
        "OPENCLAW_WORKSPACE_DIR": "/w/main",
        "OPENCLAW_SUPERVISOR_MODE": "external",
        "OPENCLAW_SERVICE_REPAIR_POLICY": "external",
        "OPENCLAW_NO_AUTO_UPDATE": "1",
        "OPENCLAW_DISABLE_BONJOUR": "1",
        "CLAWSUP_GATEWAY": "main",
        "CLAWSUP_CONF_DIR": "/etc/c",
        "CLAWSUP_STATE_DIR": "/var/s",
        "CLAWSUP_RUN": "t",
    }


@pytest.mark.parametrize("profile", ["default", None])
def test_without_a_profile_none_is_named(profile: str | None) -> None:
    assert "OPENCLAW_PROFILE" not in composed({"OPENCLAW_PROFILE": "rescue"}, of=definition(profile=profile))


def test_only_the_gateways_own_process_carries_the_run_token() -> None:
    assert "CLAWSUP_RUN" not in composed({"CLAWSUP_RUN": "of the shell it was typed in"})


def test_another_user_gets_a_home_and_a_name_of_its_own() -> None:
    account = Account("claw", "/home/claw", "/bin/sh")
    got = composed({"HOME": "/home/other", "USER": "other", "LOGNAME": "other", "SHELL": "/bin/zsh"}, account=account)

    assert [got[name] for name in ("HOME", "USER", "LOGNAME", "SHELL")] == ["/home/claw", "claw", "claw", "/bin/sh"]


def test_the_operators_own_words_come_last_but_not_over_ours() -> None:
    wished = dict.fromkeys(OURS, "wished") | {"PATH": "/mine", "LANG": "C", "OPENCLAW_GATEWAY_TOKEN": "secret"}
    got = composed({"LANG": "de"}, wished)

    assert (got["PATH"], got["LANG"], got["OPENCLAW_GATEWAY_TOKEN"]) == ("/mine", "C", "secret")
    assert "wished" not in got.values()


NAMES = st.one_of(
    st.sampled_from(FOREIGN),
    st.sampled_from(sorted(ALLOWED)),
    st.builds(
        "{}{}".format, st.sampled_from(["OPENCLAW_", "CLAWDBOT_", "MOLTBOT_", "SYSTEMD_", "LISTEN_", "LC_"]), st.text()
    ),
    st.text(min_size=1),
)


@given(st.dictionaries(NAMES, st.text(), max_size=40))
def test_whatever_the_supervisor_inherits_only_the_allow_list_passes(inherited: dict[str, str]) -> None:
    """Issue 2, item 5: the names are compared as they are, so neither case nor a prefix lets one through."""
    got = composed(inherited)
    passed = {name for name in got if name not in OURS and name != "PATH"}

    assert passed == {name for name in inherited if name in ALLOWED or name.startswith("LC_")}
    assert all(got[name] == inherited[name] for name in passed)
    assert {name: got[name] for name in got if name in OURS} == {k: v for k, v in composed().items() if k in OURS}


DIRECTORIES = st.sampled_from(
    ["/usr/bin", "/bin", "", ".", "bin", "../bin", "/opt/openclaw/bin", "/a b", SHIM, f"{SHIM}/"]
)


@given(st.lists(DIRECTORIES).map(":".join))
def test_a_path_names_absolute_directories_once_and_the_launchers_first(path: str) -> None:
    entries = composed({"PATH": path})["PATH"].split(":")

    assert entries[:2] == ["/opt/openclaw/bin", "/opt/clawsup/bin"]
    assert len(entries) == len(set(entries))
    assert all(entry.startswith("/") for entry in entries)
    assert set(entries[2:]) <= set(path.split(":"))


@given(st.lists(DIRECTORIES).map(":".join))
def test_no_shim_of_any_gateway_stays_on_a_clean_path(path: str) -> None:
    """FACTS 11.4: inside the rescue's shell `openclaw` would mean the rescue."""
    assert SHIM not in clean_path(path, [])


@pytest.mark.parametrize(
    ("entry", "stays"),
    [
        ("/s/main", False),
        ("/s/main/", False),
        ("/s/main/tmp/x", False),
        ("/s/../s/main/bin", False),
        ("/s/main-2/bin", True),
        ("/s", True),
        ("/x/tmp/agent-cli", False),
        ("/x/tmp/agent-cli-2", True),
    ],
)
def test_what_lies_in_a_forbidden_directory_is_dropped_and_no_more(entry: str, *, stays: bool) -> None:
    assert clean_path(f"/bin:{entry}", ["/s/main/"]) == (f"/bin:{entry}" if stays else "/bin")
