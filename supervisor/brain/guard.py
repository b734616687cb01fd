"""The config guard: what each gateway's config is, has been and may become; tells, keeps copies, and decides nothing.

A content is known by its key (openclaw/content.py). It is kept when a gateway started on it, when one refused it and before
anything replaces it. `config validate` is asked only about a file that has not changed for a second, and in its turn (turns.py):
one gateway at a time, and not while a gateway starts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import anyio

from supervisor.brain.commands import Commands
from supervisor.brain.copies import Copies
from supervisor.brain.launchers import Launchers, Place, owner_of
from supervisor.brain.turns import Turns
from supervisor.host import config_files, processes
from supervisor.host.snapshots import Snapshots
from supervisor.openclaw import validation
from supervisor.openclaw.content import Content, parsed_of
from supervisor.openclaw.validation import Verdict
from supervisor.policy.definition import Definition
from supervisor.policy.facts import Cause, Guarded, Obstacle
from supervisor.policy.record import Line
from supervisor.policy.state import Blocked, Child, life_of

LOOK_S = 0.5
SETTLED_S = 1.0
SETTLES_LOOK_S = 0.1
SETTLES_LOOKS = 100
VALIDATE_S = 30.0
# What could not be told of a content is asked again, so often at most, after a pause.
ASKED_AGAIN = 3
ASK_AGAIN_S = 60.0


class Guard:
    """The configs of all gateways of one brain; a copy that a disk refuses is tried again while this looks."""

    def __init__(
        self,
        place: Place,
        launchers: Launchers,
        commands: Commands,
        *,
        validate_s: float = VALIDATE_S,
        again_s: float = ASK_AGAIN_S,
    ) -> None:
        self._copies = Copies(place.state_dir / "snapshots")
        self._launchers = launchers
        self._commands = commands
        self._validate_s = validate_s
        self._again_s = again_s
        self._looked: dict[str, config_files.Looked] = {}
        self._seen: dict[str, tuple[str, float]] = {}
        self._verdicts: dict[tuple[str, str, str], Verdict] = {}
        self._told: set[tuple[str, str]] = set()
        # By gateway: the content that nothing could be told of, how often that was so, and when to ask again.
        self._untold: dict[str, tuple[str, int, float]] = {}
        self.turns = Turns()

    @property
    def trouble(self) -> str:
        """Why a copy, or that it is good, cannot be kept at present; "" if all can."""
        return self._copies.trouble

    def store(self, name: str) -> Snapshots:
        """What is kept of one gateway's config."""
        return self._copies.store(name)

    def present(self, definition: Definition) -> Content:
        """What is in place now; read again only where a file has changed."""
        looked = self._looked.get(definition.name)
        owner = owner_of(definition)
        if looked is None or (looked.path, looked.owner) != (definition.config_path, owner):
            config_files.forget_proposals(definition.config_path, owner=owner)
            looked = self._looked[definition.name] = config_files.Looked(definition.config_path, owner)
        return looked.look()

    def key(self, definition: Definition) -> str:
        """The key of what is in place now."""
        return self.present(definition).key

    def started(self, definition: Definition, at_spawn: str) -> str:
        """A gateway has started: what it has booted on is kept, and told; "" where the file has changed on the way."""
        content = self.present(definition)
        if not at_spawn or content.key != at_spawn:
            return ""
        self._keep(definition, content, ran=True)
        return content.key

    def runs_on(self, definition: Definition, booted: str) -> str:
        """The content a living gateway runs on: what it booted on, or a later one that is valid; "" where that is not known."""
        key = self.key(definition)
        if key and key != booted:
            return key if self._verdict_of(definition, key).valid else ""
        return key

    def refused(self, definition: Definition, said: Iterable[str], at_spawn: str | None) -> Guarded:
        """What is known of the content that a gateway has just refused; `said` is what it printed."""
        content = self.present(definition)
        if at_spawn is not None and content.key != at_spawn:
            return replace(self.knows(definition), moved=True)
        store = self.store(definition.name)
        known = store.find(content.key)
        other = validation.other_refusal(said)
        # A content without a file has no snapshot, and so nothing ever ran on it.
        proven = known is not None and known.ran and known.version == self._launchers.version(definition)
        if not (proven or other):
            self._keep(definition, content, refused="exit 78")
        return replace(self.knows(definition), proven=proven, other=other)

    def knows(self, definition: Definition) -> Guarded:
        """What there is to go back to."""
        store = self.store(definition.name)
        good, booted = store.newest_good(), store.newest_good(booted=True)
        return Guarded(good=good.key if good else "", booted=booted.key if booted else "")

    def lacks(self, definition: Definition) -> Obstacle | None:
        """What makes OpenClaw put an older config of its own in place, where ours says the same as the file; told once a content.

        That is a `meta` block which the last good config had (FACTS.md §10.1).
        """
        content = self.present(definition)
        if not content.files or b"meta" in content.files[0][1] or (definition.name, content.key) in self._told:
            return None
        good = self.store(definition.name).newest_good()
        kept = self.store(definition.name).content(good.key) if good is not None else None
        before, now = parsed_of(kept), parsed_of(content)
        if before is None or now is None or "meta" not in before or not validation.is_same_but_meta(before, now):
            return None
        self._told.add((definition.name, content.key))
        self._keep(definition, content)
        why = f"{definition.config_path} has lost its meta block, and OpenClaw would put an older config in its place"
        return Obstacle("config", Cause.CONFIG, why, f"clawsup config {definition.name} diff", content.key)

    def promote(self, definition: Definition, key: str, *, hot: bool) -> bool:
        """A gateway was stable on this content: it is good from now on. False where that cannot be kept now."""
        content = self.present(definition)
        if content.key == key:
            self._keep(definition, content, ran=not hot)
        return self._copies.promote(definition.name, key, hot=hot, version=self._launchers.version(definition))

    def give_up(self, definition: Definition, key: str) -> None:
        """A content that has gone from its place before it could be kept as good is nobody's trouble any more."""
        self._copies.give_up(definition.name, key)

    def status(self, child: Child) -> str:
        """`good`, `pending` or `bad`, as INTERFACE.md §5 has them."""
        if child.definition is None:
            return "pending"
        key, life = self.key(child.definition), life_of(child.state)
        if life is not None and key and key == life.config.accepted:
            return "good"
        # With an instant to try again, it was refused for something else than what is in the file.
        if isinstance(child.state, Blocked) and child.state.obstacle.what == "config" and child.state.until is None:
            return "bad" if key == child.state.obstacle.key else "pending"
        known = self.store(child.name).find(key)
        if life is None and known is not None and (known.ran or known.good) and not known.refused:
            return "good"
        return "bad" if self._verdict_of(child.definition, key).valid is False or not key else "pending"

    def is_whole(self, definition: Definition) -> bool:
        """Whether the file is not being written just now: it can be read as a whole, or has not changed for a second."""
        return self.settled(definition) or parsed_of(self.present(definition)) is not None

    async def watch(self, note: Callable[[Sequence[Line]], None]) -> None:
        """Look at every config twice a second, until cancelled; a content that a living gateway has not accepted is told once."""
        while True:
            await anyio.sleep(LOOK_S)
            self._copies.tend(anyio.current_time())
            for child in list(self.turns.children().values()):
                if not self.turns.is_starting and (line := await self._news_of(child)) is not None:
                    note([line])

    async def _news_of(self, child: Child) -> Line | None:
        """What is to be said of a living gateway's config; None where it is said, or where nothing could be told of it yet."""
        definition, life = child.definition, life_of(child.state)
        if definition is None or life is None or not self.settled(definition):
            return None
        key = self.key(definition)
        if (
            key == life.config.accepted
            or (child.name, f"pending {key}") in self._told
            or not self._is_due(child.name, key)
        ):
            return None
        verdict = await self.turns.idly(partial(self._validated, definition, key))
        if verdict is None:
            return None
        self._keep(definition, self.present(definition))
        if verdict.valid is None and self._shall_ask_again(child.name, key):
            return None
        self._told.add((child.name, f"pending {key}"))
        event = "config_bad" if verdict.valid is False else "config_pending"
        return Line(event, child.name, {"key": key, "why": verdict.why})

    def _is_due(self, name: str, key: str) -> bool:
        untold = self._untold.get(name)
        return untold is None or untold[0] != key or anyio.current_time() >= untold[2]

    def _shall_ask_again(self, name: str, key: str) -> bool:
        untold = self._untold.get(name)
        times = untold[1] + 1 if untold is not None and untold[0] == key else 1
        self._untold[name] = (key, times, anyio.current_time() + self._again_s)
        return times <= ASKED_AGAIN

    async def asked(self, definition: Definition) -> Verdict:
        """What `config validate` says of the bytes in place now, and what it overlooks."""
        return await self._validated(definition, self.key(definition))

    async def verdict(self, definition: Definition) -> Verdict:
        """Whether the bytes in place would start a gateway: waits until they have settled, and asks if it must."""
        if not await self.settles(definition):
            return Verdict(None, "the file keeps changing")
        key = self.key(definition)
        known = self.store(definition.name).find(key)
        if known is not None and known.ran and known.version == self._launchers.version(definition):
            return Verdict(valid=True)
        return await self._validated(definition, key)

    async def settles(self, definition: Definition) -> bool:
        """Wait until the file has not changed for a second; False where it has not come to rest in ten."""
        for _ in range(SETTLES_LOOKS):
            if self.settled(definition):
                return True
            await anyio.sleep(SETTLES_LOOK_S)
        return False

    async def _validated(self, definition: Definition, key: str) -> Verdict:
        known = self._verdict_of(definition, key)
        if known.valid is not None:
            return known
        async with self.turns.taken():
            # Somebody else may have asked meanwhile.
            known = self._verdict_of(definition, key)
            if known.valid is not None:
                return known
            verdict = await self._ask(definition)
            if self.key(definition) == key:
                self._verdicts[definition.name, key, self._launchers.version(definition)] = verdict
            return verdict

    async def _ask(self, definition: Definition) -> Verdict:
        if not self.key(definition):
            return Verdict(valid=False, why=f"there is no {definition.config_path}")
        result = await self._commands.run(definition, validation.VALIDATE, self._validate_s)
        if isinstance(result, processes.NotSpawned):
            return Verdict(None, result.reason)
        verdict = validation.verdict(result.code, result.output)
        if verdict.valid is not True:
            return verdict
        parsed = parsed_of(self.present(definition))
        why = validation.overlooked(parsed) if parsed is not None else ""
        return Verdict(valid=False, why=why) if why else verdict

    def _verdict_of(self, definition: Definition, key: str) -> Verdict:
        return self._verdicts.get((definition.name, key, self._launchers.version(definition)), Verdict(None))

    def settled(self, definition: Definition) -> bool:
        """Whether the content has been the same for a second; known only from the second look on."""
        now, key = anyio.current_time(), self.key(definition)
        seen = self._seen.get(definition.name)
        if seen is None or seen[0] != key:
            self._seen[definition.name] = (key, now)
            return False
        return now - seen[1] >= SETTLED_S

    def _keep(self, definition: Definition, content: Content, *, ran: bool = False, refused: str = "") -> None:
        version = self._launchers.version(definition)
        self._copies.keep(definition.name, content, version=version, ran=ran, refused=refused)
