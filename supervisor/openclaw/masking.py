"""Takes the secrets out of text that people are shown: of JSON5 in any state of damage, and of log lines.

What is masked is judged by the name before a value and by the shapes of well-known tokens. Nothing is parsed: a config file is
most often shown when it no longer parses. The same secret has the same number in all texts that one `Mask` has masked, so that
a diff of two masked files still tells that a secret changed.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

_WORDS = frozenset(
    {
        *("token", "tokens", "password", "passwords", "passwd", "passphrase", "secret", "secrets", "credential"),
        *("credentials", "apikey", "apikeys", "key", "bearer", "authorization", "cookie", "cookies", "pat", "jwt"),
        *("pass", "pwd"),
    }
)
# Names in which a number or true is a limit or a switch, not a secret: maxTokens, token: true.
_SOFT = frozenset({"token", "tokens", "key", "cookie", "cookies", "pat", "pass"})
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<string>\"(?:[^\"\\\n]|\\.)*(?:\"|(?=\n)|\\?\Z)|'(?:[^'\\\n]|\\.)*(?:'|(?=\n)|\\?\Z))"
    r"|(?P<word>(?:[^\s{}\[\],:\"'/]|/(?![/*]))+)|(?P<sign>.)",
    re.DOTALL,
)
_VARIABLE = re.compile(r"\$\{[A-Z_][A-Z0-9_]*\}")
_STARS = re.compile(r"\*\*\*(\d+)")
_NUMBER_OR_SWITCH = re.compile(r"[-+]?[0-9.][0-9a-fA-FxX._+-]*|true|false|null|Infinity|NaN")
_SHAPES = re.compile(
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\bxox[a-z]-[A-Za-z0-9-]{8,}|\bgh[a-z]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}|\b\d{6,12}:[A-Za-z0-9_-]{30,}"
    r"|(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bAIza[0-9A-Za-z_-]{30,}|\b[0-9a-f]{48}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\Z)",
    re.DOTALL,
)
_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{1,16384}+-----END [A-Z ]{0,40}-----")
# More secrets than any config has: each is looked for in every line.
_MOST_KNOWN = 1000
# Nothing stands before a name and nothing is given back: a line without a break may be megabytes long.
_SAID = re.compile(
    r"(?P<head>(?:\bBearer\s+)|(?:://[^\s/:@]*+:(?=[^\s/@]*+@))|(?:(?:token|password|passwd|secret|api[_-]?key)[\w-]{0,64}+"
    r"[\"']?+\s*+[=:]\s*+[\"']?+))(?P<value>[^\s\"'&,;@<>{}\[\]()]{4,})",
    re.IGNORECASE,
)


class Mask:
    """Masks texts; remembers what it has masked, so that the same value is recognised in plain lines too."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._longest_first: list[str] = []

    def config(self, text: str) -> str:
        """A config file, or a piece of one, with every secret replaced by `***` and its number."""
        tokens = list(self._config(text))
        # Known secrets are looked for in all tokens at once: one by one takes as long as tokens times secrets.
        used = set(text).union(*self._seen)
        between = next(sign for sign in map(chr, range(0xE000, 0x110000)) if sign not in used)
        plain = self._without_known(between.join(token for token, is_plain in tokens if is_plain)).split(between)
        shown = iter(plain)
        return "".join(self._without_shapes(next(shown)) if is_plain else token for token, is_plain in tokens)

    def restored(self, text: str) -> str:
        """Put back every secret that this mask has replaced by its number."""
        values = {number: value for value, number in self._seen.items()}
        return _STARS.sub(lambda found: values.get(int(found[1]), found[0]), text)

    def line(self, text: str) -> str:
        """Any other text: known secrets, well-known shapes, and what stands behind `token=` and the like."""
        return self._without_shapes(self._without_known(text))

    def lines(self, text: str, longest: int | None = None) -> str:
        """The same for many lines, each cut to so many characters before it is masked: a log line may be megabytes long."""
        known = _KEY.sub(lambda found: self._star(found[0]), self._without_known(text))
        return "\n".join(self._without_shapes(_clipped(line, longest)) for line in known.split("\n"))

    def _without_known(self, text: str) -> str:
        if len(self._longest_first) < min(len(self._seen), _MOST_KNOWN):
            self._longest_first = sorted([*self._seen][:_MOST_KNOWN], key=len, reverse=True)
        for value in self._longest_first:
            text = text.replace(value, self._star(value))
        return text

    def _without_shapes(self, text: str) -> str:
        text = _SHAPES.sub(lambda found: self._star(found[0]), text)
        return _SAID.sub(self._said, text)

    def _config(self, text: str) -> Iterator[tuple[str, bool]]:
        """Its tokens, and of each whether it still is to be masked as plain text."""
        tokens = [(found.lastgroup or "", found[0]) for found in _TOKEN.finditer(text)]
        inside: list[tuple[bool, bool]] = [(False, False)]
        named = inside[-1]
        for at, (kind, token) in enumerate(tokens):
            if kind in ("string", "word"):
                if _is_name(tokens, at):
                    hard, soft = _judged(_bare(token))
                    named = (hard or inside[-1][0], soft or inside[-1][1])
                    yield token, False
                else:
                    yield self._value(token, named)
            elif kind == "sign":
                named = _stepped(token, inside, named)
                yield token, False
            else:
                yield token, kind != "space"

    def _value(self, token: str, named: tuple[bool, bool]) -> tuple[str, bool]:
        hard, soft = named
        bare = _bare(token)
        plain = _NUMBER_OR_SWITCH.fullmatch(token) is not None
        if (
            not (hard or soft)
            or (plain and not hard)
            or bare in ("null", "true", "false")
            or _VARIABLE.fullmatch(bare)
            or not bare
        ):
            return token, True
        quote = token[0] if token[0] in "\"'" else ""
        closing = quote if quote and token.endswith(quote) and len(token) > 1 else ""
        return f"{quote}{self._star(bare)}{closing}", False

    def _said(self, found: re.Match[str]) -> str:
        value = found["value"]
        if value.startswith("***") or _VARIABLE.match(value) or _NUMBER_OR_SWITCH.fullmatch(value):
            return found[0]
        return f"{found['head']}{self._star(value)}"

    def _star(self, value: str) -> str:
        # A short value would be found everywhere, and masking it would tell it.
        number = self._seen.setdefault(value, len(self._seen) + 1) if len(value) >= 6 else 0  # noqa: PLR2004
        return f"***{number}" if number else "***"


