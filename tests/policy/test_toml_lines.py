"""Lines of keys in TOML: tomllib gives the values, the scanner the places, and both must agree."""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy.document import Document, parse
from supervisor.policy.fault import Fault
from supervisor.policy.toml_lines import Path, key_lines, line_of

EVERYTHING = '''\
# [not.a.table]
plain = 1
dotted . "quo ted" .  'lit' = "x" # = y
text = """
fake = 1
[fake]
\\""" still """""
raw = \'\'\'
also = 'fake'
\'\'\'
list = [ # comment ]
  "a]", [1,
  2], { k = 1, d.e = [3] },
]
inline = { a = "}", b = { c = 1 } }
"esc\\u0061pe" = 1
when = 1979-05-27 07:32:00

[table]
key = 1
[table . sub]
key = 1
[[many]]
x = 1
[[many]]
x = 2
[many.inner]
y = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("plain",), 2),
        (("dotted", "quo ted", "lit"), 3),
        (("text",), 4),
        (("raw",), 8),
        (("list",), 11),
        (("list", 0), 12),
        (("list", 1, 1), 13),
        (("list", 2, "d", "e", 0), 13),
        (("inline", "b", "c"), 15),
        (("escape",), 16),
        (("when",), 17),
        (("table",), 19),
        (("table", "key"), 20),
        (("table", "sub", "key"), 22),
        (("many",), 23),
        (("many", 0, "x"), 24),
        (("many", 1, "x"), 26),
        (("many", 1, "inner", "y"), 28),
    ],
)
def test_each_form_of_key_has_its_line(path: Path, line: int) -> None:
    """R22: `FILE:LINE: KEY`, for which tomllib gives no lines."""
    tomllib.loads(EVERYTHING)
    assert key_lines(EVERYTHING)[path] == line


def test_a_key_that_is_not_there_has_the_line_of_the_table_around_it() -> None:
    lines = key_lines(EVERYTHING)
    assert line_of(lines, ("table", "gone", "deeper")) == 19
    assert line_of(lines, ("gone",)) == 1


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every path that tomllib knows."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from paths_of(child, (*path, key))


KEY = st.sampled_from(["a", "b", "b-c", '"q.q"', "'l l'", '"\\u00e4"', "1", '"\\""', '"#"'])
DOTTED = st.lists(KEY, min_size=1, max_size=3).map(" . ".join)
SCALAR = st.sampled_from(
    [
        "1_000",
        "0xF",
        "true",
        "-1.5e3",
        "inf",
        "1979-05-27 07:32:00",
        '"s"',
        '"]}#\\""',
        "''",
        "'#'",
        '""',
        '""""""',
        '"""\n"a" = 1\n"""',
        "'''\n''x\n'''",
        '"""a"""""',
    ]
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ # ]\n" + ",\n".join(items) + (",\n]" if items else "]")),
        st.dictionaries(KEY, inner, max_size=3).map(
            lambda table: "{ " + ", ".join(f"{key} = {value}" for key, value in table.items()) + " }"
        ),
    ),
    max_leaves=6,
)
LINE = st.one_of(
    st.tuples(DOTTED, VALUE).map(lambda pair: f"{pair[0]} = {pair[1]} # x = 1"),
    DOTTED.map(lambda key: f"[{key}]"),
    DOTTED.map(lambda key: f"[[ {key} ]]  # ]"),
    st.sampled_from(["", "# a = 1", "\t"]),
)


@given(st.lists(LINE, max_size=8).map("\n".join))
def test_whatever_tomllib_reads_has_lines(text: str) -> None:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert set(paths_of(values)) <= lines.keys()
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


@given(st.text(alphabet="a.=[]{},\"'\\#\n 1"))
def test_no_text_whatever_raises(text: str) -> None:
    assert isinstance(parse("f.toml", text.encode(), ()), Document | Fault)


@given(st.binary())
def test_no_bytes_whatever_raise(data: bytes) -> None:
    assert isinstance(parse("f.toml", data, ()), Document | Fault)


@pytest.mark.parametrize(
    ("data", "line", "word"),
    [
        (b"port = 1\nrole = \n", 2, "TOML"),
        (b"port = 1\nport = 2\n", 2, "TOML"),
        (b'port = 1\nrole = "main\n', 2, "TOML"),
        (b'port = 1\nrole = """main', 2, "TOML"),
        (b"port = 1\n# \xff\n", 2, "UTF-8"),
        (b"port = " + b"1" * 5000, 1, "digits"),
        (b"a = " + b"[" * 50_000, 1, "deep"),
        (b"a = " + b"[" * 300 + b"]" * 300, 1, "deep"),
        (b"a" + b" . a" * 250_000 + b" = 1", 1, "deep"),
        (b"[a" + b".a" * 500_000 + b"]", 1, "deep"),
        (b"a = {" + b"a." * 500_000 + b"a = 1}", 1, "deep"),
        (b"a = " + b"{a.a.a.a.a.a.a.a = " * 50 + b"1" + b"}" * 50, 1, "deep"),
    ],
)
def test_what_is_no_toml_is_a_fault_with_its_line(data: bytes, line: int, word: str) -> None:
    fault = parse("f.toml", data, ("f",))
    assert isinstance(fault, Fault)
    assert (fault.line, fault.names) == (line, ("f",))
    assert word in fault.text


def test_line_ends_and_a_mark_of_other_systems_are_no_fault() -> None:
    document = parse("f.toml", b"\xef\xbb\xbfport = 1\r\nrole = 'x'\r\n", ())
    assert isinstance(document, Document)
    assert (document.values, document.line("role")) == ({"port": 1, "role": "x"}, 2)
