"""Who may ask OpenClaw about a config, and when: one at a time and beside nobody's start; in virtual time."""

import anyio
import pytest
from trio.testing import MockClock

from supervisor.brain.turns import PATIENCE_S, Turns
from supervisor.policy.fleet import COLD_START_S
from supervisor.policy.state import Child, Life, Starting, Stopped

ASKS_S = 3.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, MockClock]]:
    """Trio, on a clock that jumps to the next deadline whenever everybody waits."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Scene:
    """A gateway that starts and stops starting, and what was asked meanwhile."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.turns.attach(lambda: {"other": self.other})
        self.other = Child("other", None, Stopped(), 0.0)
        self.asked: list[tuple[float, float]] = []
        self.at = anyio.current_time()

    def starts(self) -> None:
        begun = anyio.current_time()
        self.other = Child("other", None, Starting(Life(1, begun), begun + 300, begun), begun)

    def has_started(self) -> None:
        self.other = Child("other", None, Stopped(), 0.0)

    async def ask(self) -> str:
        """Ask in turn; the answer takes three seconds."""
        async with self.turns.taken():
            begun = anyio.current_time() - self.at
            await anyio.sleep(ASKS_S)
            self.asked.append((begun, anyio.current_time() - self.at))
        return "valid"


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_where_nobody_starts_it_is_asked_at_once(scene: Scene) -> None:
    await scene.ask()
    assert scene.asked == [(0.0, ASKS_S)]


async def test_it_is_asked_when_the_start_of_another_is_over(scene: Scene) -> None:
    scene.starts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.ask)
        await anyio.sleep(8)
        scene.has_started()
    ((begun, _),) = scene.asked
    assert 8 <= begun < 9


async def test_who_waits_for_the_answer_waits_for_no_start_without_end(scene: Scene) -> None:
    """One that crashes and starts again and again would hold up another's repair for ever."""
    scene.starts()
    await scene.ask()
    assert scene.asked == [(PATIENCE_S, PATIENCE_S + ASKS_S)]


async def test_a_start_of_more_than_a_minute_is_no_cold_one(scene: Scene) -> None:
    """As in policy, where it no longer keeps others from starting."""
    scene.starts()
    await anyio.sleep(COLD_START_S)
    await scene.ask()
    assert scene.asked == [(COLD_START_S, COLD_START_S + ASKS_S)]


async def test_two_never_ask_at_once(scene: Scene) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(scene.ask)
    assert scene.asked == [(0.0, ASKS_S), (ASKS_S, 2 * ASKS_S), (2 * ASKS_S, 3 * ASKS_S)]


async def test_what_nobody_waits_for_gives_way_to_a_start(scene: Scene) -> None:
    scene.starts()
    assert await scene.turns.idly(scene.ask) is None

    scene.has_started()
    async with anyio.create_task_group() as tasks:

        async def begin() -> None:
            await anyio.sleep(1)
            scene.starts()

        tasks.start_soon(begin)
        begun = anyio.current_time()
        assert await scene.turns.idly(scene.ask) is None
        assert anyio.current_time() - begun < 2
    assert scene.asked == []

    scene.has_started()
    assert await scene.turns.idly(scene.ask) == "valid"
    assert len(scene.asked) == 1


async def test_patience_is_counted_from_the_asking_and_not_anew_for_each_in_the_queue(scene: Scene) -> None:
    scene.starts()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.ask)
        tasks.start_soon(scene.ask)
    assert [begun for begun, _ in scene.asked] == pytest.approx([PATIENCE_S, PATIENCE_S + ASKS_S])