def _clipped(line: str, longest: int | None) -> str:
    if longest is None or len(line) <= longest:
        return line
    # Half a secret would not be known as one: the word that is cut goes with the rest.
    head, space, last = line[:longest].rpartition(" ")
    return f"{head if space and len(last) < longest // 2 else line[:longest]}…"


def _parts(name: str) -> frozenset[str]:
    parts = [part.lower() for part in _CAMEL.findall(name)]
    pairs = [first + second for first, second in pairwise(parts)]
    return frozenset([*parts, *pairs])


def _judged(name: str) -> tuple[bool, bool]:
    """Whether every value under this name is a secret, and whether a string is."""
    parts = _parts(name)
    return bool(parts & (_WORDS - _SOFT)), bool(parts & _SOFT)


def _is_name(tokens: list[tuple[str, str]], at: int) -> bool:
    after = (tokens[place] for place in range(at + 1, len(tokens)))
    return next((token for kind, token in after if kind not in ("space", "comment")), "") == ":"


def _stepped(sign: str, inside: list[tuple[bool, bool]], named: tuple[bool, bool]) -> tuple[bool, bool]:
    """What the next value is judged by, after a sign of punctuation."""
    if sign in "{[":
        inside.append(named)
    elif sign in "}]" and len(inside) > 1:
        inside.pop()
    return named if sign == ":" else inside[-1]


def _bare(token: str) -> str:
    quote = token[:1]
    if quote not in ("'", '"'):
        return token
    return token[1:-1] if len(token) > 1 and token.endswith(quote) else token[1:]
