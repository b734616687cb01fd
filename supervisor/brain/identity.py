"""Who this supervisor is, and the run tokens by which it knows its gateways again.

A token is INSTANCE.LIFE.PROOF. The instance is drawn once for a state dir; the proof is a keyed hash of gateway and life, so
a brain can tell the token of any life without having kept it: what is recorded before a spawn is only the life's number.
Where the record of all this is lost, the gateways that live still tell the instance, and their own tokens.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from supervisor.errors import ClawsupError
from supervisor.host import locks, strangers
from supervisor.host.records import Records

_RECORD = "instance.json"
_SCHEMA = 1
# A mark is a 1, 30 bits of the instance and 32 of the token.
_MARK = 1 << 62
_LIFE_BITS = 32


@dataclass(frozen=True, slots=True)
class Identity:
    """One state dir's supervisor; `seed` is secret, `known` has the tokens of lives whose seed is lost, by GATEWAY:LIFE."""

    instance: str
    seed: str
    known: Mapping[str, str] = field(default_factory=dict)

    def token(self, gateway: str, life: int) -> str:
        """The run token of one life of one gateway."""
        if (known := self.known.get(f"{gateway}:{life}")) is not None:
            return known
        proof = hmac.new(self.seed.encode(), f"{gateway}:{life}".encode(), "sha256").hexdigest()[:32]
        return f"{self.instance}.{life}.{proof}"

    @property
    def prefix(self) -> str:
        """What every token of ours begins with."""
        return f"{self.instance}."

    def mark(self, token: str) -> int:
        """The mark (host/processes.py) of the life that has this token of ours."""
        return self._marks | _bits(token, _LIFE_BITS)

    def is_ours(self, mark: int) -> bool:
        """Whether a mark is one of this supervisor's."""
        return mark >> _LIFE_BITS == self._marks >> _LIFE_BITS

    @property
    def _marks(self) -> int:
        return _MARK | _bits(self.instance, 30) << _LIFE_BITS


def life_in(token: str) -> int | None:
    """The number of the life that a token of ours is for."""
    parts = token.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None  # noqa: PLR2004 - the three parts above


def load(records: Records, state_dir: Path) -> Identity:
    """The identity of this state dir; where it is lost, that of the gateways that live, else a new one.

    ClawsupError when it cannot be kept, or is there and cannot be read now: without a lasting identity the next brain would
    take our own gateways for strangers.
    """
    kept = records.load(_RECORD)
    if kept is not None:
        try:
            fields = json.loads(kept)
            if fields["schema"] == _SCHEMA:
                return Identity(str(fields["instance"]), str(fields["seed"]), dict(fields.get("known", {})))
        except (ValueError, KeyError, TypeError):
            pass
        records.set_aside(_RECORD)
    elif os.path.lexists(state_dir / _RECORD):
        raise ClawsupError(f"{state_dir / _RECORD} cannot be read", mend="give it back to this user, or move it away")
    identity = _recovered(state_dir) or Identity(secrets.token_hex(8), secrets.token_hex(32))
    fields = {"schema": _SCHEMA, "instance": identity.instance, "seed": identity.seed, "known": dict(identity.known)}
    refused = records.save(_RECORD, json.dumps(fields).encode(), durable=True)
    if refused:
        raise ClawsupError(refused, mend="make the state dir writable, or free space on its disk")
    return identity


def _recovered(state_dir: Path) -> Identity | None:
    """The identity that most living gateways of this state dir agree on."""
    known: dict[str, dict[str, str]] = {}
    for gateway, token in _living(state_dir):
        if (life := life_in(token)) is not None:
            known.setdefault(token.partition(".")[0], {})[f"{gateway}:{life}"] = token
    if not known:
        return None
    [(instance, _)] = Counter({instance: len(tokens) for instance, tokens in known.items()}).most_common(1)
    return Identity(instance, secrets.token_hex(32), known[instance])


def _living(state_dir: Path) -> Iterator[tuple[str, str]]:
    """Name and token of each process that a supervisor of this state dir started and that holds its gateway's lock."""
    for pid, token in strangers.find_tokens("").items():
        try:
            environment = psutil.Process(pid).environ()
        except (psutil.Error, OSError):
            continue
        theirs = environment.get("OPENCLAW_STATE_DIR", "")
        if environment.get("CLAWSUP_STATE_DIR") == str(state_dir) and pid in locks.holders(Path(theirs), known=(pid,)):
            yield environment.get("CLAWSUP_GATEWAY", ""), token


def _bits(text: str, count: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> (64 - count)
