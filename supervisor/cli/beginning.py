"""The first definitions: what is on this host already decides what they say; nothing that runs is touched."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from supervisor.cli import old_units, whose
from supervisor.cli.preparing import Workbench, target_of
from supervisor.cli.runtime import install
from supervisor.cli.unit_target import Target
from supervisor.cli.writing import bases_taken, free_port, write_all
from supervisor.errors import ClawsupError
from supervisor.host import ports, runtimes, strangers
from supervisor.host.survey import profiles as survey
from supervisor.host.survey import services
from supervisor.host.survey.profiles import Profile
from supervisor.openclaw import launch, paths, setup
from supervisor.policy.definition import Definition
from supervisor.policy.proposal import MAIN_BASE, RESCUE_BASE, Proposal

Tell = Callable[[str, str], None]


def begin(bench: Workbench, *, wanted_port: int | None, tell: Tell) -> None:
    """Write main and rescue where there is no definition at all; ClawsupError where what runs here is in the way."""
    if any(file.suffix == ".toml" and not file.name.startswith(".") for file in _entries(bench.place.conf_dir)):
        if wanted_port is not None:
            raise ClawsupError(
                f"{bench.place.conf_dir}: there are definitions already, so --port has nothing to set",
                mend="change `port` in a definition, or leave --port out",
            )
        return
    target = target_of(whose.typist())
    found = survey.profiles(target.user.home)
    main, rescue = _profile_of_main(found), next((each for each in found if each.name == "rescue"), None)
    for name, profile in (("main", main), ("rescue", rescue)):
        if profile:
            _leave_alone(name, profile, target)
    command = _launcher(bench, tell)
    proposals = _proposals(main, rescue, found, wanted_port)
    _tell_of(found, main, rescue, proposals, tell)
    write_all(bench.place.conf_dir, [_with(command, proposal) for proposal in proposals])


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _profile_of_main(found: Sequence[Profile]) -> Profile | None:
    """The bot that the user talks to: the default profile's, else one called main."""
    by_name = {profile.name: profile for profile in found}
    return by_name.get(paths.DEFAULT_PROFILE) or by_name.get("main")


def _leave_alone(name: str, profile: Profile, target: Target) -> None:
    """Refuse to go on where something else runs, or would start, the gateway of this profile."""
    where = os.path.realpath(profile.state_dir)
    definition = _as_definition(name, profile)
    units = old_units.find(target, [definition])
    others = [other for other in services.starters(target.user.home) if other.state_dir == where]
    makes_way = [unit.type("disable --now") for unit in units] + [other.mend for other in others]
    mend = " && ".join(makes_way) or "stop it with what started it (openclaw gateway stop)"
    mend += "; then clawsup up again: it takes the profile over as it is"
    told = f"{profile.state_dir} has its gateway already, and nothing was touched: "
    for running in survey.gateways():
        if running.state_dir == where:
            raise ClawsupError(told + str(strangers.describe(running.pid)), mend=mend)
    if units or others:
        raise ClawsupError(told + "; ".join(map(str, (*units, *others))), mend=mend)
    for busy in ports.look((profile.port,)):
        if busy.fatal:
            holder = str(strangers.describe(busy.pid)) if busy.pid else "a process that cannot be seen"
            raise ClawsupError(f"{told}its port {profile.port} is held by {holder}", mend=mend)


def _as_definition(name: str, profile: Profile) -> Definition:
    config = paths.config_path(profile.state_dir)
    facts = {"name": name, "port": profile.port, "profile": profile.name}
    return Definition.model_validate({**facts, "state_dir": profile.state_dir, "config_path": config})


def _launcher(bench: Workbench, tell: Tell) -> tuple[str, ...] | None:
    """None when `openclaw` on PATH works, else the launcher of an installation of our own."""
    path = launch.clean_path(os.environ.get("PATH", os.defpath), ())
    answer = runtimes.ask_version(("openclaw",), {**os.environ, "PATH": path})
    if answer.version is not None:
        return None
    if answer.said != os.strerror(2):
        tell("OpenClaw", f"the one on PATH does not work ({answer.said[:120]})")
    return (install(bench.place.state_dir, setup.VERSION).launcher,)


def _proposals(
    main: Profile | None, rescue: Profile | None, found: Sequence[Profile], wanted: int | None
) -> tuple[Proposal, Proposal]:
    """Main on what is there or on a free base, the rescue on the next; ports that other profiles use are left to them."""
    taken = bases_taken((), [each for each in found if each not in (main, rescue)])
    first = main.port if main else free_port(wanted or MAIN_BASE, taken)
    taken = [*taken, *bases_taken((first,), ())]
    step = RESCUE_BASE - MAIN_BASE
    second = rescue.port if rescue else free_port(RESCUE_BASE if first == MAIN_BASE else first + step, taken)
    profile = main.name if main and main.name != "main" else None
    return Proposal("main", "main", first, profile), Proposal("rescue", "rescue", second)


def _with(command: tuple[str, ...] | None, proposal: Proposal) -> Proposal:
    return Proposal(proposal.name, proposal.role, proposal.port, proposal.profile, command)


def _tell_of(
    found: Sequence[Profile],
    main: Profile | None,
    rescue: Profile | None,
    proposals: Sequence[Proposal],
    tell: Tell,
) -> None:
    for profile, proposal in zip((main, rescue), proposals, strict=True):
        if profile:
            tell("found", f"{profile.state_dir}: becomes {proposal.name}, as it is, on port {profile.port}")
    for profile in found:
        if profile not in (main, rescue):
            name = profile.name.lower().replace("_", "-")
            name = name if name not in {"main", "rescue", "default"} else f"{name}-2"
            words = "" if name == profile.name else f" --profile {profile.name}"
            tell("found", f"{profile.state_dir}: left alone; clawsup add {name}{words} --port {profile.port} adds it")
