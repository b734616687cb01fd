"""Secrets never leave in what people are shown, and nothing else is lost from it."""

import json
import time
from collections.abc import Callable
from typing import Any

import json5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.openclaw.content import Content, collect
from supervisor.openclaw.diffing import diff
from supervisor.openclaw.masking import Mask

CONFIG = """{
  // the token is below
  gateway: { mode: 'local', auth: { mode: "token", token: "s3cr3t-abcdef" } },
  "models": {"providers": {"x": {"apiKey": 'k-123456', "maxTokens": 4096, "baseUrl": "http://u:hunter22@h/"}}},
  "channels": {"telegram": {"botToken": "123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}},
  "hooks": {"token": "${HOOK_TOKEN}", "secrets": ["first-one", {"deep": "second-one"}]},
}
"""


@pytest.mark.parametrize(
    "secret", ["s3cr3t-abcdef", "k-123456", "hunter22", "123456789:AAAA", "first-one", "second-one"]
)
def test_a_secret_in_a_config_is_not_shown(secret: str) -> None:
    assert secret not in Mask().config(CONFIG)


@pytest.mark.parametrize("plain", ["mode: 'local'", 'mode: "token"', "4096", "${HOOK_TOKEN}", "// the token is below"])
def test_what_is_no_secret_stays(plain: str) -> None:
    assert plain in Mask().config(CONFIG)


def test_a_masked_config_has_the_same_shape() -> None:
    def shape(value: Any) -> Any:
        return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else type(value)

    assert shape(json5.loads(Mask().config(CONFIG))) == shape(json5.loads(CONFIG))


@given(st.integers(0, len(CONFIG)))
def test_a_torn_file_shows_no_secret_either(at: int) -> None:
    shown = Mask().config(CONFIG[:at])
    for secret in ("s3cr3t", "k-1234", "first-on", "second-on", "123456789:AAA"):
        assert secret not in shown


@given(st.text())
def test_any_text_can_be_masked(text: str) -> None:
    mask = Mask()
    mask.config(text)
    mask.line(text)


def seconds(act: Callable[[], object]) -> float:
    """The least of three, which is what it costs and not what the machine was busy with."""
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        act()
        took.append(time.perf_counter() - begun)
    return min(took)


@pytest.mark.parametrize("piece", ["a", "token", "token'", "1,", "Bearer ", "/*", "eyJaaaaaaaaaa-", "://a:", "token: "])
def test_four_times_the_text_takes_four_times_as_long(piece: str) -> None:
    """It happens in the brain's loop: with a regular expression that looks back, 16 kB took 17 s, and the keeper waits for 10."""

    def mask(size: int) -> None:
        text = piece * (size // len(piece))
        Mask().line(text)
        Mask().config(f'{{"x": "{text}", {text}}}')

    assert seconds(lambda: mask(40_000)) < 10 * seconds(lambda: mask(10_000)) + 0.05


def test_four_times_as_many_secrets_take_four_times_as_long() -> None:
    def mask(count: int) -> None:
        one = Mask()
        one.config(json.dumps({f"k{index}": {"token": f"secret-{index}", "n": "plain"} for index in range(count)}))
        one.lines("x\n" * count)

    assert seconds(lambda: mask(4000)) < 10 * seconds(lambda: mask(1000)) + 0.05


def test_a_long_line_is_cut_before_it_is_masked_and_shows_no_half_of_a_secret() -> None:
    mask = Mask()
    mask.config(CONFIG)
    known, unknown = "s3cr3t-abcdef", "xoxb-1234567890-SECRETVALUE"
    text = f"one\n{'x ' * 995}{unknown}\n{'x ' * 998}{known}\n{'y' * 5000}"
    one, cut, also, long = mask.lines(text, 2000).split("\n")
    assert one == "one"
    assert cut.endswith("x…")
    assert also.endswith("x ***1")
    assert long == "y" * 2000 + "…"
    assert mask.lines(text).split("\n")[3] == "y" * 5000


def test_a_private_key_in_log_lines_goes_as_a_whole_and_a_torn_one_takes_no_other_line_with_it() -> None:
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    assert Mask().lines(f"a\n{begin}\nMIIBsecret\n{end}\nb") == "a\n***1\nb"
    assert Mask().lines(f"a\n{begin}\nb") == "a\n***1\nb"


def test_what_is_left_in_place_is_put_together_whatever_stands_in_it() -> None:
    """Private characters join the tokens of a text while known secrets are looked for in all of them."""
    mask = Mask()
    mask.config('{"token": "a\ue000bcdef"}')
    assert mask.config('{"x": ["a", "bcdef \ue001"]}') == '{"x": ["a", "bcdef \ue001"]}'


def test_a_secret_of_the_config_is_masked_in_log_lines_too() -> None:
    mask = Mask()
    mask.config(CONFIG)
    assert "s3cr3t-abcdef" not in mask.line("[gateway] bad credentials s3cr3t-abcdef from 127.0.0.1")


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer abcdefghijkl",
        "key sk-abcdefghijklmnopqrstuvwxyz in use",
        "--token=SECRETVALUE",
        "POST https://x/y?api_key=SECRETVALUE&z=1",
        'said {"botToken":"SECRETVALUE"}',
        "xoxb-1234567890-SECRETVALUE",
    ],
)
def test_well_known_shapes_are_masked_in_any_line(line: str) -> None:
    shown = Mask().line(line)
    assert "***" in shown
    for secret in ("SECRETVALUE", "abcdefghijkl"):
        assert secret not in shown


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("token", True),
        ("botToken", True),
        ("apiKey", True),
        ("api_key", True),
        ("privateKey", True),
        ("smtpPass", True),
        ("pwd", True),
        ("mode", False),
        ("bypass", False),
    ],
)
def test_a_name_tells_a_secret(name: str, secret: bool) -> None:
    shown = Mask().config(json.dumps({name: "SECRETVALUE"}))
    assert ("SECRETVALUE" not in shown) is secret


