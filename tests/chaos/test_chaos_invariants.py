"""The chaos run's invariants on made-up evidence: what each forbids, and what it must let pass."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.host.journal import Journal as Writer
from tests.chaos import journals, outputs
from tests.chaos.invariants import (
    Downtime,
    Judge,
    Look,
    NoOrphans,
    OneGateway,
    OneHolder,
    StaysStopped,
    Violation,
)
from tests.chaos.ledger import Ledger
from tests.chaos.report import allowed_s
from tests.chaos.schedule import GATEWAY, Fault, rounds, weights
from tests.chaos.sight import Seen

MAIN = Seen(10, 100, "S", 1, "fake_openclaw.py gateway run --port 1 ", "i.1.x", "main", runs=True)
SECOND = replace(MAIN, pid=11, token="i.2.x")
HELPER = replace(MAIN, pid=12, words="sleep 600 ", runs=False)
BRAIN = Seen(5, 50, "S", 4, "python -I -c … --keeper-fd 7 ")
NAMES = ("rescue", "main", "extra-1")


def looks(judge: Judge, *seen: tuple[Seen, ...], every: float = 0.5, **more: object) -> list[str]:
    """What a judge says about looks that follow each other, `every` s apart."""

    def judged() -> Iterator[Violation]:
        for number, processes in enumerate(seen):
            by_pid: Mapping[int, Seen] = {each.pid: each for each in processes}
            yield from judge(Look(10 + number * every, by_pid, **{"supervised": 0.0, **more}))  # type: ignore[arg-type]  # keywords of Look

    return [violation.evidence for violation in judged()]


def test_two_gateways_on_a_state_dir_are_told_once_and_one_after_the_other_never() -> None:
    assert len(looks(OneGateway(), (MAIN, SECOND), (MAIN, SECOND), (MAIN, SECOND))) == 1
    assert looks(OneGateway(), (MAIN, SECOND), (SECOND,), (SECOND,)) == []
    assert looks(OneGateway(), (MAIN, replace(SECOND, gateway="other")), (MAIN, replace(SECOND, gateway="other"))) == []


@pytest.mark.parametrize(
    ("pids", "told"),
    [
        ({10}, []),
        ({10, 12}, ["held by 12"]),
        ({12}, ["held by 12", "not held"]),
        (set(), ["not held"]),
        ({10, 5}, ["still held by a brain"]),
    ],
)
def test_the_lock_is_the_gateways_and_nobody_elses(pids: set[int], told: list[str]) -> None:
    everybody = (MAIN, HELPER, BRAIN)
    said = looks(OneHolder(), *[everybody] * 8, holders={"main": frozenset(pids)})
    assert len(said) == len(told)
    assert all(any(words in each for each in said) for words in told)


def test_a_brain_may_have_the_lock_for_a_moment() -> None:
    assert looks(OneHolder(), (BRAIN,), (BRAIN,), holders={"main": frozenset({5})}) == []


def test_an_orphan_has_five_seconds_and_all_the_time_that_nobody_supervises() -> None:
    assert looks(NoOrphans(), *[(HELPER,)] * 10) == []
    assert len(looks(NoOrphans(), *[(HELPER,)] * 13)) == 1
    assert looks(NoOrphans(), *[(MAIN, HELPER)] * 13) == []
    assert looks(NoOrphans(), *[(HELPER,)] * 13, supervised=None) == []
    assert looks(NoOrphans(), *[(HELPER,)] * 13, supervised=12.0) == []


def test_what_the_operator_stopped_must_not_run() -> None:
    assert looks(StaysStopped(), (MAIN,), (MAIN,), held={"other": 0.0}) == []
    assert len(looks(StaysStopped(), (MAIN,), (MAIN,), held={"main": 0.0})) == 1
    assert looks(StaysStopped(), (MAIN,), (), held={"main": 9.5}) == []


def test_a_downtime_is_too_long_only_after_its_last_fault_was_lifted() -> None:
    downtime = Downtime("main", 9.0)
    for at in range(30):
        assert list(downtime.tell(at, up=False, wanted=True, excused=at)) == []
    told = [each for at in range(30, 60) for each in downtime.tell(at, up=False, wanted=True, excused=29)]
    list(downtime.tell(60, up=True, wanted=True, excused=29))
    assert [each.at for each in told] == [39]
    assert downtime.lengths(99) == [60]


def test_what_is_not_wanted_is_not_down() -> None:
    downtime = Downtime("main", 9.0)
    assert [each for at in range(30) for each in downtime.tell(at, up=False, wanted=False, excused=0)] == []
    assert downtime.lengths(30) == []


def test_a_gateways_allowance_is_the_sum_of_what_was_done_to_it() -> None:
    """What happens to the supervisor prolongs only a downtime that there is."""
    downtime = Downtime("rescue", 9.0)
    list(downtime.tell(10, up=False, wanted=True, excused=10))
    list(downtime.tell(14, up=True, wanted=True, excused=10))
    kill = (10.0, "rescue", Fault(0, "kill", "rescue"))
    assert allowed_s([kill], "rescue", downtime.spells) == 3
    assert allowed_s([kill, (12.0, "", Fault(0, "kill brain"))], "rescue", downtime.spells) == 5
    assert allowed_s([kill, (30.0, "", Fault(0, "kill brain"))], "rescue", downtime.spells) == 3
    assert allowed_s([(10.0, "main", Fault(0, "kill", "main"))], "rescue", downtime.spells) == 0


def lines(pid: int, *numbers: int) -> list[str]:
    return [f"2026-01-01T00:00:00+0000 [gateway] {pid}#{number} chatter" for number in numbers]


def test_every_line_once_and_whole_is_right_and_a_last_word_too() -> None:
    printed = lines(7, 1, 2, 3) + lines(8, 1)
    assert outputs.settle(printed, printed).wrong == []
    assert outputs.settle(printed, printed + lines(8, 2)).wrong == []


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (lines(7, 1, 3), "1 lines lost"),
        (lines(7, 1, 2, 2, 3), "2 times"),
        (lines(7, 2, 1, 3), "not in their order"),
        ([*lines(7, 1, 2), lines(7, 3)[0][:20] + lines(7, 3)[0]], "nobody has printed so"),
        ([*lines(7, 1, 2, 3), "", "torn"], "2 lines in the log"),
    ],
)
def test_what_is_lost_doubled_torn_or_disordered_is_told(log: list[str], told: str) -> None:
    assert any(told in each for each in outputs.settle(lines(7, 1, 2, 3), log).wrong)


def test_what_was_declared_as_dropped_is_no_loss_and_more_than_that_is() -> None:
    printed = lines(7, *range(1, 21))
    size = len(printed[0]) + 1
    declared = f"[clawsup: {size * 10} bytes of output were dropped, the disk was full]"
    assert outputs.settle(printed, [*printed[:5], declared, *printed[15:]]).wrong == []
    assert outputs.settle(printed, [*printed[:1], declared, *printed[19:]]).wrong != []


def test_only_the_last_words_of_one_that_died_unheld_are_excused() -> None:
    printed = lines(7, 1, 2, 3, 4)
    account = outputs.settle(printed, lines(7, 1, 2), {7})
    assert (account.wrong, account.excused, account.lost) == ([], 2, 0)
    assert outputs.settle(printed, lines(7, 1, 2), {8}).wrong != []
    assert outputs.settle(printed, lines(7, 1, 4), {7}).wrong != []


def test_one_that_died_unheld_may_leave_the_beginning_of_a_line() -> None:
    printed = lines(7, 1, 2) + lines(8, 1)
    log = [*lines(7, 1), "2026" + lines(8, 1)[0]]
    assert outputs.settle(printed, log, {7}).wrong == []
    assert outputs.settle(printed, log, {9}).wrong != []


def test_a_log_is_read_over_all_its_parts(tmp_path: Path) -> None:
    (tmp_path / "main.log.20260101T000000000001Z").write_text("one\n")
    (tmp_path / "main.log.20260101T000000000002Z").write_text("two\nhal")
    (tmp_path / "main.log").write_text("f\nthree")
    (tmp_path / "main.log.new").write_text("no part")
    assert outputs.read_log(tmp_path / "main.log") == ["one", "two", "half", "three"]


def test_a_journal_is_followed_over_rotations_and_its_damage_told(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    journal, writer = journals.Journal(path), Writer(path, max_bytes=400, keep=99)
    for number in range(20):
        writer.append("reloaded", None, {"number": number})
        journal.look()
    assert [event["seq"] for event in journal.events] == list(range(1, 21))
    assert journal.wrong == []
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines(keepends=True)[-1].replace(b'"number":19', b'"number":91'))
    journal.look()
    assert ["damaged" in each for each in journal.wrong] == [True]


def test_a_number_that_is_missing_or_used_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer = Writer(path)
    for number in range(4):
        writer.append("reloaded", None, {"number": number})
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*whole[:2], whole[3]]))
    journal = journals.Journal(path)
    journal.look()
    assert journal.wrong == ["events.jsonl: 2 is followed by 4"]
    again = Writer(tmp_path / "other.jsonl")
    again.append("booted", None, {})
    path.write_bytes(whole[0] + (tmp_path / "other.jsonl").read_bytes())
    journal = journals.Journal(path)
    journal.look()
    assert ["used twice" in each for each in journal.wrong] == [True]


AT = 1767225610.0
ENDED = "2026-01-01T00:00:10.000Z"


def ended(cause: str) -> list[dict[str, object]]:
    """A life's two lines in the journal."""
    facts = {"gateway": "main", "life": 1}
    return [{**facts, "event": "spawned", "pid": 10}, {**facts, "event": "exited", "cause": cause, "at": ENDED}]


