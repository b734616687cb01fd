"""Who this supervisor is, and the run tokens by which it knows its gateways again.

A token is INSTANCE.LIFE.PROOF. The instance is drawn once for a state dir; the proof is a keyed hash of gateway and life, so
a brain can tell the token of any life without having kept it: what is recorded before a spawn is only the life's number.
"""

import hmac
import json
import secrets
from dataclasses import dataclass

from supervisor.errors import ClawsupError
from supervisor.host.records import Records

_RECORD = "instance.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """One state dir's supervisor; `seed` is secret."""

    instance: str
    seed: str

    def token(self, gateway: str, life: int) -> str:
        """The run token of one life of one gateway."""
        proof = hmac.new(self.seed.encode(), f"{gateway}:{life}".encode(), "sha256").hexdigest()[:32]
        return f"{self.instance}.{life}.{proof}"

    @property
    def prefix(self) -> str:
        """What every token of ours begins with."""
        return f"{self.instance}."


def life_in(token: str) -> int | None:
    """The number of the life that a token of ours is for."""
    parts = token.split(".")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else None  # noqa: PLR2004 - the three parts above


def load(records: Records) -> Identity:
    """The identity of this state dir, drawn where there is none; ClawsupError when it cannot be kept.

    Without a lasting identity the next brain would take our own gateways for strangers.
    """
    kept = records.load(_RECORD)
    if kept is not None:
        try:
            fields = json.loads(kept)
            return Identity(str(fields["instance"]), str(fields["seed"]))
        except (ValueError, KeyError, TypeError):
            records.set_aside(_RECORD)
    identity = Identity(secrets.token_hex(8), secrets.token_hex(32))
    fields = {"schema": 1, "instance": identity.instance, "seed": identity.seed}
    refused = records.save(_RECORD, json.dumps(fields).encode(), durable=True)
    if refused:
        raise ClawsupError(refused, mend="make the state dir writable, or free space on its disk")
    return identity
