"""What a gateway's agent may have the supervisor read out, where its own user cannot read the state dir: word by word. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

# The flags of each verb, and whether a value follows.
_FLAGS: Final[Mapping[str, Mapping[str, bool]]] = {
    "logs": {"-n": True, "--lines": True, "--since": True},
    "why": {"--json": False},
    "events": {"--json": False, "-n": True, "--lines": True, "--after": True},
    "incidents": {"--json": False},
    "config": {"--json": False},
}
_SHOWS: Final = frozenset({"history", "show", "diff"})
# Of names, hashes, numbers and times; what begins with a dash is a flag, and there are no others.
_PLAIN = re.compile(r"[\w.:+][\w.:+-]*", re.ASCII)


def look(words: Sequence[str]) -> tuple[str, str] | None:
    """The verb, as rights judge it, and the gateway (or "") that such a command line is about; None: it is none of these."""
    verb, *rest = words or [""]
    flags = _FLAGS.get(verb)
    plain: list[str] = []
    follows = False
    for word in rest:
        if not follows and flags is not None and word in flags:
            follows = flags[word]
        elif not _PLAIN.fullmatch(word):
            return None
        else:
            plain += [] if follows else [word]
            follows = False
    if flags is None or follows:
        return None
    match verb, plain:
        case (("logs" | "why"), [name]):
            return verb, name
        case "events", []:
            return verb, ""
        case "incidents", ([] | [_]):
            return verb, "".join(plain)
        case "incidents", ["show", ident]:
            # An incident's name ends in that of its gateway.
            return verb, ident.partition("-")[2]
        case "config", [name, what] | [name, what, _] if what in _SHOWS:
            return what, name
        case _:
            return None