@pytest.mark.parametrize(
    ("cause", "done", "is_wrong"),
    [
        ("crash", {"kill"}, False),
        ("handoff", {"term"}, False),
        ("hung", {"stun"}, False),
        ("asked", set(), False),
        ("crash", set(), True),
        ("hung", {"kill"}, True),
    ],
)
def test_a_gateway_is_blamed_only_for_what_was_done_to_it(cause: str, done: set[str], *, is_wrong: bool) -> None:
    ledger = Ledger()
    ledger.pids[10] = done
    assert bool(journals.blamed(ended(cause), ledger)) is is_wrong


def test_who_had_its_port_or_its_config_taken_is_not_asked_for_more() -> None:
    assert journals.blamed(ended("config"), Ledger(hindered=[("main", AT - 1, AT + 1)])) == []
    others = [("main", AT - 3, AT - 1), ("other", AT - 1, AT + 1)]
    assert len(journals.blamed(ended("config"), Ledger(hindered=others))) == 1
    assert journals.blamed(ended("config"), Ledger(hindered=others, ends={10: AT - 2})) == []


def test_an_end_whose_beginning_nobody_saw_tells_nothing() -> None:
    assert journals.blamed(ended("crash")[1:], Ledger()) == []


def test_a_life_is_unheld_from_a_keepers_death_until_the_next_brain_is_at_work() -> None:
    ledger = Ledger()
    ledger.see(1, {10, 11, 12}, since=-9.0)
    ledger.see(2, {11, 12}, since=-9.0)
    ledger.see(4, {11, 12}, since=-9.0)
    ledger.keeperless = True
    ledger.see(4.5, {12}, since=None)
    ledger.see(6, {12}, since=5.5)
    ledger.see(7, {12}, since=5.5)
    ledger.see(8, set(), since=5.5)
    assert (ledger.unheld, ledger.keeperless) == ({11}, False)


def test_a_fault_that_still_holds_on_excuses_until_now() -> None:
    ledger = Ledger()
    ledger.begin("main")
    assert (ledger.excused("main", 7), ledger.excused("other", 7)) == (7, 0)
    ledger.end("main", 8)
    assert ledger.excused("main", 9) == 8


def test_a_seed_is_a_schedule_and_another_one_another() -> None:
    kinds = weights(disk_full=True)
    first, again, other = (rounds(seed, NAMES, kinds) for seed in (1, 1, 2))
    assert [next(first) for _ in range(3)] == [next(again) for _ in range(3)] != [next(other) for _ in range(3)]


def test_the_operator_never_stops_the_rescue_and_a_disk_is_filled_only_where_that_is_wanted() -> None:
    drawn = rounds(3, NAMES, weights(disk_full=False))
    faults = [fault for _ in range(200) for fault in next(drawn)]
    assert not [fault for fault in faults if fault.kind == "stop, then start" and fault.target == "rescue"]
    assert not [fault for fault in faults if fault.kind.startswith("fill")]
    assert all(bool(fault.target) == (fault.kind in GATEWAY) for fault in faults)
