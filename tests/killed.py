"""A process that is killed when a file of its has been written, and has not got its name yet."""

import signal
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_HEAD = """
import os, signal, sys
from pathlib import Path
os.rename = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
"""


def before_a_rename(script: str, *arguments: Path | str) -> None:
    """Run a script that has `Path` and its arguments as `sys.argv[1:]`, until a SIGKILL stands in for its first rename."""
    done = subprocess.run([sys.executable, "-c", _HEAD + script, *arguments], cwd=_ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
