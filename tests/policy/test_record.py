"""What the journal and the state records keep: enough to decide everything anew, and no secret."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.policy import record
from supervisor.policy.events import (
    Adopted,
    Booted,
    Event,
    Exited,
    HandoffAnswered,
    ObstacleChanged,
    Probed,
    Reloaded,
    RepairStepped,
    RestartAsked,
    ShutdownAsked,
    Spawned,
    SpawnFailed,
    SpawnRefused,
    StartAsked,
    StopAsked,
    Ticked,
)
from supervisor.policy.facts import Cause, Roster
from supervisor.policy.fleet import Fleet, decide, wake_at
from supervisor.policy.state import life_of
from tests.policy.builders import (
    BROKEN,
    NOT_YET,
    NOW,
    SILENT,
    STARTED,
    STATES,
    Story,
    answer,
    child,
    definition,
    fleet,
    obstacle,
)

SECRET = "hunter2-and-more"  # noqa: S105 (it is one: no line may tell it)
KINDS = (
    Spawned, SpawnRefused, SpawnFailed, Adopted, Exited, Probed, ObstacleChanged, HandoffAnswered,
    StartAsked, StopAsked, RestartAsked, Ticked, Booted, Reloaded, ShutdownAsked,
)  # fmt: skip
names = st.sampled_from(("main", "rescue"))
obstacles = st.sampled_from((obstacle(), obstacle("config", Cause.CONFIG), obstacle("launcher", Cause.MISSING)))
answers = st.sampled_from(
    (STARTED, NOT_YET, SILENT, answer(ready=False, detail="x"), answer(started=False, progress=9))
)


def roster(*, port: int = 18789, broken: bool = False) -> Roster:
    env = {"TOKEN": SECRET, "PORT": str(port)}
    defined = (definition("main", port=port, env=env), definition("rescue", env=env))
    return Roster(defined[1:], (("main", BROKEN),)) if broken else Roster(defined)


class Journal:
    """The lines of a supervisor as they would stand on a disk: numbered, dated, and JSON."""

    def __init__(self, known: Fleet) -> None:
        self.fleet = known
        self.now = NOW
        self.texts: list[str] = []
        self._append(record.Line("supervisor_started", None, record.beginning(known)))

    def _append(self, line: record.Line) -> None:
        fixed = {"seq": len(self.texts) + 1, "at": "2026-01-01T00:00:00Z", "gateway": line.gateway}
        self.texts.append(json.dumps({**fixed, "event": line.event, **line.fields}))

    def tell(self, event: Event) -> list[record.Line]:
        before = self.fleet
        self.fleet, actions = decide(before, event, self.now)
        lines = record.lines(before, event, self.fleet, actions, self.now)
        for line in lines:
            self._append(line)
        return lines

    def read(self) -> Iterator[Mapping[str, Any]]:
        return map(json.loads, self.texts)


@st.composite
def events(draw: st.DrawFn, known: Fleet) -> Event:
    """An event, mostly about the present life of some gateway."""
    name = draw(names)
    present = life_of(known.children[name].state) if name in known.children else None
    life = present.number if present is not None else draw(st.integers(1, 9))
    kind = draw(st.sampled_from(KINDS))
    about = {"name": name, "life": life}
    code, signal = draw(st.sampled_from(((0, None), (1, None), (78, None), (143, None), (None, 9), (None, None))))
    more: dict[type, dict[str, Any]] = {
        Spawned: {**about, "pid": 300, "start_ticks": 1, "warnings": ("port 18800 is taken",)},
        Adopted: {**about, "pid": 300, "start_ticks": 1},
        SpawnRefused: {**about, "obstacle": draw(obstacles)},
        SpawnFailed: {**about, "reason": "no memory"},
        Exited: {**about, "code": code, "signal": signal, "obstacle": draw(st.none() | obstacles), "config_key": "k"},
        Probed: {**about, "answer": draw(answers)},
        ObstacleChanged: {"name": name, "obstacle": draw(st.none() | obstacles)},
        HandoffAnswered: {**about, "life": life - 1, "accepted": draw(st.sampled_from((True, False, None)))},
        Ticked: {},
        Booted: {"first": draw(st.booleans())},
        Reloaded: {"roster": roster(port=draw(st.sampled_from((18789, 20000))), broken=draw(st.booleans()))},
        ShutdownAsked: {"at_once": draw(st.booleans())},
    }
    event: Event = kind(**more.get(kind, {"name": name}))
    return event


@given(st.data())
def test_a_journal_replays_into_the_same_decisions(data: st.DataObject) -> None:
    journal = Journal(Fleet(cores=2))
    journal.tell(Reloaded(roster()))
    journal.tell(Booted(first=True))
    for _ in range(data.draw(st.integers(0, 40))):
        due = wake_at(journal.fleet, journal.now)
        if due is not None and data.draw(st.booleans()):
            journal.now = max(journal.now, due)
            journal.tell(Ticked())
        journal.now += data.draw(st.sampled_from((0.0, 0.1, 7.3, 130.0, 1000 / 3)))
        journal.tell(data.draw(events(journal.fleet)))

    assert list(record.replay(journal.read())) == []
    assert SECRET not in "".join(journal.texts)


def crash() -> Journal:
    """A journal of a gateway that starts, is ready, falls and comes back."""
    journal = Journal(Fleet(cores=2))
    for event in (
        Reloaded(Roster((definition(env={"TOKEN": SECRET}),))),
        Booted(first=True),
        Spawned("main", 1, 301, 1),
        Probed("main", 1, STARTED),
        Probed("main", 1, STARTED),
        Exited("main", 1, None, 9),
    ):
        journal.tell(event)
    journal.now += 1
    journal.tell(Ticked())
    return journal


def test_the_journal_of_a_crash_tells_its_story() -> None:
    told = [line["event"] for line in crash().read()]

    assert told == [
        "supervisor_started", "reloaded", "booted", "spawned", "probed", "started", "ready", "exited", "backoff", "ticked",
    ]  # fmt: skip


def test_a_probe_that_only_leads_to_the_next_is_not_told() -> None:
    journal = crash()
    journal.tell(Spawned("main", 2, 302, 1))

    assert journal.tell(Probed("main", 2, NOT_YET)) == []
    journal.tell(Probed("main", 2, STARTED))
    assert journal.tell(Probed("main", 2, STARTED)) == []
    assert [line.event for line in journal.tell(Probed("main", 2, SILENT))] == ["probed"]


def test_a_line_names_its_gateway_and_carries_its_state_and_event() -> None:
    (exited, backoff) = [line for line in crash().read() if line["event"] in ("exited", "backoff")]

    assert (exited["gateway"], exited["life"], exited["code"], exited["signal"]) == ("main", 1, None, 9)
    assert (backoff["gateway"], backoff["why"], backoff["until"]) == ("main", "killed by signal 9", NOW + 1)


def doctored(line: dict[str, Any], how: str) -> None:
    """Change what a decision says it led to."""
    decision = line["decision"]
    match how:
        case "state":
            decision["changes"]["main"]["after"]["state"]["until"] += 1
        case "score":
            decision["changes"]["main"]["after"]["score"] = 0
        case "actions":
            decision["actions"] = []
        case "event":
            line["signal"] = 15
        case "time":
            decision["now"] += 1
        case _:
            decision["changes"] = {}


@pytest.mark.parametrize("how", ["state", "score", "actions", "event", "time", "silence"])
def test_a_doctored_journal_is_told_apart(how: str) -> None:
    lines = [dict(line) for line in crash().read()]
    (exited,) = [line for line in lines if line["event"] == "exited"]
    doctored(exited, how)

    assert any(f"seq {exited['seq']}:" in difference for difference in record.replay(iter(lines)))


def test_a_replay_begins_anew_with_each_brain() -> None:
    journal = crash()
    second = Journal(journal.fleet)
    second.now = journal.now
    second.tell(Adopted("main", 2, 302, 1))

    assert list(record.replay(map(json.loads, journal.texts + second.texts))) == []


def test_a_journal_without_a_beginning_has_nothing_to_compare_with() -> None:
    assert list(record.replay(map(json.loads, crash().texts[1:]))) == []


def test_no_value_of_env_reaches_the_journal_and_a_changed_one_is_told_apart() -> None:
    journal = crash()
    journal.tell(Reloaded(Roster((definition(env={"TOKEN": SECRET + "!"}),))))
    journal.tell(Reloaded(Roster((definition(env={"TOKEN": SECRET + "!"}),), (("b", BROKEN),))))
    second = Journal(journal.fleet)

    assert SECRET not in "".join(journal.texts + second.texts)
    hashes = {d["env"]["TOKEN"] for line in journal.read() if "roster" in line for d in line["roster"]["definitions"]}
    assert len(hashes) == 2
    assert list(record.replay(journal.read())) == []


@pytest.mark.parametrize("state", STATES)
def test_a_state_record_comes_back_as_it_was_written(state: str) -> None:
    kept = child(STATES[state], definition=definition(env={"TOKEN": SECRET}), pending=definition(port=20000))
    fallen = decide(fleet(kept), Exited("main", 3, None, 9), NOW)[0].children["main"]

    for one in (kept, fallen, replace(kept, definition=None, handoff=None)):
        assert record.load_child(record.dump_child(one)) == one


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"{}", b'{"name": "x"}', b"\xff\xfe", b'{"name": 7, "state": {"kind": "sleeping"}}'],
)
def test_a_record_that_is_none_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (pydantic's own text is its affair)
        record.load_child(data)


def test_a_record_cut_short_anywhere_is_a_value_error() -> None:
    whole = record.dump_child(child(STATES["degraded"]))
    for size in range(len(whole)):
        with pytest.raises(ValueError):  # noqa: PT011 (likewise)
            record.load_child(whole[:size])


def test_another_obstacle_in_the_way_is_told_as_the_first_was() -> None:
    story = Story(fleet(child(STATES["blocked-port"])))
    event = ObstacleChanged("main", obstacle("launcher", Cause.MISSING, "gone"))
    after, actions = decide(story.fleet, event, NOW)

    told = record.lines(story.fleet, event, after, actions, NOW)

    assert [line.event for line in told] == ["obstacle_changed", "blocked"]


def test_the_end_of_a_ladder_that_did_not_help_is_told_as_failed_with_what_was_tried() -> None:
    """Issue 7: the event has the name that `status` has."""
    given = definition(repair={"steps": ("doctor",)})
    story = Story(fleet(child(STATES["doctoring"], definition=given)))
    event = RepairStepped("main", "doctor", "useless", "it changed nothing", "k-bad")
    after, actions = decide(story.fleet, event, NOW)

    told = record.lines(story.fleet, event, after, actions, NOW)

    assert [line.event for line in told] == ["repair_step", "failed", "repair_ended"]
    assert told[1].fields["vain"] == ["doctor"]
    assert told[2].fields == {"mended": False, "tried": "doctor: useless"}
