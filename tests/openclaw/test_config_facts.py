"""What is read from OpenClaw's own config file."""

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw.config import MAX_BYTES, MAX_JSON5_BYTES, ConfigFacts, ConfigFault, read_config

CONFIG = "/s/openclaw.json"


def files(contents: Mapping[str, str | bytes]) -> Callable[[str], bytes]:
    """A disk with these files."""

    def read(path: str) -> bytes:
        if path not in contents:
            raise FileNotFoundError(2, "No such file or directory", path)
        content = contents[path]
        return content if isinstance(content, bytes) else content.encode()

    return read


def facts(contents: Mapping[str, str | bytes] | str, **environment: str) -> ConfigFacts:
    disk = {CONFIG: contents} if isinstance(contents, str) else contents
    found = read_config(CONFIG, files(disk), environment=environment)
    assert isinstance(found, ConfigFacts), found
    return found


def fault(contents: Mapping[str, str | bytes]) -> ConfigFault:
    found = read_config(CONFIG, files(contents))
    assert isinstance(found, ConfigFault), found
    return found


def test_json5_is_read_with_all_that_isolation_needs() -> None:
    """R3, R4, R14 to R17: workspace, port, CDP ports and URLs."""
    found = facts("""{
      // a comment
      gateway: { mode: 'local', port: 18789, tls: { enabled: true } },
      agents: {
        defaults: { workspace: "~/work" },
        entries: { main: { workspace: "/w/main" }, other: {} },
        list: [{ id: "old", workspace: "/w/old" }],
      },
      browser: {
        cdpUrl: "http://127.0.0.1:9222",
        profiles: { a: { cdpPort: 18801 }, b: { cdpUrl: "http://10.0.0.9:9222" } },
      },
    }""")
    assert (found.mode, found.port, found.tls) == ("local", 18789, True)
    assert found.workspaces == (
        ("agents.defaults.workspace", "~/work"),
        ("agents.entries.main.workspace", "/w/main"),
        ("agents.list[0].workspace", "/w/old"),
    )
    assert found.cdp_urls == (
        ("browser.cdpUrl", "http://127.0.0.1:9222"),
        ("browser.profiles.b.cdpUrl", "http://10.0.0.9:9222"),
    )
    assert found.cdp_ports == (("browser.profiles.a.cdpPort", 18801),)


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ("18789", 18789),
        ("18789.0", 18789),
        ("70000", 70000),
        ('"18789"', None),
        ("true", None),
        ("1e999", None),
        ("1.5", None),
    ],
)
def test_a_port_is_a_whole_number_as_javascript_sees_it(port: str, expected: int | None) -> None:
    assert facts(f'{{"gateway": {{"port": {port}}}}}').port == expected


@pytest.mark.parametrize(
    "data", ["{}", '{"gateway": 3, "agents": [], "browser": null}', '{"agents": {"entries": {"x": 1}}}']
)
def test_what_has_another_shape_says_nothing(data: str) -> None:
    assert facts(data) == ConfigFacts(CONFIG)


def test_includes_are_followed_relative_to_the_file_that_includes_them() -> None:
    found = facts(
        {
            CONFIG: '{"gateway": {"$include": "sub/gateway.json5"}, "agents": {"$include": "./agents.json5"}}',
            "/s/sub/gateway.json5": '{mode: "local", "$include": "../port.json5"}',
            "/s/port.json5": "{port: 19789, mode: 'remote'}",
            "/s/agents.json5": '{"defaults": {"workspace": "/w"}}',
        }
    )
    assert (found.port, found.mode) == (19789, "local"), "keys beside $include win"
    assert found.workspaces == (("agents.defaults.workspace", "/w"),)
    assert found.includes == ("/s/sub/gateway.json5", "/s/port.json5", "/s/agents.json5")


def test_a_list_of_includes_merges_deeply_and_the_later_wins() -> None:
    found = facts(
        {
            CONFIG: '{"$include": ["a.json", "b.json"]}',
            "/s/a.json": '{"gateway": {"port": 1, "mode": "local"}, "agents": {"list": [{"workspace": "/a"}]}}',
            "/s/b.json": '{"gateway": {"port": 2}, "agents": {"list": [{"workspace": "/b"}]}}',
        }
    )
    assert (found.port, found.mode) == (2, "local")
    assert [path for _, path in found.workspaces] == ["/a", "/b"], "arrays concatenate"


