"""The API on the control socket: who may connect, which path means what, and nothing a client does hurts another.

`GET /v1/status`, `GET /v1/gateways/NAME`, `POST /v1/gateways/NAME/VERB`, `POST /v1/VERB` with names or all. A verb answers
a line a change, `{}` every 2 s as a sign of life, and a last line with `done`. `POST /v1/gateways/NAME/put|rollback|exec|resolve`
likewise; `GET /v1/may/VERB/NAME` says whether the caller may look so; `POST /v1/tell` reads out what it cannot read itself.
"""

import os
import socket
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import anyio
from anyio.abc import TaskGroup, TaskStatus
from loguru import logger

from supervisor.control import doors
from supervisor.control.address import socket_path
from supervisor.control.errands import ERRANDS, report_errand
from supervisor.control.http import GONE, Connection, Request, RequestError
from supervisor.control.models import Ask, ErrandAsk, Errands, ReloadAsk, Supervised, gateways_of, read_ask
from supervisor.control.outcome import VERBS, Verb
from supervisor.control.reloading import reload
from supervisor.control.rights import MENDS
from supervisor.control.telling import look
from supervisor.control.verbs import begin, chosen, report, unknown
from supervisor.errors import ClawsupError
from supervisor.host.callers import Caller, caller_of
from supervisor.host.descriptors import SHORTAGES, Reserve

_CONNECTIONS = 64
_SHORTAGE_S = 1.0
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 41\r\n\r\n"
_BUSY += b'{"error": "too many control connections"}'


class May(Protocol):
    """Says why a caller may not do that; "" if it may. `words` are what it gives the verb, where they matter."""

    def __call__(self, caller: Caller, verb: str, name: str, words: Sequence[str] = ()) -> str:
        """`verb` is `status` for any look at the status."""
        ...


def may(caller: Caller, verb: str, name: str, words: Sequence[str] = ()) -> str:  # noqa: ARG001 (the shape of May)
    """Say why this caller may not do that (`verb` is `status` for any look); empty: it may."""
    if caller.uid in {0, os.geteuid()}:
        return ""
    return f"uid {caller.uid} may not use this supervisor, which belongs to uid {os.geteuid()}"


