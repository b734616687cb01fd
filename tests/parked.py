"""Low descriptor numbers, kept free of whatever else a long test run opens, for the tests of the lock's low slot."""

import os

NUMBERS = range(9, 17)


def park() -> list[int]:
    """Take those of the numbers that are free; close them to give them back."""
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    free = [number for number in NUMBERS if number != null and not os.path.exists(f"/proc/self/fd/{number}")]  # noqa: PTH110 (pathlib would open more)
    for number in free:
        os.dup2(null, number, inheritable=False)
    os.close(null)
    return free


def leave(numbers: list[int]) -> None:
    """Give them back."""
    while numbers:
        os.close(numbers.pop())
