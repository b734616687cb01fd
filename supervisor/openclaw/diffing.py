"""What changed between two contents of a config, as a unified diff without secrets."""

import difflib

from supervisor.openclaw.content import Content
from supervisor.openclaw.masking import Mask

# difflib's time grows with the square of what has changed, and the brain's loop waits for it: 10,000 lines took it 25 s.
_MANY = 2000
# To mask a megabyte takes more than a second.
_LARGE_BYTES = 512 * 1024


def diff(before: Content, after: Content, *, labels: tuple[str, str], mask: Mask | None = None) -> list[str]:
    """The lines of the diff of all files of both; empty when they are the same, secrets included."""
    mask = mask or Mask()
    old, new = dict(before.files), dict(after.files)
    lines: list[str] = []
    for path in sorted({*old, *new}):
        if old.get(path) == new.get(path):
            continue
        if max(len(files.get(path, b"")) for files in (old, new)) > _LARGE_BYTES:
            lines.append(f"{path}: they differ, and are too large to be told here")
            continue
        pairs = list(zip(labels, (old, new), strict=True))
        texts = [mask.config(files.get(path, b"").decode("utf-8", errors="replace")) for _, files in pairs]
        heads = [f"{path} ({label})" if path in files else "nothing" for label, files in pairs]
        one, other = (text.splitlines() for text in texts)
        changed = len({*one} ^ {*other})
        found, why = (
            difflib.unified_diff(one, other, heads[0], heads[1], lineterm=""),
            "bytes that a line does not show",
        )
        if changed > _MANY:
            found, why = iter(()), f"{changed} lines, too many to be told here"
        lines += list(found) or [f"--- {heads[0]}", f"+++ {heads[1]}", f"(they differ in {why})"]
    return lines
