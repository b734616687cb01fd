"""What a short command says, kept up to a limit: the rest is heard and forgotten, so that it neither fills memory nor waits for us."""

import os

import anyio

MAX_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 16
# A command that says more than is kept is heard no faster than this: the loop has other things to do.
_PAUSE_S = 0.01


class Heard:
    """A pipe, `writing` its end for the command; OSError where there is no descriptor left for it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._reading, False)
        self._kept = bytearray()
        self.cut = False

    @property
    def text(self) -> str:
        """What is kept, and that it is not all where it is not."""
        text = self._kept.decode(errors="replace")
        return f"{text}\n(cut: it said more than {MAX_BYTES >> 10} KiB)\n" if self.cut else text

    def given(self) -> None:
        """The command has its end, and ours goes."""
        os.close(self.writing)

    async def hear(self) -> None:
        """Take what comes, until nobody is left who could say more."""
        while True:
            await anyio.wait_readable(self._reading)
            if self._take() == 0:
                return
            if self.cut:
                await anyio.sleep(_PAUSE_S)

    def end(self) -> None:
        """Take what has been said already, and close; who still speaks is no longer heard."""
        while self._take() > 0 and not self.cut:
            pass
        os.close(self._reading)

    def _take(self) -> int:
        """How many bytes came: 0 when no more can come, -1 when none are there now."""
        try:
            block = os.read(self._reading, _BLOCK_BYTES)
        except BlockingIOError:
            return -1
        room = MAX_BYTES - len(self._kept)
        self._kept += block[:room]
        self.cut = self.cut or len(block) > room
        return len(block)
