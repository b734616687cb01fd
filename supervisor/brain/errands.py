"""Does what a caller asks for a gateway's config, in its environment, or about its incident; each time a copy is kept first."""

import sys
from pathlib import Path
from typing import Any

import anyio.to_thread

import supervisor
from supervisor.brain.calling import Calling
from supervisor.brain.commands import Commands
from supervisor.brain.gatekeeper import Gatekeeper
from supervisor.brain.guard import Guard
from supervisor.brain.launchers import Place, owner_of
from supervisor.control.models import ErrandAsk
from supervisor.errors import ClawsupError, UsageError
from supervisor.host import config_files, processes, workspaces
from supervisor.host.callers import Caller
from supervisor.host.snapshots import Snapshot
from supervisor.openclaw import diagnostics, validation
from supervisor.openclaw.content import Content, parsed_of
from supervisor.openclaw.masking import Mask
from supervisor.policy.definition import Definition

VALIDATE_S = 30.0
EXEC_S = 180.0
_OWN = ("PATH", "HOME", "LANG", "TZ")


class Errands:
    """The errands of one brain (control.models.Errands)."""

    def __init__(
        self, place: Place, gatekeeper: Gatekeeper, guard: Guard, commands: Commands, calling: Calling
    ) -> None:
        self._place = place
        self._gatekeeper = gatekeeper
        self._guard = guard
        self._commands = commands
        self._calling = calling

    def who(self, caller: Caller) -> str:
        """Name the caller."""
        return str(self._gatekeeper.standing(caller))

    async def run(self, verb: str, name: str, ask: ErrandAsk) -> dict[str, Any]:
        """Do it; ClawsupError when it could not be done."""
        if verb == "tell":
            return await self._tell(ask.words or [])
        definition = self._gatekeeper.definition(name)
        if definition is None:
            raise ClawsupError(f"the definition of {name} cannot be read", mend="clawsup check")
        match verb:
            case "put":
                return await self._put(definition, self._unmasked(definition, ask.text, ask.key or ""))
            case "rollback":
                return self._rollback(definition, ask.key or "")
            case "exec":
                return await self._exec(definition, ask.words or [])
            case _:
                return self._resolve(name, ask.note or "")

    def _unmasked(self, definition: Definition, text: str | None, prefix: str) -> bytes:
        """The proposed config with its secrets: who edits what `config show` printed gives back `***1` where it said so."""
        if text is None:
            raise UsageError("put what? the whole config is expected")
        base = self._kept(definition, prefix) if prefix else self._guard.present(definition)
        mask = Mask()
        mask.config(base.text)
        restored = mask.restored(text)
        if "***" in restored:
            raise ClawsupError(
                "it holds a masked secret that the config it was taken from does not have",
                mend=f"name that one with --base HASH, or change single keys: clawsup exec {definition.name} -- openclaw config set"
                " KEY VALUE; nothing was changed",
            )
        return restored.encode()

    async def _put(self, definition: Definition, data: bytes) -> dict[str, Any]:
        """A whole new config: judged beside the old one, so that what it includes is found, and only then put in its place."""
        draft = config_files.proposal(definition.config_path)
        if refused := config_files.replace(Content(((draft, data),)), owner=owner_of(definition)):
            raise ClawsupError(refused, mend="nothing was changed")
        try:
            verdict = await self._judged(definition, draft)
        finally:
            workspaces.remove(Path(draft).parent, Path(draft).name)
        if verdict.valid is None:
            raise ClawsupError(f"it cannot be told now: {verdict.why}", mend="try again; nothing was changed")
        if not verdict.valid:
            raise ClawsupError(f"OpenClaw would not start on it: {verdict.why}", mend="nothing was changed")
        return self._replace(definition, Content(((definition.config_path, data),)))

    async def _judged(self, definition: Definition, path: str) -> validation.Verdict:
        draft = definition.model_copy(update={"config_path": path})
        async with self._guard.turns.taken():
            result = await self._ran(draft, validation.VALIDATE, VALIDATE_S)
        verdict = validation.verdict(result.code, result.output)
        parsed = parsed_of(config_files.read(path, owner=owner_of(definition)))
        if verdict.valid is not True or parsed is None:
            return verdict
        why = validation.overlooked(parsed)
        return validation.Verdict(valid=not why, why=why)

    def _rollback(self, definition: Definition, prefix: str) -> dict[str, Any]:
        if prefix:
            return self._replace(definition, self._kept(definition, prefix))
        store, present = self._guard.store(definition.name), self._guard.key(definition)
        good = max((each for each in store.all() if each.good and each.key != present), key=_goodness, default=None)
        content = store.content(good.key) if good is not None else None
        if content is None:
            raise ClawsupError(
                f"{definition.name} has no other good config to go back to",
                mend=f"clawsup config {definition.name} history",
            )
        return self._replace(definition, content)

    def _kept(self, definition: Definition, prefix: str) -> Content:
        store = self._guard.store(definition.name)
        found = store.named(prefix)
        content = store.content(found[0].key) if len(found) == 1 else None
        if content is None:
            raise ClawsupError(
                f"{len(found) or 'no'} kept configs of {definition.name} begin with {prefix}"
                if len(found) != 1
                else f"the bytes of {prefix} are no longer there",
                mend=f"clawsup config {definition.name} history",
            )
        return content

    def _replace(self, definition: Definition, content: Content) -> dict[str, Any]:
        before = self._guard.present(definition)
        refused = self._guard.store(definition.name).keep(before, version="")
        refused = refused or config_files.replace(content, owner=owner_of(definition))
        if refused:
            raise ClawsupError(refused, mend="nothing more was changed")
        return {"gateway": definition.name, "from": before.key, "to": self._guard.key(definition)}

    async def _exec(self, definition: Definition, words: list[str]) -> dict[str, Any]:
        if not diagnostics.is_listed(words):
            raise ClawsupError(
                f"`{' '.join(words)}` is not on the list of what runs through the supervisor",
                mend=f"the list: {diagnostics.LISTED}",
            )
        before = self._guard.present(definition)
        if before.files:
            self._guard.store(definition.name).keep(before, version="")
        # Whatever it prints may hold what the config keeps secret, before the command or after it.
        mask = Mask()
        mask.config(before.text)
        result = await self._ran(definition, words, EXEC_S)
        mask.config(self._guard.present(definition).text)
        # A megabyte takes seconds, and the loop has none.
        try:
            output = await anyio.to_thread.run_sync(lambda: mask.lines(mask.config(result.output)))
        except RuntimeError as error:
            raise ClawsupError("it has run, but no thread is left to mask what it printed", mend="try again") from error
        return {"gateway": definition.name, "code": result.code, "output": output}

    async def _ran(
        self, definition: Definition, words: tuple[str, ...] | list[str], timeout_s: float
    ) -> processes.Finished:
        result = await self._commands.run(definition, words, timeout_s)
        if isinstance(result, processes.NotSpawned):
            raise ClawsupError(result.reason, mend="nothing was changed")
        return result

    async def _tell(self, words: list[str]) -> dict[str, Any]:
        """Look at the supervisor's own files for a caller who cannot read them; `words` are such as control/telling.py knows."""
        places = ("--conf-dir", str(self._place.conf_dir), "--state-dir", str(self._place.state_dir))
        result = await processes.run(
            (sys.executable, "-m", "supervisor", *places, *words),
            {name: self._place.inherited[name] for name in _OWN if name in self._place.inherited},
            str(Path(supervisor.__file__ or "").parent.parent),
            timeout_s=VALIDATE_S,
            account=None,
        )
        if isinstance(result, processes.NotSpawned):
            raise ClawsupError(result.reason)
        if result.cut:
            raise ClawsupError("that is too much to read out", mend="ask for less of it, with -n")
        output = result.output if words[0] != "logs" else Mask().lines(result.output)
        return {"code": result.code, "output": output}

    def _resolve(self, name: str, note: str) -> dict[str, Any]:
        if not self._calling.resolve(name, note):
            raise ClawsupError(
                f"no rescue was called about the last incident of {name}", mend=f"clawsup status {name} says how it is"
            )
        return {"gateway": name, "note": note}


def _goodness(snapshot: Snapshot) -> float:
    return snapshot.good_at
