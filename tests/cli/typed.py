"""`clawsup` as it is typed: a real process, with nothing of this one's environment that could steer it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(**changes: str) -> dict[str, str]:
    """Ours without what steers clawsup or the interpreter, and where the sources are."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CLAWSUP_", "PYTHON"))}
    return ours | {"PYTHONPATH": str(ROOT)} | changes


def clawsup(
    state_dir: Path,
    *words: str,
    conf_dir: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> "subprocess.CompletedProcess[str]":
    """Type it; gives its exit code and what it said."""
    places = ["--state-dir", str(state_dir), *(["--conf-dir", str(conf_dir)] if conf_dir else [])]
    return subprocess.run(
        [sys.executable, "-m", "supervisor", *places, *words],
        cwd="/",
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(env or environment()),
        timeout=60,
        check=False,
    )
