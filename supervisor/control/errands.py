"""Runs an errand for the caller: signs of life while it is under way, then one last line with what came of it."""

from typing import Any, Final

import anyio

from supervisor.control.http import Connection
from supervisor.control.models import ErrandAsk, Errands
from supervisor.errors import ClawsupError

ERRANDS: Final = frozenset({"put", "rollback", "exec", "resolve"})

_HEARTBEAT_S = 2.0  # the client gives a silent supervisor up after 5 s


async def report_errand(http: Connection, errands: Errands, verb: str, name: str, ask: ErrandAsk) -> None:
    """Answer with lines; a caller that goes away ends the errand."""
    result: dict[str, Any] = {}
    over = anyio.Event()

    async def run() -> None:
        try:
            result.update({"ok": True, **await errands.run(verb, name, ask)})
        except ClawsupError as error:
            result.update({"ok": False, "error": error.what, "mend": error.mend})
        finally:
            over.set()

    await http.begin_lines()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            while not over.is_set():
                with anyio.move_on_after(_HEARTBEAT_S) as lapse:
                    await over.wait()
                if lapse.cancelled_caught:
                    await http.line({})
    except* (ConnectionError, TimeoutError) as gone:
        # The server knows such an error by itself, not in a group.
        raise gone.exceptions[0] from None
    await http.line({"done": True, **result})
    await http.end_lines()
