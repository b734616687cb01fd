"""What two gateways must not share on disk, and what their own config files say."""

from dataclasses import replace

import pytest

from supervisor.openclaw.config import ConfigFault
from supervisor.policy.facts import Cause
from supervisor.policy.roster import Place
from supervisor.policy.toml_lines import Path
from tests.policy.candidates import candidate, only_fault, place, usable, verdict


def test_one_state_dir_for_two_is_an_error_that_names_both_files() -> None:
    """R2; the rescue keeps running, main gives way."""
    lines: dict[Path, int] = {("state_dir",): 4}
    judged = verdict(
        candidate("main", 18789, role="main", state_dir="/s", lines=lines),
        candidate("rescue", 19789, role="rescue", state_dir="/s"),
    )
    (fault,) = judged.faults
    assert (fault.file, fault.line, fault.key, fault.severity) == ("/conf.d/main.toml", 4, "state_dir", "error")
    assert '"rescue" (/conf.d/rescue.toml)' in fault.text
    assert fault.names == ("main", "rescue")
    assert usable(judged) == ["rescue"]
    ((name, obstacle),) = judged.roster.broken
    assert (name, obstacle.what, obstacle.cause) == ("main", "definition", Cause.CONFLICT)


def test_one_state_dir_under_two_paths_is_found_by_its_inode() -> None:
    """R2: a symlink or a bind mount changes nothing."""
    one, two = candidate("a", 18789, state_dir="/x"), candidate("b", 19789, state_dir="/y")
    same = replace(two, state_dir=Place("/y", one.state_dir.spot, one.state_dir.above))
    fault = only_fault(one, same)
    assert (fault.key, fault.names) == ("state_dir", ("b", "a"))
    assert "/y is /x" in fault.text


@pytest.mark.parametrize(("inner", "outer"), [("a", "b"), ("b", "a")])
def test_one_state_dir_inside_another_is_an_error_whichever_is_the_inner(inner: str, outer: str) -> None:
    """R2."""
    judged = verdict(candidate(inner, 18789, state_dir="/s/in/side"), candidate(outer, 19789, state_dir="/s"))
    assert [(fault.key, fault.severity, fault.names) for fault in judged.faults] == [("state_dir", "error", ("b", "a"))]


def test_a_state_dir_with_another_as_the_beginning_of_its_name_is_not_inside_it() -> None:
    assert verdict(candidate("a", 18789, state_dir="/s"), candidate("b", 19789, state_dir="/s-b")).faults == ()


def test_one_config_file_for_two_state_dirs_is_an_error() -> None:
    """R1: OpenClaw itself starts both."""
    fault = only_fault(
        candidate("a", 18789, config_path="/c/x.json", config={"cdp_ports": (("browser.profiles.p.cdpPort", 30000),)}),
        candidate("b", 19789, config_path="/c/x.json", config={"cdp_ports": (("browser.profiles.p.cdpPort", 30000),)}),
    )
    assert (fault.key, fault.severity, fault.names) == ("config_path", "error", ("b", "a"))


@pytest.mark.parametrize("key", ["agents.defaults.workspace", "agents.entries.x.workspace"])
def test_one_workspace_for_two_is_an_error_wherever_it_is_said(key: str) -> None:
    """R3."""
    fault = only_fault(
        candidate("a", 18789, workspace="/w"),
        candidate("b", 19789, config={"workspaces": ((key, "/w"),)}),
    )
    assert (fault.key, fault.severity, fault.names) == (key, "error", ("b", "a"))
    assert "/conf.d/a.toml" in fault.text


def test_a_config_or_workspace_in_anothers_state_dir_is_a_warning() -> None:
    """R9: OpenClaw's own example does it, and wiping main's state takes the rescue's along."""
    judged = verdict(
        candidate("main", 18789, role="main", state_dir="/h/.openclaw"),
        candidate(
            "rescue",
            19789,
            role="rescue",
            workspace="/h/.openclaw/workspace-rescue",
            config_path="/h/.openclaw/rescue.json",
        ),
    )
    assert sorted((fault.key, fault.severity) for fault in judged.faults) == [
        ("config_path", "warning"),
        ("workspace", "warning"),
    ]
    assert usable(judged) == ["main", "rescue"]


