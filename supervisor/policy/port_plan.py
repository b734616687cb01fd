"""What two gateways must not share of the ports (R4, R5, R10 to R17): families, pinned CDP ports, browsers, overrides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.openclaw.config import ConfigFacts
from supervisor.openclaw.ports import (
    CDP_FALLBACK,
    FULL_CDP_PORTS,
    HIGHEST,
    Family,
    local_port,
    next_base,
    overrides,
    same_browser,
    shared,
)
from supervisor.policy.candidate import Candidate, Machine
from supervisor.policy.fault import Fault


@dataclass(frozen=True, slots=True)
class Pin:
    """A port of this machine that a config file or the environment names, and the key that names it."""

    key: str
    port: int
    where: str


def own_faults(candidate: Candidate, machine: Machine) -> Iterator[Fault]:
    """What one definition's ports have against them, without looking at any other."""
    family = candidate.family
    if family.last > HIGHEST:
        text = f"the family {_range(family.span)} passes {HIGHEST}"
        yield candidate.error("port", text, f"port = {HIGHEST - 10 - family.cdp_ports} or lower")
    elif family.full.stop - 1 > HIGHEST:
        text = f"base+110 passes {HIGHEST}, so OpenClaw takes {_range(CDP_FALLBACK)} for CDP, outside the family"
        yield candidate.warning("port", text, f"port = {HIGHEST - 10 - FULL_CDP_PORTS} or lower")
    right = machine.may_bind_low and candidate.definition.user in {None, "root"}
    if family.base < machine.unprivileged_from and not right:
        text = f"is {family.base}, but below {machine.unprivileged_from} the gateway needs the right to bind (CAP_NET_BIND_SERVICE)"
        yield candidate.error("port", text, "choose a port from 1024 on; 18789 is OpenClaw's own")
    ephemeral = shared(family.span, machine.ephemeral)
    if set(ephemeral) - machine.reserved:
        text = f"{_range(ephemeral)} of the family lie in the kernel's range for outgoing connections ({_range(machine.ephemeral)})"
        mend = f"a base below {machine.ephemeral.start - 10 - family.cdp_ports}, or reserve them: net.ipv4.ip_local_reserved_ports"
        yield candidate.warning("port", text, mend)
    yield from _own_pins(candidate, machine)


def _own_pins(candidate: Candidate, machine: Machine) -> Iterator[Fault]:
    seen: dict[int, str] = {}
    for pin in _config_pins(candidate, machine):
        if pin.port in candidate.family.vital():
            what = "gateway's own port" if pin.port == candidate.family.base else "browser control port"
            text = f"is {pin.port} in {pin.where}, which is this {what}"
            yield candidate.error(pin.key, text, f"pin one of {_range(candidate.family.cdp)}")
        elif pin.port in seen and pin.key.endswith(".cdpPort"):
            text = f"is {pin.port} in {pin.where}, as {seen[pin.port]} is"
            yield candidate.warning(pin.key, text, "give each browser profile a port of its own")
        if pin.key.endswith(".cdpPort"):
            seen.setdefault(pin.port, pin.key)


def pair_faults(upper: Candidate, lower: Candidate, machine: Machine, taken: Sequence[range]) -> Iterator[Fault]:
    """What two definitions share of the ports; errors are laid to `lower`. `taken` are the families of all but `lower`."""
    overlap = shared(lower.family.span, upper.family.span)
    if overlap:
        text = f"{_ports(overlap)} of the family {_range(lower.family.span)} belong to that of {upper.shown()} too"
        yield lower.error("port", text, _next(lower.family, taken), against=upper)
    elif far := shared(lower.family.full, upper.family.full):
        text = (
            f"up to base+110 it shares {_ports(far)} with {upper.shown()}: "
            "OpenClaw hands them out once a gateway has more managed browser profiles than its family keeps ports for"
        )
        yield lower.warning("port", text, "keep bases 111 apart, or set cdp_ports to what is used", against=upper)
    if not lower.shares_config(upper):
        yield from _browser_faults(upper, lower, machine)
        yield from _twice(upper, lower, machine)
    yield from _pin_faults(upper, lower, machine)


