"""Puts new definitions into conf.d: on ports that nobody else was given, whole or not at all."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from supervisor.errors import ClawsupError
from supervisor.host import ports
from supervisor.host.definitions import read
from supervisor.host.definitions.machine import machine_facts
from supervisor.host.survey.profiles import Profile
from supervisor.openclaw.ports import HIGHEST, Family
from supervisor.policy.proposal import Proposal, free_base, text


def bases_taken(bases: Iterable[int], profiles: Iterable[Profile]) -> list[range]:
    """All that OpenClaw would ever derive from these bases, and from those of these profiles."""
    return [Family(base, 0).full for base in (*bases, *(profile.port for profile in profiles))]


def free_port(wanted: int, taken: Sequence[range]) -> int:
    """The wanted base or the next legal one whose ports are free at this moment; ClawsupError when there is none."""
    ephemeral = machine_facts().ephemeral
    highest = ephemeral.start - 1 if len(ephemeral) else HIGHEST
    port = free_base(wanted, taken, highest=highest, busy=_is_busy)
    if port is None:
        raise ClawsupError("no base port is left whose whole family is free", mend="choose one yourself with --port")
    return port


def _is_busy(base: int) -> bool:
    return any(busy.fatal for busy in ports.look(Family(base, 0).vital()))


def write_all(conf_dir: Path, proposals: Sequence[Proposal]) -> list[Path]:
    """Write the definitions; ClawsupError, and none of them is left, when one could not be used."""
    files = [conf_dir / f"{proposal.name}.toml" for proposal in proposals]
    drafts = [conf_dir / f".{proposal.name}.toml.new" for proposal in proposals]
    written: list[Path] = []
    try:
        conf_dir.mkdir(parents=True, exist_ok=True)
        for draft, proposal in zip(drafts, proposals, strict=True):
            draft.write_text(text(proposal), encoding="utf-8")
        for draft, file in zip(drafts, files, strict=True):
            os.link(draft, file)  # unlike a rename, never over one that is there
            written.append(file)
    except OSError as error:
        for file in written:
            file.unlink()
        what = f"{error.filename2 or error.filename}: {error.strerror}"
        raise ClawsupError(what, mend="see what is there, who may write there, and what room is left") from error
    finally:
        for draft in drafts:
            with suppress(OSError):
                draft.unlink()
    _judge(conf_dir, files, {proposal.name for proposal in proposals})
    return files


def _judge(conf_dir: Path, files: Sequence[Path], names: set[str]) -> None:
    """Take the new ones away again if the check finds them unusable: what is there goes before what comes."""
    reading = read(conf_dir)
    broken = {name: obstacle for name, obstacle in reading.roster.broken if name in names}
    if not broken:
        return
    for file in files:
        file.unlink()
    name, obstacle = next(iter(broken.items()))
    raise ClawsupError(f"{name} was not added: {obstacle.reason}", mend=obstacle.mend)