def content(**values: Any) -> Content:
    return Content((("/x/openclaw.json", json.dumps(values, indent=1).encode()),))


def test_a_diff_tells_that_a_secret_changed_but_not_what_it_is() -> None:
    lines = diff(content(token="old-secret"), content(token="new-secret"), labels=("good", "now"))
    assert [line for line in lines if line.startswith(("-", "+")) and "token" in line] == [
        '- "token": "***1"',
        '+ "token": "***2"',
    ]


def test_a_diff_in_which_everything_has_changed_is_not_told_line_by_line() -> None:
    """It is made in the brain's loop, and took 25 s for these; the keeper waits for 10."""
    one, other = (content(**{f"k{index}": index * factor for index in range(9000)}) for factor in (2, 3))

    begun = time.perf_counter()
    lines = diff(one, other, labels=("good", "now"))

    assert time.perf_counter() - begun < 5
    assert lines[2:] == ["(they differ in 17998 lines, too many to be told here)"]


def test_a_diff_with_nothing_tells_what_was_there() -> None:
    assert diff(content(a=1), content(a=1), labels=("a", "b")) == []
    lines = diff(Content(), content(a=1), labels=("before", "now"))
    assert lines[:2] == ["--- nothing", "+++ /x/openclaw.json (now)"]


def test_the_key_of_a_content_is_about_its_included_files_too() -> None:
    files = {"/x/a.json": b'{"$include": "b.json"}', "/x/b.json": b"{}"}

    def read(path: str) -> bytes:
        if path not in files:
            raise FileNotFoundError(2, "No such file", path)
        return files[path]

    first = collect("/x/a.json", read)
    assert [path for path, _ in first.files] == ["/x/a.json", "/x/b.json"]
    files["/x/b.json"] = b"{torn"
    second = collect("/x/a.json", read)
    del files["/x/b.json"]
    third = collect("/x/a.json", read)
    del files["/x/a.json"]
    assert len({first.key, second.key, third.key, collect("/x/a.json", read).key}) == 4
    assert collect("/x/a.json", read).key == ""


def test_an_address_with_a_port_is_no_secret() -> None:
    """What is masked without need could not be edited and put back."""
    text = '{"baseUrl": "http://127.0.0.1:18555/v1"}'
    assert Mask().config(text) == text