def _next(family: Family, taken: Sequence[range]) -> str:
    base = next_base(family, taken)
    return "choose a lower port: there is none left above" if base is None else f"port = {base}"


def _pin_faults(upper: Candidate, lower: Candidate, machine: Machine) -> Iterator[Fault]:
    """Pinned ports of either in the family of the other."""
    for pin in _pins(lower, machine):
        if pin.port in upper.family.span:
            text = f"{pin.port} in {pin.where} belongs to the family of {upper.shown()}: {_range(upper.family.span)}"
            yield lower.error(pin.key, text, _own_port(lower), against=upper)
    for pin in _pins(upper, machine):
        if pin.port in lower.family.span:
            text = (
                f"{pin.port} of the family {_range(lower.family.span)} is {pin.key} of {upper.shown()}, in {pin.where}"
            )
            yield lower.error("port", text, "choose another base, or pin another port there", against=upper)


def _twice(upper: Candidate, lower: Candidate, machine: Machine) -> Iterator[Fault]:
    """The same port pinned by both, in neither's family; two cdpUrls are one browser, which is another fault."""
    theirs = {pin.port: pin for pin in reversed(_config_pins(upper, machine))}
    for pin in _config_pins(lower, machine):
        other = theirs.get(pin.port)
        both_urls = other is not None and pin.key.endswith("cdpUrl") and other.key.endswith("cdpUrl")
        if other is None or both_urls or pin.port in upper.family.span or pin.port in lower.family.span:
            continue
        text = f"is {pin.port} in {pin.where}, and so is {other.key} of {upper.shown()}, in {other.where}"
        yield lower.error(pin.key, text, _own_port(lower), against=upper)


def _browser_faults(upper: Candidate, lower: Candidate, machine: Machine) -> Iterator[Fault]:
    """One browser for two gateways: the same cdpUrl, or two that lead to the same port of this machine."""
    if not isinstance(upper.facts, ConfigFacts) or not isinstance(lower.facts, ConfigFacts):
        return
    theirs = {_browser(url, machine): (key, url) for key, url in reversed(upper.facts.cdp_urls)}
    for key, url in lower.facts.cdp_urls:
        if found := theirs.get(_browser(url, machine)):
            text = f"in {lower.facts.path} is the browser of {upper.shown()} too: {found[0]} in {upper.facts.path}"
            yield lower.error(key, text, "give each gateway a browser of its own", against=upper)


def _browser(url: str, machine: Machine) -> str:
    port = local_port(url, machine.hosts)
    return same_browser(url) if port is None else f"this machine:{port}"


def _pins(candidate: Candidate, machine: Machine) -> tuple[Pin, ...]:
    """Everything by hand, in the config file or the environment (R14)."""
    from_environment = (
        Pin(f"env.{name}", port, candidate.document.file)
        for name, port in overrides(candidate.environment, machine.hosts)
    )
    return (*_config_pins(candidate, machine), *from_environment)


def _config_pins(candidate: Candidate, machine: Machine) -> tuple[Pin, ...]:
    facts = candidate.facts
    if not isinstance(facts, ConfigFacts):
        return ()
    urls = ((key, local_port(url, machine.hosts)) for key, url in facts.cdp_urls)
    return tuple(Pin(key, port, facts.path) for key, port in (*facts.cdp_ports, *urls) if port is not None)


def _own_port(candidate: Candidate) -> str:
    return f"take one of this gateway's own: {_range(candidate.family.cdp)}" if candidate.family.cdp else "take another"


def _range(span: range) -> str:
    return f"{span.start}" if len(span) == 1 else f"{span.start}-{span.stop - 1}"


def _ports(span: range) -> str:
    return f"port {_range(span)}" if len(span) == 1 else f"ports {_range(span)}"
