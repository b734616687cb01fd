"""What an OpenClaw command printed with `--json`, picked out from what else it said."""

import json
from typing import Any


def last_object(output: str) -> dict[str, Any] | None:
    """The last JSON object that begins a line; other lines (warnings of Node, for one) are passed over."""
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    at = 0
    for line in output.splitlines(keepends=True):
        if line.startswith("{"):
            try:
                value, _ = decoder.raw_decode(output, at)
            except (ValueError, RecursionError):
                value = None
            found = value if isinstance(value, dict) else found
        at += len(line)
    return found