def test_variables_come_from_the_environment_then_from_the_file() -> None:
    found = facts(
        """{env: {vars: {HERE: "/file", HOME: "/wrong"}}, agents: {entries: {
          a: {workspace: "${HOME}/a"}, b: {workspace: "${HERE}/b"}, c: {workspace: "${NOWHERE}/c"}, d: {workspace: "$${HOME}"},
        }}}""",
        HOME="/home/claw",
    )
    assert [path for _, path in found.workspaces] == ["/home/claw/a", "/file/b", "${HOME}"]


def test_a_config_that_is_not_there_is_told_from_one_that_cannot_be_read() -> None:
    assert fault({}) == ConfigFault(CONFIG, None, "cannot be read: No such file or directory", missing=True)
    absent = fault({CONFIG: '{"$include": "gone.json"}'})
    assert (absent.path, absent.missing) == ("/s/gone.json", False)


@pytest.mark.parametrize(
    ("content", "line", "word"),
    [
        ("", 1, "JSON5"),
        ("{\n\n  a: 1,,\n}", 3, "JSON5"),
        (b"{\n\xff}", 2, "UTF-8"),
        ("[1]", 1, "object"),
        ('{"$include": 3}', None, "$include"),
        ('{"$include": [3]}', None, "$include"),
        ('{"$include": "a\\u0000b"}', None, "$include"),
        ("[" * 100_000, None, "deep"),
        ('{"a":' * 100_000, None, "deep"),
        ("//" + " " * MAX_JSON5_BYTES + "\n{}", None, "KiB"),
        ("{a: " + "1" * 5000 + "}", 1, "digits"),
    ],
)
def test_a_broken_config_is_a_fault_with_its_line(content: str | bytes, line: int | None, word: str) -> None:
    found = fault({CONFIG: content})
    assert (found.path, found.line, found.missing) == (CONFIG, line, False)
    assert word in found.text


def test_a_circle_of_includes_is_a_fault_that_shows_it() -> None:
    found = fault({CONFIG: '{"$include": "a.json"}', "/s/a.json": '{"$include": "openclaw.json"}'})
    assert "/s/openclaw.json -> /s/a.json -> /s/openclaw.json" in found.text


@pytest.mark.parametrize(("levels", "fine"), [(10, True), (11, False)])
def test_ten_levels_of_includes_are_the_limit(levels: int, *, fine: bool) -> None:
    contents = {f"/s/{level}.json": f'{{"$include": "{level + 1}.json"}}' for level in range(1, levels)}
    contents |= {CONFIG: '{"$include": "1.json"}', f"/s/{levels}.json": "{}"}
    assert isinstance(read_config(CONFIG, files(contents)), ConfigFacts) is fine


def test_includes_that_multiply_come_to_an_end() -> None:
    contents = {f"/s/{level}.json": json.dumps({"$include": [f"{level + 1}.json"] * 9}) for level in range(9)}
    contents |= {CONFIG: '{"$include": "0.json"}', "/s/9.json": "{}"}
    assert "more than" in fault(contents).text


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    ("text", "word"),
    [("{" + " " * (MAX_JSON5_BYTES * 2 // 3) + "a: 1}", "KiB"), (f'"{"x" * (MAX_BYTES * 2 // 3)}"', "MiB")],
)
def test_the_limits_are_for_all_files_together(text: str, word: str, count: int) -> None:
    """Whoever may write the config must not hold up the brain, nor fill its memory, by including many files."""
    names = [f"{number}.json" for number in range(count)]
    contents = {f"/s/{name}": text for name in names}
    found = read_config(CONFIG, files({CONFIG: json.dumps({name: {"$include": name} for name in names}), **contents}))
    assert isinstance(found, ConfigFacts) is (count == 1)
    assert isinstance(found, ConfigFacts) or word in found.text


KEYS = st.sampled_from(
    ["$include", "gateway", "port", "mode", "tls", "agents", "entries", "list", "defaults", "workspace", "browser"]
) | st.sampled_from(["cdpUrl", "cdpPort", "profiles", "env", "vars", "x"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["openclaw.json", "a.json", "${A}"])
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=30)


@given(TREES, TREES)
def test_no_data_whatever_raises(config: object, included: object) -> None:
    read_config(CONFIG, files({CONFIG: json.dumps(config), "/s/a.json": json.dumps(included)}))


@given(st.binary() | st.text(alphabet="{}[]:,\"'/*\\u$0123456789abcdef \n-+.").map(str.encode))
def test_no_bytes_whatever_raise(data: bytes) -> None:
    read_config(CONFIG, files({CONFIG: data}))
