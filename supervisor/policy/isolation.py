"""What two gateways must not share on disk (R1, R2, R3): the state directory, the config file, the workspace."""

import shlex
from collections.abc import Iterator
from posixpath import dirname
from typing import Final

from supervisor.openclaw.config import ConfigFacts, ConfigFault
from supervisor.policy.candidate import Candidate, Place
from supervisor.policy.fault import Fault

_INCLUDE_ROOTS: Final = "OPENCLAW_INCLUDE_ROOTS"


def own_faults(candidate: Candidate) -> Iterator[Fault]:
    """What one definition's paths and config file say against it, without looking at any other."""
    kind = candidate.state_dir.kind
    if kind not in {"absent", "directory"}:
        what = "a file" if kind == "file" else "no directory"
        text = f"{candidate.state_dir.path} is {what}, expected a directory"
        yield candidate.error("state_dir", text, "name a directory, or move the file away")
    match candidate.facts:
        case ConfigFault() as fault:
            yield _unread(candidate, fault)
        case ConfigFacts() as facts:
            yield from _config_faults(candidate, facts)
    for key, place in candidate.workspaces:
        if place.kind not in {"absent", "directory"}:
            text = f"{place.path} is no directory, which a workspace is"
            yield candidate.warning(key, text, "name a directory")


def _unread(candidate: Candidate, fault: ConfigFault) -> Fault:
    if fault.missing:
        text = f"{fault.path} is not there yet: the gateway would not start"
        mend = f"`clawsup up`, or `{_openclaw(candidate)} setup`"
    else:
        place = fault.path if fault.line is None else f"{fault.path}:{fault.line}"
        text = f"{place} {fault.text}; what it shares with other gateways cannot be checked"
        mend = "correct the file; the gateway is tried all the same"
    return candidate.warning("config_path", text, mend)


def _config_faults(candidate: Candidate, facts: ConfigFacts) -> Iterator[Fault]:
    port = candidate.definition.port
    if facts.port is None:
        text = f"gateway.port is not set in {facts.path}: OpenClaw's own CLI will guess another port than {port}"
        yield candidate.warning("port", text, f"`{_openclaw(candidate)} config set gateway.port {port}`")
    elif facts.port != port:
        text = f"is {port}, but gateway.port in {facts.path} is {facts.port}: OpenClaw's own CLI would talk to the wrong port"
        mend = f"`{_openclaw(candidate)} config set gateway.port {port}`, or port = {facts.port} here"
        yield candidate.error("port", text, mend)
    if facts.mode != "local":
        said = "not set" if facts.mode is None else f'"{facts.mode}"'
        text = f'gateway.mode in {facts.path} is {said}, expected "local": the gateway would not start'
        yield candidate.warning("config_path", text, f"`{_openclaw(candidate)} config set gateway.mode local`")
    outside = [path for path in facts.includes if not path.startswith(f"{dirname(facts.path)}/")]
    if outside and _INCLUDE_ROOTS not in candidate.environment:
        text = (
            f"{facts.path} includes {outside[0]}, outside its own directory: OpenClaw would refuse that, and not start"
        )
        mend = f"move that file below {dirname(facts.path)}, or name its directory in {_INCLUDE_ROOTS} under [env]"
        yield candidate.warning("config_path", text, mend)
    yield from _workspace_faults(candidate, facts)


def _workspace_faults(candidate: Candidate, facts: ConfigFacts) -> Iterator[Fault]:
    """OpenClaw's file wins over OPENCLAW_WORKSPACE_DIR, so a definition that says something else says it in vain."""
    said = candidate.definition.workspace
    places = dict(candidate.workspaces)
    if said is None or "workspace" not in places:
        return
    for key, written in facts.workspaces:
        if key not in places or places[key].spot == places["workspace"].spot:
            continue
        text = f'is "{said}", but {key} in {facts.path} is "{written}", and OpenClaw obeys its own file'
        mend = f"remove workspace here, or {key} there"
        if key == "agents.defaults.workspace":
            yield candidate.error("workspace", text, mend)
        else:
            yield candidate.warning("workspace", text, mend)