def test_a_workspace_that_is_anothers_state_dir_is_an_error() -> None:
    fault = only_fault(candidate("a", 18789, state_dir="/s"), candidate("b", 19789, workspace="/s"))
    assert (fault.key, fault.severity) == ("workspace", "error")


def test_a_workspace_around_another_gateway_is_a_warning_once_a_thing() -> None:
    judged = verdict(candidate("a", 18789, workspace="/home"), candidate("b", 19789))
    assert [(fault.file, fault.key, fault.severity) for fault in judged.faults] == [
        ("/conf.d/b.toml", "state_dir", "warning")
    ]


def test_two_state_dirs_of_one_profile_are_a_warning() -> None:
    """R6: `openclaw --profile x` reaches only one of them."""
    fault = only_fault(
        candidate("a", 18789, profile="x", state_dir="/a"), candidate("b", 19789, profile="x", state_dir="/b")
    )
    assert (fault.key, fault.severity) == ("profile", "warning")


def test_a_state_dir_that_is_a_file_is_an_error() -> None:
    one = candidate("a", 18789)
    wrong = replace(one, state_dir=place("/f", kind="file"), workspaces=())
    judged = verdict(wrong)
    assert [(fault.key, fault.severity) for fault in judged.faults] == [("state_dir", "error")]
    assert judged.roster.broken[0][1].cause is Cause.CONFIG


# The config file.


def test_a_port_that_the_config_file_does_not_confirm() -> None:
    """R4: OpenClaw's own CLI would talk to another port than the gateway's."""
    wrong = only_fault(candidate("a", 18789, config={"port": 18790}))
    assert (wrong.key, wrong.severity) == ("port", "error")
    assert "18790" in wrong.text
    absent = only_fault(candidate("a", 18789, config={"port": None}))
    assert (absent.key, absent.severity) == ("port", "warning")


@pytest.mark.parametrize("mode", [None, "remote"])
def test_a_mode_that_is_not_local_is_a_warning(mode: str | None) -> None:
    assert only_fault(candidate("a", 18789, config={"mode": mode})).severity == "warning"


@pytest.mark.parametrize(
    ("included", "env", "fine"),
    [
        ("/home/.openclaw-a/parts/x.json", {}, True),
        ("/home/.openclaw-a2/x.json", {}, False),
        ("/srv/x.json", {}, False),
        ("/srv/x.json", {"OPENCLAW_INCLUDE_ROOTS": "/srv"}, True),
    ],
)
def test_an_include_that_openclaw_refuses_is_a_warning(included: str, env: dict[str, str], *, fine: bool) -> None:
    """It takes none from outside the config's directory, unless it is told to."""
    judged = verdict(candidate("a", 18789, config={"includes": (included,)}, env=env))
    assert [(fault.key, fault.severity) for fault in judged.faults] == ([] if fine else [("config_path", "warning")])
    assert fine or included in judged.faults[0].text


@pytest.mark.parametrize(
    ("key", "severity"), [("agents.defaults.workspace", "error"), ("agents.entries.main.workspace", "warning")]
)
def test_a_workspace_that_the_config_file_contradicts(key: str, severity: str) -> None:
    """R3: the file wins over what we pass, so the definition would say it in vain."""
    fault = only_fault(candidate("a", 18789, workspace="/w", config={"workspaces": ((key, "/v"),)}))
    assert (fault.key, fault.severity) == ("workspace", severity)


def test_a_workspace_said_twice_alike_is_all_right() -> None:
    assert (
        verdict(
            candidate("a", 18789, workspace="/w", config={"workspaces": (("agents.defaults.workspace", "/w"),)})
        ).faults
        == ()
    )


@pytest.mark.parametrize("missing", [True, False])
def test_a_config_file_that_says_nothing_is_the_gateways_matter(*, missing: bool) -> None:
    one = candidate("a", 18789)
    silent = replace(one, facts=ConfigFault(one.config.path, 7, "is broken", missing))
    judged = verdict(silent)
    assert [(fault.key, fault.severity) for fault in judged.faults] == [("config_path", "warning")]
    assert ("setup" in judged.faults[0].mend) is missing
    assert usable(judged) == ["a"]
