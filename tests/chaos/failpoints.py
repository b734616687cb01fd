"""Failpoints between every two system calls of spawn, record, rotate, stop and rollback: compiled into a copy, none in the product."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_RUNTIME = Path(__file__).with_name("failpoint.py")

Parts: TypeAlias = Mapping[str, Mapping[str, Sequence[str]]]
"""Functions by what they are part of and by their file; one of a class is CLASS.FUNCTION."""

FUNCTIONS: Parts = {
    "spawn": {
        "brain/__main__.py": ("Brain.run", "Brain._take_over"),
        "brain/births.py": ("Births.at_once", "Births.patiently", "Births._unless_lacking", "Births._spawn"),
        "brain/hands.py": ("Hands._spawn", "Hands._spawn_in_time", "Hands._begun", "Hands._lives_on", "Hands.adopt"),
        "brain/outputs.py": ("Outputs.of", "Outputs.child_end"),
        "brain/lives.py": ("Lives.cradle", "Lives._found"),
        "brain/preflight.py": ("look", "_ports"),
        "host/cgroups.py": ("inside", "_enter", "_step"),
        "host/locks.py": ("take", "LowSlot.lend"),
        "host/logs/pump.py": ("_open_fifo",),
        "host/processes/pinned.py": ("pin",),
        "host/processes/spawning.py": ("spawn", "_rank", "_marked"),
    },
    "record": {
        "daemon.py": ("Daemon.decide", "Daemon._keep"),
        "brain/chronicle.py": ("Chronicle.write", "Chronicle.say", "Chronicle.keep", "Chronicle.children"),
        "brain/identity.py": ("load",),
        "host/journal/mending.py": ("mend", "_write"),
        "host/journal/writing.py": (
            *("Journal.append", "Journal.flush", "Journal._write_waiting", "Journal._write", "Journal._sync"),
            *("Journal._open", "Journal._create", "Journal._close", "Journal._rotate", "_sync_directory"),
        ),
        "host/records.py": ("Records.save", "Records.set_aside", "_written_over", "_write", "_sync_directory"),
    },
    "rotate": {
        "host/logs/pump.py": (
            *("Log._turn", "Log._move", "Log._end", "Log._open_file", "Log._close_file", "Log.drain", "Log.end_line"),
        ),
        "host/logs/rotation.py": ("rotate", "recover", "prune", "compress", "_write_whole", "_cut_doubled_tail"),
    },
    "stop": {
        "brain/__main__.py": ("Brain._make_room",),
        "brain/hands.py": (
            *("Hands._signal", "Hands._await_end", "Hands._sweep", "Hands.finish", "Hands.ended_unseen"),
        ),
        "brain/outputs.py": ("Outputs.drain", "Outputs.drain_all"),
        "brain/endings.py": ("Endings.told",),
        "brain/lives.py": ("Lives.end", "Lives.bury", "Lives.sweep", "Lives._sweep_leaf"),
        "host/cgroups.py": ("end", "_remove"),
        "host/processes/pinned.py": ("terminate", "reap", "kill_all"),
    },
    "rollback": {
        "brain/guard.py": ("Guard.refused", "Guard.promote", "Guard._keep"),
        "brain/mender.py": ("Mender.perform", "Mender._climb"),
        "brain/rungs.py": ("Rungs.climb", "Rungs._put"),
        "brain/casebook.py": ("Casebook.ended",),
        "host/config_files.py": ("replace", "_replace", "_home", "_clear_drafts", "_write"),
        "host/incidents.py": ("Incidents.open", "Incidents._write"),
        "host/snapshots.py": ("Snapshots.keep", "Snapshots.promote", "Snapshots._save", "Snapshots._prune", "_write"),
    },
}

# Where a keeper dies, in builds of their own: whoever rolls dice for brains spares their keeper.
OF_THE_KEEPER: Parts = {
    "keeper": {
        "keeper.py": (
            *("main", "_lock", "_sign", "Keeper.start_brain", "Keeper.renew", "Keeper.pass_on", "Keeper.go_on"),
            *("Keeper.hear_signals", "Keeper.obey", "Keeper.reap", "Keeper.brain_ended"),
        ),
    },
}

# Calls of these are no system calls, and nothing is gained by dying around them.
_IDLE = re.compile(
    "all|any|bool|bytes|dict|enumerate|filter|frozenset|getattr|int|isinstance|iter|len|list|map|max|memoryview|min|next"
    "|range|reversed|set|sorted|str|sum|tuple|zip"
)


class NoLongerThereError(AssertionError):
    """A listed function that the product does not have any more, or that has nothing to die between."""


@dataclass(frozen=True, slots=True)
class Death:
    """Where a brain killed itself; `visit` is the how manieth of that process."""

    pid: int
    point: str
    visit: int


class Failpoints:
    """What tells the brains of a build where to die, and hears from them; one directory for each supervisor."""

    def __init__(self, directory: Path, *, trace: bool = False) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True)
        if trace:
            (directory / "trace").touch()

    @property
    def env(self) -> Mapping[str, str]:
        """What leads a brain here."""
        return {"CLAWSUP_FAILPOINTS": str(self._directory)}

    def aim(self, point: str, visit: int = 1) -> None:
        """Let a brain die at that visit of the point from now on; once, and in place of any other aim."""
        self._put("aim", f"{point} {visit}")

    def is_aimed(self) -> bool:
        """Whether the last aim has not been hit yet."""
        return (self._directory / "aim").exists()

    def disarm(self) -> None:
        """Take back the aim and, for brains to come, the dice."""
        for name in ("aim", "dice"):
            (self._directory / name).unlink(missing_ok=True)

    def dice(self, chance: float, seed: int) -> None:
        """Let brains to come die at each visit of any point with that probability; each brain's luck is the seed's."""
        self._put("dice", f"{chance} {seed}")

    def visited(self) -> list[str]:
        """Give the points that were visited, in their order: all visits with `trace`, else the first of each brain."""
        return [line.split()[1] for line in self._lines("visited")]

    def deaths(self) -> list[Death]:
        """Give the deaths so far."""
        return [Death(int(pid), point, int(visit)) for pid, point, visit in map(str.split, self._lines("deaths"))]

    def _put(self, name: str, text: str) -> None:
        draft = self._directory / f"{name}.new"
        draft.write_text(text, encoding="ascii")
        draft.rename(self._directory / name)

    def _lines(self, name: str) -> list[str]:
        path = self._directory / name
        return path.read_text(encoding="ascii").splitlines() if path.exists() else []


def names() -> list[str]:
    """Give the functions that have failpoints: host.locks.take."""
    return [
        f"{file.removesuffix('.py').replace('/', '.')}.{name}"
        for part in FUNCTIONS.values()
        for file, functions in part.items()
        for name in functions
    ]


def compile_in(package: Path, parts: Parts = FUNCTIONS) -> tuple[dict[Path, str], tuple[str, ...]]:
    """Give the sources of a package's modules with failpoints in them, and the names of the points: host.locks.take:2."""
    wanted: dict[str, set[str]] = {}
    for part in parts.values():
        for file, functions in part.items():
            wanted.setdefault(file, set()).update(functions)
    sources = {package / "failpoint.py": _RUNTIME.read_text(encoding="utf-8")}
    points: list[str] = []
    for file, names in wanted.items():
        left = set(names)
        tree = ast.parse((package / file).read_text(encoding="utf-8"))
        module = file.removesuffix(".py").replace("/", ".")
        for name, function in _functions(tree):
            if name in names:
                left.discard(name)
                points += _Inserter(f"{module}.{name}").instrument(function)
        if left:
            raise NoLongerThereError(f"{file} has no {', '.join(sorted(left))}")
        _import_runtime(tree, module)
        sources[package / file] = ast.unparse(ast.fix_missing_locations(tree))
    return sources, tuple(points)