def pair_faults(upper: Candidate, lower: Candidate) -> Iterator[Fault]:
    """What two definitions share on disk; errors are laid to `lower`, the one that shall give way.

    What only follows from a shared state dir is not told again.
    """
    state = tuple(_state_faults(upper, lower))
    entangled = any(fault.severity == "error" for fault in state)
    yield from state
    derived = entangled and "config_path" not in lower.document.values
    if lower.shares_config(upper) and not derived:
        text = f"is the same file as that of {upper.shown()}: {_both(lower.config, upper.config)}"
        yield lower.error("config_path", text, "give each gateway a config file of its own", against=upper)
    yield from _shared_workspaces(upper, lower, entangled=entangled)
    if not entangled:
        yield from _contained(upper, lower)
        yield from _contained(lower, upper)


def _state_faults(upper: Candidate, lower: Candidate) -> Iterator[Fault]:
    one, other = lower.state_dir, upper.state_dir
    profile = lower.definition.profile
    same_profile = profile is not None and profile == upper.definition.profile
    mend = "give each gateway its own profile" if same_profile else "give each gateway a state_dir of its own"
    why = f'; both are profile "{profile}"' if same_profile else ""
    if one.spot == other.spot:
        text = f"is the same directory as that of {upper.shown()}: {_both(one, other)}{why}"
        yield lower.error("state_dir", text, mend, against=upper)
    elif one.is_in(other):
        yield lower.error(
            "state_dir", f"{one.path} is inside that of {upper.shown()}: {other.path}", mend, against=upper
        )
    elif other.is_in(one):
        text = f"{one.path} has that of {upper.shown()} inside it: {other.path}"
        yield lower.error("state_dir", text, mend, against=upper)
    elif same_profile:
        text = (
            f'is "{profile}", as that of {upper.shown()}: `openclaw --profile {profile}` can reach only one of the two'
        )
        yield lower.warning("profile", text, mend, against=upper)


def _shared_workspaces(upper: Candidate, lower: Candidate, *, entangled: bool) -> Iterator[Fault]:
    told: set[tuple[str, str]] = set()
    for key, place in lower.workspaces:
        for other_key, other in upper.workspaces:
            pair = (place.path, other.path)
            one_file = key == other_key != "workspace" and lower.shares_config(upper)
            derived = entangled and place.is_in(lower.state_dir) and other.is_in(upper.state_dir)
            if place.spot != other.spot or pair in told or one_file or derived:
                continue
            told.add(pair)
            text = f"is the same directory as {other_key} of {upper.shown()}: {_both(place, other)}"
            yield lower.error(key, text, "give each gateway a workspace of its own", against=upper)


def _contained(outer: Candidate, inner: Candidate) -> Iterator[Fault]:
    """What `inner` keeps in a directory of `outer`: wiping or restoring the one takes the other along."""
    things = {place.spot: (key, place) for key, place in inner.workspaces}
    things |= {inner.config.spot: ("config_path", inner.config), inner.state_dir.spot: ("state_dir", inner.state_dir)}
    for key, place in things.values():
        inside_own = key != "state_dir" and place.is_in(inner.state_dir)
        if place.is_in(outer.state_dir):
            yield _inside(key, inner, outer, ("state_dir", outer.state_dir), place)
        elif place.spot == outer.state_dir.spot:
            text = f"{place.path} is the state_dir of {outer.shown()}: an agent would write into its sessions and credentials"
            yield inner.error(key, text, "give the gateway a workspace of its own", against=outer)
        elif not inside_own:
            around = next(((name, other) for name, other in outer.workspaces if place.is_in(other)), None)
            if around is not None:
                yield _inside(key, inner, outer, around, place)


def _inside(key: str, inner: Candidate, outer: Candidate, around: tuple[str, Place], place: Place) -> Fault:
    other_key, other = around
    text = f"{place.path} is inside the {other_key} of {outer.shown()}: wiping or restoring {other.path} takes it along"
    return inner.warning(key, text, "keep them apart", against=outer)


def _both(one: Place, other: Place) -> str:
    return one.path if one.path == other.path else f"{one.path} is {other.path}"


def _openclaw(candidate: Candidate) -> str:
    """What a person types to reach this gateway's OpenClaw, supervisor or not."""
    definition = candidate.definition
    words = list(definition.command)
    if definition.profile not in {None, "default"}:
        words += ["--profile", str(definition.profile)]
    if candidate.document.values.keys() & {"state_dir", "config_path"}:
        paths = (f"OPENCLAW_STATE_DIR={definition.state_dir}", f"OPENCLAW_CONFIG_PATH={definition.config_path}")
        words = [*paths, *words]
    return shlex.join(words)
