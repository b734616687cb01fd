"""What is kept back for an operator when no descriptor is left."""

import os
from contextlib import suppress

from supervisor.host.descriptors import COUNT, Reserve
from tests.shortage import without_descriptors


def opened() -> int:
    """How many descriptors can be had."""
    taken: list[int] = []
    with suppress(OSError):
        while len(taken) < 100:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for descriptor in taken:
        os.close(descriptor)
    return len(taken)


def test_what_is_kept_back_is_there_for_one_at_a_time() -> None:
    """R25: an operator is answered when nothing else can be opened."""
    reserve = Reserve()
    with without_descriptors(os.getpid()):
        assert opened() == 0
        assert reserve.lend()
        assert opened() == COUNT
        assert not reserve.lend()
        reserve.give_back()
        assert opened() == 0
    assert reserve.lend()
    reserve.give_back()


def test_a_look_tells_a_shortage_and_its_end() -> None:
    reserve = Reserve()
    with without_descriptors(os.getpid()):
        reserve.look()
        assert reserve.trouble == "no descriptor is left: Too many open files"
        # With what is lent there are some, and that proves nothing.
        assert reserve.lend()
        reserve.look()
        assert reserve.trouble
        reserve.give_back()
    reserve.look()
    assert reserve.trouble == ""


def test_what_another_took_meanwhile_is_kept_back_again_later() -> None:
    reserve = Reserve()
    with without_descriptors(os.getpid()):
        assert reserve.lend()
        taken = os.open(os.devnull, os.O_RDONLY)
        reserve.give_back()
        os.close(taken)
        reserve.look()
        assert opened() == 0
        assert reserve.lend()
        assert opened() == COUNT
        reserve.give_back()