def _functions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{above}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{above}{node.name}.")


def _import_runtime(tree: ast.Module, module: str) -> None:
    """Import `at`, behind the docstring and whatever comes from __future__."""
    first = next(
        index
        for index, node in enumerate(tree.body)
        if not (isinstance(node, ast.Expr) or (isinstance(node, ast.ImportFrom) and node.module == "__future__"))
    )
    line = "from supervisor.failpoint import at as _failpoint"
    if module == "keeper":
        # It is a file alone, and knows no package.
        line = "_failpoint = __import__('runpy').run_path(__file__.removesuffix('keeper.py') + 'failpoint.py')['at']"
    tree.body[first:first] = ast.parse(line).body


class _Inserter:
    """Puts points into one function: before each statement that acts, and at the end of each `with`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._points: list[str] = []

    def instrument(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
        """Change the function in place; the names of its points."""
        function.body = self._body(function.body)
        if not self._points:
            raise NoLongerThereError(f"{self._name} has no place to die at")
        return self._points

    def _body(self, statements: list[ast.stmt], *, at_end: bool = False) -> list[ast.stmt]:
        pointed: list[ast.stmt] = []
        for statement in statements:
            if _acts(statement):
                pointed.append(self._point())
            self._below(statement)
            pointed.append(statement)
        if at_end and not isinstance(statements[-1], ast.Return | ast.Raise | ast.Continue | ast.Break):
            pointed.append(self._point())
        return pointed

    def _below(self, statement: ast.stmt) -> None:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return
            case ast.With() | ast.AsyncWith():
                statement.body = self._body(statement.body, at_end=True)
            case ast.Try(handlers=branches) | ast.Match(cases=branches):
                self._branches(statement, "body")
                for branch in branches:
                    branch.body = self._body(branch.body)
                self._branches(statement, "orelse", "finalbody")
            case ast.If() | ast.For() | ast.AsyncFor() | ast.While():
                self._branches(statement, "body", "orelse")
            case _:
                return

    def _branches(self, statement: ast.stmt, *names: str) -> None:
        for name in names:
            if body := getattr(statement, name, None):
                setattr(statement, name, self._body(body))

    def _point(self) -> ast.stmt:
        self._points.append(f"{self._name}:{len(self._points) + 1}")
        return ast.Expr(ast.Call(ast.Name("_failpoint", ast.Load()), [ast.Constant(self._points[-1])], []))


def _acts(statement: ast.stmt) -> bool:
    """Whether a statement, less the statements in it, calls anything that could be a system call."""
    heads: Sequence[ast.AST | None]
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Raise() | ast.Try():
            return False
        case ast.If(test=test) | ast.While(test=test):
            heads = [test]
        case ast.For(iter=over) | ast.AsyncFor(iter=over):
            heads = [over]
        case ast.Match(subject=subject):
            heads = [subject]
        case ast.With(items=items) | ast.AsyncWith(items=items):
            heads = [*items]
        case _:
            heads = [statement]
    return any(_is_act(node) for head in heads if head is not None for node in ast.walk(head))


def _is_act(node: ast.AST) -> bool:
    if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom):
        return True
    return isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and _IDLE.fullmatch(node.func.id))
