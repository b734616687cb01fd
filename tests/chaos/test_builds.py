"""A build runs as what it is, and an edit or a failpoint that no longer fits the product is noticed."""

import ast
import py_compile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.builds import PACKAGE, Build, Built, Edit, NoLongerFitsError, build
from tests.chaos.failpoints import FUNCTIONS, OF_THE_KEEPER, Failpoints, NoLongerThereError, Parts, compile_in
from tests.e2e.supervised import gone
from tests.e2e.world import World, kill
from tests.ports import Ports

TELLS_ITS_FILES = Edit(
    "brain/__main__.py",
    '"brains": self._hello.brains}',
    '"files": [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "supervisor"]}',
)
SIGNS_THE_LOCK = Edit("keeper.py", 'f"{os.getpid()}\\n".encode()', 'f"{os.getpid()} {__file__}\\n".encode()')
Run = Callable[[Build], Built]


@pytest.fixture
def run(short_dir: Path, ports: Ports) -> Iterator[Run]:
    world = World(short_dir, ports)
    world.define("main")
    started: list[Built] = []

    def start(made: Build) -> Built:
        started.append(Built(world, made))
        return started[-1].start()

    yield start
    for supervisor in started:
        supervisor.stop()
    assert not world.strays()


@pytest.mark.parametrize(
    ("file", "old"), [("host/locks.py", "no such line"), ("host/locks.py", "os.close("), ("host/absent.py", "import")]
)
def test_an_edit_must_fit_exactly_once(tmp_path: Path, file: str, old: str) -> None:
    with pytest.raises(NoLongerFitsError, match=f"{file} has [0-9]+ times, not once:\n"):
        build(tmp_path, [Edit(file, old, "pass")])


def test_an_edit_that_is_no_python_is_no_build(tmp_path: Path) -> None:
    with pytest.raises(py_compile.PyCompileError):
        build(tmp_path, [Edit("daemon.py", "self._inbox = anyio", "self._inbox = = anyio")])


def test_a_function_that_is_gone_fails_the_build(tmp_path: Path) -> None:
    gone_now = [Edit("host/processes/pinned.py", "def reap(", "def bury(")]
    with pytest.raises(NoLongerThereError, match=r"host/processes/pinned\.py has no reap"):
        build(tmp_path / "build", gone_now, Failpoints(tmp_path / "points"))


@pytest.mark.parametrize("parts", [FUNCTIONS, OF_THE_KEEPER], ids=["brain", "keeper"])
def test_every_part_of_the_promise_has_failpoints_and_the_product_has_none(parts: Parts) -> None:
    sources, points = compile_in(PACKAGE, parts)
    assert len(points) == len(set(points))
    for part, files in parts.items():
        for file, names in files.items():
            for name in names:
                named = f"{file.removesuffix('.py').replace('/', '.')}.{name}:"
                assert any(point.startswith(named) for point in points), (part, named)
    assert all("_failpoint" not in path.read_text() for path in PACKAGE.rglob("*.py"))
    assert not (PACKAGE / "failpoint.py").exists()
    # Points are all that a build differs by.
    for path, source in sources.items():
        if path.exists():
            without = "\n".join(line for line in source.splitlines() if "_failpoint" not in line)
            assert ast.dump(ast.parse(without)) == ast.dump(ast.parse(path.read_text())), path


def test_the_keeper_and_every_module_of_the_brain_are_the_copys(run: Run, short_dir: Path) -> None:
    """The copy comes before the product, which is installed for the same interpreter."""
    made = build(short_dir / "build", [TELLS_ITS_FILES, SIGNS_THE_LOCK])
    supervisor = run(made)
    supervisor.wait_ready()
    (began,) = supervisor.named("supervisor_started")
    assert len(began["files"]) > 50
    assert {file for file in began["files"] if not file.startswith(f"{made.root}/supervisor/")} == set()
    pid, _, keeper = (supervisor.state_dir / "supervisor.lock").read_text().partition(" ")
    assert supervisor.process is not None
    assert (int(pid), keeper) == (supervisor.process.pid, f"{made.root}/supervisor/keeper.py\n")


def test_a_brain_dies_where_it_is_aimed_at_and_tells_it(run: Run, short_dir: Path) -> None:
    points = Failpoints(short_dir / "points")
    made = build(short_dir / "build", failpoints=points)
    supervisor = run(made)
    before = supervisor.wait_ready()["main"]["pid"]
    brain = supervisor.status()["supervisor"]["pid"]
    assert set(points.visited()) <= set(made.points)
    points.aim("host.processes.spawning.spawn:1")
    kill(before)
    supervisor.wait_for(lambda: gone(brain), "the brain dies")
    (death,) = points.deaths()
    assert (death.pid, death.point, death.visit, points.is_aimed()) == (
        brain,
        "host.processes.spawning.spawn:1",
        3,
        False,
    )
    assert supervisor.wait_state("main", "ready", restarts=1)["pid"] != before


def test_the_dice_kill_brains_until_they_are_put_away(run: Run, short_dir: Path) -> None:
    points = Failpoints(short_dir / "points")
    points.dice(0.01, 7)
    supervisor = run(build(short_dir / "build", failpoints=points))
    supervisor.wait_for(lambda: len(points.deaths()) >= 3, "three deaths", 60)
    points.disarm()
    supervisor.wait_ready()
    assert len({death.pid for death in points.deaths()}) == len(points.deaths())
