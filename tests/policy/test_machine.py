"""The fleet against a host that does its worst (R24 to R28): a Hypothesis machine with a model host."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisor.openclaw.exits import Heard
from supervisor.policy.events import RepairAsked, RestartAsked, ShutdownAsked, StartAsked, StopAsked
from supervisor.policy.facts import Answer, Guarded
from tests.policy.books import BURST, Place
from tests.policy.builders import NOT_YET, SILENT, STARTED, answer, definition
from tests.policy.invariants import never_busy
from tests.policy.model_host import Host

names = st.sampled_from(("main", "rescue", "extra"))
indices = st.integers(0, 50)
durations = st.sampled_from((0.0, 0.05, 1.0, 7.3, 61.0, 130.0, 311.0, 1000.0))
answers = st.sampled_from((STARTED, STARTED, NOT_YET, SILENT, answer(started=True, ready=False)))
ways_to_die = st.sampled_from(((1, None), (0, None), (78, None), (143, None), (None, 9), (None, 15), (None, None)))

last_words: st.SearchStrategy[Heard] = st.sampled_from(("", "term", "restart"))


class Supervision(RuleBasedStateMachine):
    """A supervisor of three gateways on two cores; the host checks every decision (model_host, invariants)."""

    def __init__(self) -> None:
        super().__init__()
        definitions = (
            definition("main", restart={"burst": BURST}),
            definition("rescue"),
            definition("extra", restart={"cap": 30.0}, probe={"failures": 2}),
        )
        self.host = Host({one.name: Place(one) for one in definitions})
        self.host.boot(first=True)

    @rule(seconds=durations)
    def time_passes(self, seconds: float) -> None:
        self.host.elapse(seconds)

    @precondition(lambda self: self.host.asked)
    @rule(
        index=indices,
        said=answers,
        short=st.sampled_from((False, False, False, True)),
        accepted=st.none() | st.booleans(),
    )
    def the_host_does_what_it_was_asked(self, index: int, said: Answer, short: bool, accepted: bool | None) -> None:
        self.host.perform_asked(index, said, short=short, accepted=accepted)

    @precondition(lambda self: self.host.posted)
    @rule(index=indices)
    def the_brain_hears(self, index: int) -> None:
        self.host.hear(index)

    @rule(said=answers, times=st.sampled_from((1, 2, 8)))
    def the_gateways_say_for_a_while(self, said: Answer, times: int) -> None:
        for _ in range(times):
            self.host.say(said)

    @rule()
    def everything_goes_well_for_a_moment(self) -> None:
        self.host.answer_everything()

    @precondition(lambda self: any(p.alive for p in self.host.processes))
    @rule(index=indices, how=ways_to_die, upgraded=st.booleans(), heard=last_words)
    def a_gateway_dies(self, index: int, how: tuple[int | None, int | None], upgraded: bool, heard: Heard) -> None:
        living = [process for process in self.host.processes if process.alive]
        self.host.die(living[index % len(living)], *how, upgraded=upgraded, heard=heard if how[0] == 0 else "")

    @rule(name=names)
    def a_stranger_races_a_gateway_for_its_port(self, name: str) -> None:
        for _ in range(BURST + 1):
            self.host.race(name)

    @rule(name=names, how=ways_to_die)
    def a_gateway_falls_in_a_loop(self, name: str, how: tuple[int | None, int | None]) -> None:
        for _ in range(BURST + 1):
            self.host.answer_everything()
            for process in self.host.processes:
                if process.alive and process.name == name:
                    self.host.die(process, *how)
            self.host.answer_everything()
            self.host.elapse(8.0, self.host.answer_everything)

    @precondition(lambda self: any(p.alive for p in self.host.processes))
    @rule(index=indices)
    def a_gateway_goes_deaf(self, index: int) -> None:
        living = [process for process in self.host.processes if process.alive]
        living[index % len(living)].deaf = True

    @rule(name=names, stolen=st.booleans())
    def a_stranger_takes_or_leaves_a_port(self, name: str, stolen: bool) -> None:
        self.host.places[name].port_stolen = stolen
        self.host.look()

    @rule(name=names)
    def a_config_file_changes(self, name: str) -> None:
        self.host.places[name].config_version += 1
        self.host.look()

    @rule(name=names)
    def an_operator_starts(self, name: str) -> None:
        if name in self.host.fleet.children:
            self.host.tell(StartAsked(name))

    @rule(name=names, at_once=st.booleans())
    def an_operator_stops(self, name: str, at_once: bool) -> None:
        if name in self.host.fleet.children:
            self.host.tell(StopAsked(name, at_once=at_once))

    @rule(name=names)
    def an_operator_restarts(self, name: str) -> None:
        if name in self.host.fleet.children:
            self.host.tell(RestartAsked(name))

    @rule(name=names)
    def an_operator_repairs(self, name: str) -> None:
        if name in self.host.fleet.children:
            key = f"k{self.host.places[name].config_version}"
            self.host.tell(RepairAsked(name, key, Guarded(good="k-good")))

    @rule(name=names, file=st.sampled_from(("good", "good", "broken", "removed")), changed=st.booleans())
    def an_operator_reloads(self, name: str, file: str, changed: bool) -> None:
        self.host.places[name].file = file
        if changed:
            place = self.host.places[name]
            place.definition = place.definition.model_copy(update={"port": place.definition.port + 1})
        self.host.tell(self.host.roster())

    @rule(first=st.sampled_from((False, False, True)))
    def the_brain_dies(self, first: bool) -> None:
        self.host.boot(first=first)

    @precondition(lambda self: self.host.posted)
    @rule(index=indices)
    def the_brain_dies_between_deciding_and_acting(self, index: int) -> None:
        self.host.hear(index, dies=True)
        self.host.boot(first=False)

    @rule(at_once=st.booleans(), how_long=durations)
    def the_supervisor_shuts_down(self, at_once: bool, how_long: float) -> None:
        self.host.tell(ShutdownAsked(at_once=at_once))
        self.host.elapse(how_long)

    @rule()
    def all_is_well_again(self) -> None:
        """Nothing is ever dead for ever: in the bound all that is wanted is up, or all is down after a shutdown."""
        closing = self.host.fleet.closing
        self.host.settle()

        assert self.host.finished == closing
        if closing:
            self.host.boot(first=True)
        else:
            assert self.host.wanted_but_down() == []

    @invariant()
    def time_alone_makes_no_busy_loop(self) -> None:
        never_busy(self.host.fleet, self.host.now)

    @invariant()
    def every_gateway_that_lives_is_probed_once(self) -> None:
        assert self.host.unwatched() == []

    @invariant()
    def every_ladder_is_climbed_by_somebody(self) -> None:
        assert self.host.unclimbed() == []

    def teardown(self) -> None:
        assert self.host.differences() == []


TestSupervision = Supervision.TestCase