async def serve(  # noqa: PLR0913 (the parts of one server, all but two named at the call)
    path: Path,
    supervised: Supervised,
    *,
    allowed: May = may,
    errands: Errands | None = None,
    guests: Callable[[], frozenset[int]] | None = None,
    reserve: Reserve | None = None,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; started once the socket takes connections. A path that cannot be bound is a ClawsupError.

    `guests` are the other users that gateways run as: each calls through a socket of its own (control/doors.py). `reserve`
    answers one client at a time when there is no other descriptor.
    """
    kept_back = reserve or Reserve()
    listener = _bind(path)
    inode = _inode(path)
    try:
        async with anyio.create_task_group() as group:
            if guests is not None:
                # Each with its own count of connections: no guest can keep an operator out.
                group.start_soon(
                    doors.keep,
                    str(path.parent),
                    guests,
                    supervised.changed,
                    lambda door: _Server(supervised, allowed, errands, kept_back, group).accept(door),
                )
            task_status.started()
            await _Server(supervised, allowed, errands, kept_back, group).accept(listener)
    finally:
        listener.close()
        _withdraw(path, inode)


def _inode(path: Path) -> int | None:
    with suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


def _withdraw(path: Path, inode: int | None) -> None:
    if inode is not None and _inode(path) == inode:
        with suppress(OSError):  # on a disk that was made read-only it stays, and whoever comes next knows it for stale
            path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    socket_path(str(path.parent))
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ClawsupError(f"{path} is there and is no socket", mend=f"move it away: rm {path}")
    try:
        return doors.listening(path, _CONNECTIONS)
    except OSError as error:
        raise ClawsupError(
            f"{path}: cannot make the control socket: {error.strerror}",
            mend=f"make {path.parent} a directory that this user may write, with room left on its disk",
        ) from error


@dataclass(slots=True)
class _Server:
    supervised: Supervised
    allowed: May
    errands: Errands | None
    reserve: Reserve
    group: TaskGroup
    open: int = 0

    async def accept(self, listener: socket.socket) -> None:
        while True:
            await anyio.wait_readable(listener)
            try:
                peer, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in SHORTAGES:
                    raise
                self.reserve.short(error)
                if self.reserve.lend():
                    self._take_with_reserve(listener)
                else:
                    await anyio.sleep(_SHORTAGE_S)
            else:
                self._take(peer)

    def _take_with_reserve(self, listener: socket.socket) -> None:
        """Answer one client with what is kept back; the others wait until it is there again."""
        try:
            peer, _ = listener.accept()
        except OSError:
            self.reserve.give_back()
        else:
            self._take(peer, self.reserve.give_back)

    def _take(self, peer: socket.socket, done: Callable[[], None] = lambda: None) -> None:
        peer.setblocking(False)
        if self.open < _CONNECTIONS:
            self.open += 1
            self.group.start_soon(self._connection, peer, done)
            return
        with peer, suppress(OSError):  # a peer that hears nothing is told enough by the close
            peer.send(_BUSY)
        done()

    async def _connection(self, peer: socket.socket, done: Callable[[], None]) -> None:
        http, caller = Connection(peer), caller_of(peer)
        try:
            await self._converse(http, caller)
        except GONE:
            pass
        except Exception:  # noqa: BLE001 (a fault in an answer is one client's misfortune, never the gateways')
            logger.exception("control: a request failed")
            await http.refuse(500, "the supervisor failed at this; its own messages say how, the gateways run on")
        finally:
            if caller.pidfd >= 0:
                os.close(caller.pidfd)
            peer.close()
            self.open -= 1
            done()

    async def _converse(self, http: Connection, caller: Caller) -> None:
        try:
            while (request := await http.request()) is not None:
                await self._respond(http, request, caller)
                if not http.again():
                    break
        except RequestError as error:
            await http.refuse(error.status, str(error))

    async def _respond(self, http: Connection, request: Request, caller: Caller) -> None:
        match request.method, [unquote(part) for part in request.path.split("/")[1:]]:
            case "GET", ["v1", "status"]:
                await self._status(http, caller)
            case "GET", ["v1", "gateways", name]:
                await self._story(http, caller, name)
            case "POST", ["v1", "gateways", name, ("start" | "stop" | "restart" | "repair") as verb]:
                await self._verb(http, caller, verb, request.body, name)
            case "POST", ["v1", ("start" | "stop" | "restart" | "repair") as verb]:
                await self._verb(http, caller, verb, request.body, None)
            case "POST", ["v1", "gateways", name, verb] if verb in ERRANDS and self.errands is not None:
                await self._errand(http, caller, self.errands, verb, request.body, name)
            case "POST", ["v1", "tell"] if self.errands is not None:
                await self._tell(http, caller, self.errands, request.body)
            case "GET", ["v1", "may", verb, *names] if verb not in MENDS and self.errands is not None and not names[1:]:
                if not await self._refused(http, caller, verb, "".join(names)):
                    await http.answer(200, {"caller": self.errands.who(caller)})
            case "POST", ["v1", "reload"]:
                await self._reload(http, caller, request.body)
            case _, ["v1", "status"] | ["v1", "gateways", _]:
                await http.answer(405, {"error": f"{request.path} takes GET"}, allow="GET")
            case _, ["v1", verb] | ["v1", "gateways", _, verb] if verb in VERBS or request.path == "/v1/reload":
                await http.answer(405, {"error": f"{request.path} takes POST"}, allow="POST")
            case _:
                await http.answer(404, {"error": f"nothing is at {request.path}"})

    async def _status(self, http: Connection, caller: Caller) -> None:
        if not await self._refused(http, caller, "status", ""):
            await http.answer(200, self.supervised.status())

    async def _story(self, http: Connection, caller: Caller, name: str) -> None:
        if await self._refused(http, caller, "status", name):
            return
        if (story := self.supervised.story(name)) is None:
            await http.answer(404, unknown(name, list(gateways_of(self.supervised))))
        else:
            await http.answer(200, _without_values(story))

    async def _verb(self, http: Connection, caller: Caller, verb: Verb, body: bytes, name: str | None) -> None:
        ask = read_ask(body, Ask)
        if isinstance(ask, str):
            return await http.answer(400, {"error": ask})
        if name is not None:
            ask = ask.model_copy(update={"names": [name], "all": False})
        if bool(ask.names) == ask.all:
            return await http.answer(400, {"error": "say which gateways: names, or all"})
        gateways = gateways_of(self.supervised)
        names = chosen(verb, ask, gateways)
        for each in names:
            if await self._refused(http, caller, verb, each):
                return None
            if each not in gateways:
                return await http.answer(404, unknown(each, list(gateways)))
        course = begin(self.supervised, verb, names, ask)
        logger.info("control: {} {} asked by uid {} pid {}", verb, " ".join(names), caller.uid, caller.pid)
        if ask.wait or course.pending():
            return await report(http, course, wait=ask.wait)
        # What is told to be asked for must not be forgotten with this brain.
        await self.supervised.decided()
        return await http.answer(200, course.summary())

    async def _reload(self, http: Connection, caller: Caller, body: bytes) -> None:
        ask = read_ask(body, ReloadAsk)
        if isinstance(ask, str):
            return await http.answer(400, {"error": ask})
        if await self._refused(http, caller, "reload", ""):
            return None
        return await reload(http, self.supervised, ask)

    async def _errand(  # noqa: PLR0913, PLR0917 (what a request is made of)
        self, http: Connection, caller: Caller, errands: Errands, verb: str, body: bytes, name: str
    ) -> None:
        ask = read_ask(body, ErrandAsk)
        if isinstance(ask, str):
            return await http.answer(400, {"error": ask})
        words = ask.words or ([ask.key] if ask.key else [])
        if await self._refused(http, caller, verb, name, words):
            return None
        if name not in (known := gateways_of(self.supervised)):
            return await http.answer(404, unknown(name, list(known)))
        return await report_errand(http, errands, verb, name, ask)

    async def _tell(self, http: Connection, caller: Caller, errands: Errands, body: bytes) -> None:
        ask = read_ask(body, ErrandAsk)
        if isinstance(ask, str) or (found := look(ask.words or [])) is None:
            why = ask if isinstance(ask, str) else "that is none of the looks which the supervisor reads out"
            return await http.answer(400, {"error": why})
        if await self._refused(http, caller, *found):
            return None
        return await report_errand(http, errands, "tell", found[1], ask)

    async def _refused(self, http: Connection, caller: Caller, verb: str, name: str, words: Sequence[str] = ()) -> bool:
        if why := self.allowed(caller, verb, name, words):
            await http.answer(403, {"error": why})
        return bool(why)


def _without_values(story: dict[str, Any]) -> dict[str, Any]:
    """Drop what `[env]` says: names are for reading, values are often secrets."""
    definition = story.get("definition")
    if not isinstance(definition, dict) or "env" not in definition:
        return story
    return {**story, "definition": {**definition, "env": dict.fromkeys(definition["env"], "(set)")}}
