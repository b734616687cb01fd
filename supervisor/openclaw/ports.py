"""The ports that OpenClaw derives from a base port, and those that are pinned by hand."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

HIGHEST: Final = 65535
FULL_CDP_PORTS: Final = 100
# What OpenClaw takes for CDP where base+110 would pass 65535.
CDP_FALLBACK: Final = range(18800, 18900)

_DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_PORT_NAME = re.compile(r"OPENCLAW_(?:\w+_)?PORT")
# A part of an IPv4 address as a browser reads it, hexadecimal, octal or decimal; the last stands for all bytes that are left.
_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Family:
    """The ports kept for one gateway: `base` … `base` + 10 + `cdp_ports`."""

    base: int
    cdp_ports: int

    @property
    def canvas(self) -> int:
        """The gateway's own port: HTTP, WebSocket, canvas."""
        return self.base

    @property
    def control(self) -> int:
        """Browser control."""
        return self.base + 2

    @property
    def relay(self) -> range:
        """The extension relays, handed out from the top."""
        return range(self.base + 3, self.base + 11)

    @property
    def cdp(self) -> range:
        """Chrome's remote debugging, one port a browser profile."""
        return range(self.base + 11, self.last + 1)

    @property
    def last(self) -> int:
        """The highest port of the family."""
        return self.base + 10 + self.cdp_ports

    @property
    def span(self) -> range:
        """The family as a range, which it is."""
        return range(self.base, self.last + 1)

    @property
    def full(self) -> range:
        """All that OpenClaw would ever derive from this base, whatever is kept for it."""
        return range(self.base, self.base + 10 + FULL_CDP_PORTS + 1)

    def ports(self) -> tuple[int, ...]:
        """Every port of the family, lowest first."""
        return tuple(self.span)

    def vital(self) -> tuple[int, int]:
        """The two whose loss forbids a start: base and browser control."""
        return self.base, self.control


def shared(one: range, other: range) -> range:
    """The ports in both of two ranges; empty when there are none."""
    return range(max(one.start, other.start), min(one.stop, other.stop))


def next_base(family: Family, others: Iterable[range]) -> int | None:
    """The lowest base above this one at which the family meets none of the others; None when the ports run out."""
    taken = sorted(others, key=lambda span: span.start)
    base = family.base + 1
    for span in taken:
        if shared(Family(base, family.cdp_ports).span, span):
            base = span.stop
    return base if Family(base, family.cdp_ports).last <= HIGHEST else None


def is_loopback(host: str) -> bool:
    """Whether a URL's host means this machine wherever it is read."""
    host = _plain(host)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def local_port(url: str, hosts: frozenset[str]) -> int | None:
    """The port of a URL that leads to this machine, whose other names and addresses are `hosts`; else None."""
    parts = _split(url)
    if parts is None or parts.hostname is None:
        return None
    if not is_loopback(parts.hostname) and _plain(parts.hostname) not in hosts:
        return None
    return parts.port or _DEFAULT_PORTS.get(parts.scheme)


def same_browser(url: str) -> str:
    """The URL with everything made equal that leads to one and the same browser: scheme, case, default port, last slash."""
    parts = _split(url)
    if parts is None or parts.hostname is None:
        return url
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{_plain(parts.hostname)}:{port}{parts.path.rstrip('/')}?{parts.query}"


def overrides(environment: Mapping[str, str], hosts: frozenset[str]) -> tuple[tuple[str, int], ...]:
    """The ports of this machine that `OPENCLAW_*` variables name, as a number (`…_PORT`) or in a URL."""
    found = ((name, _override(name, value, hosts)) for name, value in sorted(environment.items()))
    return tuple((name, port) for name, port in found if port is not None)


def _override(name: str, value: str, hosts: frozenset[str]) -> int | None:
    if _PORT_NAME.fullmatch(name):
        return int(value) if re.fullmatch(r"[0-9]{1,5}", value.strip()) else None
    if name.startswith("OPENCLAW_") and "://" in value:
        return local_port(value.strip(), hosts)
    return None


def _plain(host: str) -> str:
    """The one spelling of a URL's host: `127.1`, `0x7f000001` and `::ffff:7f00:1` are all 127.0.0.1 to a browser."""
    host = host.rstrip(".").lower()
    parts = host.split(".")
    try:
        if all(map(_NUMBER.fullmatch, parts)):
            *high, low = (
                int(part, 16 if part.startswith("0x") else 8 if part.startswith("0") else 10) for part in parts
            )
            return str(IPv4Address(bytes(high) + low.to_bytes(4 - len(high), "big")))
        address = ip_address(host)
    except (ValueError, OverflowError):
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # asking for it is what finds a bad one
    except ValueError:
        return None
    return parts
