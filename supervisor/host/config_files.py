"""Puts the bytes of a config back where they belong, whatever stands there by now: whole or not at all, file by file.

A file goes to its place by rename, in its own directory, after fsync; a symbolic link is written through to its target; a
directory in the place is moved aside. Mode and owner are those of the file that it replaces, else of the directory.

With an `owner`, which is a gateway's user where that is not ours, we are root and he may have made any link on the way. So every
link is followed by hand, from one open directory to the next; nothing is read that he could not read himself, and nothing is
written into a directory that is not his, unless no link of his and no `$include` leads there.
"""

import errno
import os
import pwd
import re
import secrets
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from supervisor.openclaw.content import Content, collect

_PRIVATE = 0o600
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_BLOCK_BYTES = 1024 * 1024
# OpenClaw takes 2 MiB for an included file; the file is the gateway's user's, and the memory is ours.
_MAX_BYTES = 16 * _BLOCK_BYTES
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_MAY_READ, _MAY_SEARCH = 4, 1
_OTHERS_WRITE = 0o022
# A POSIX access list as its attribute has it (linux/posix_acl_xattr.h): a version, then (tag, permissions, uid or gid) each.
_ENTRY, _ENTRIES = struct.Struct("<HHI"), 4
_USER, _OWNING_GROUP, _GROUP = 2, 4, 8


def read(path: str, *, owner: int | None = None) -> Content:
    """The present content, included files and all, as far as `owner` may read them."""
    return collect(path, lambda file: _read(file, owner, chosen=not _is_beside(file, path)))


@dataclass(slots=True)
class Looked:
    """A config file under watch: read again only when a file of it has changed."""

    path: str
    owner: int | None = None
    content: Content = field(default_factory=Content)
    _stamps: tuple[tuple[str, tuple[int, ...]], ...] | None = None

    def look(self) -> Content:
        """The present content."""
        # The stamps are taken before the bytes: a write in between is seen by the next look.
        stamps = _stamps([self.path, *(path for path, _ in self.content.files[1:])])
        if stamps != self._stamps:
            short: list[OSError] = []

            def see(path: str) -> bytes:
                try:
                    return _read(path, self.owner, chosen=not _is_beside(path, self.path))
                except OSError as refusal:
                    short.extend([refusal] if refusal.errno in _SHORTAGES else [])
                    raise

            content = collect(self.path, see)
            if short:
                # That it cannot be seen now says nothing about it.
                return self.content if self.content.files else content
            self.content = content
            known = [self.path, *(path for path, _ in self.content.files[1:])]
            self._stamps = stamps if [path for path, _ in stamps] == known else None
        return self.content


def replace(
    content: Content, *, owner: int | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> str:
    """Make the files of `content` what is on disk, byte for byte; "" or, for a person, why not.

    With `owner`, a directory that belongs neither to that uid nor to us is refused, and one of ours where he could have led us to it.
    """
    for path, data in content.files:
        chosen = not _is_beside(path, content.files[0][0])
        with suppress(OSError):
            if _read(path, owner, chosen=chosen) == data:
                continue
        try:
            _replace(path, data, owner, clock, chosen=chosen)
        except OSError as refusal:
            return f"{path}: {refusal.strerror or refusal}"
    return ""


def proposal(path: str) -> str:
    """A new name beside a config, for one that is to be judged before it takes its place."""
    return str(Path(path).with_name(f".{Path(path).name}.proposed-{secrets.token_hex(4)}"))


def forget_proposals(path: str, *, owner: int | None = None) -> None:
    """Remove the proposals that a brain left when it was killed, whole or half written: they have the config's secrets in them."""
    left = re.compile(rf"\.?\.{re.escape(Path(path).name)}\.proposed-[0-9a-f]{{8}}(\.[0-9a-f]{{8}}\.tmp)?")
    with suppress(OSError), _home(proposal(path), owner, chosen=False) as (directory, _):
        _clear_drafts(left, directory)


def _is_beside(path: str, config: str) -> bool:
    """Whether a file is the config itself, or one by its side or below: any other, only an `$include` has named."""
    return Path(path).is_relative_to(Path(config).parent)


def _replace(path: str, data: bytes, owner: int | None, clock: Callable[[], datetime], *, chosen: bool) -> None:
    with _home(path, owner, chosen=chosen) as (directory, name):
        before = _stat(name, directory)
        if before is not None and not stat.S_ISREG(before.st_mode):
            stamp = clock().strftime("%Y%m%dT%H%M%S%fZ")
            os.rename(name, f"{name}.aside-{stamp}", src_dir_fd=directory, dst_dir_fd=directory)
            before = None
        # What a replacement that was killed has left behind has the config's secrets in it.
        _clear_drafts(re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.tmp"), directory)
        draft = f".{name}.{secrets.token_hex(4)}.tmp"
        try:
            _write(draft, directory, data, before or os.fstat(directory), before is not None)
            os.rename(draft, name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=directory)
            raise
        os.fsync(directory)


@contextmanager
def _home(path: str, owner: int | None, *, chosen: bool) -> Iterator[tuple[int, str]]:
    """The directory that a path leads to, open, and the name in it; PermissionError where nothing may be changed for `owner`."""
    with _led(path, owner, chosen=chosen) as (above, name, led):
        directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=above)
    try:
        home = os.fstat(directory)
        if owner is not None and home.st_uid != owner and (led or home.st_uid != os.geteuid()):
            raise PermissionError(errno.EPERM, f"the directory that it leads to belongs to uid {home.st_uid}")
        yield directory, name
    finally:
        os.close(directory)


@contextmanager
def _led(path: str, owner: int | None, *, chosen: bool) -> Iterator[tuple[int, str, bool]]:
    """Where a path leads: the directory, open, the name in it, and whether somebody but root and us could have `chosen` them."""
    names = _names(str(Path(path).absolute()))
    links = 0
    here = os.open("/", _STEP)
    try:
        while True:
            home = os.fstat(here)
            if chosen and owner is not None and not _may(here, owner, _MAY_SEARCH):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            name = names.pop() if names else "."
            found = _stat(name, here)
            if found is not None and stat.S_ISLNK(found.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                ours = {0, os.geteuid()}
                chosen = chosen or not {home.st_uid, found.st_uid} <= ours or bool(home.st_mode & _OTHERS_WRITE)
                target = os.readlink(name, dir_fd=here)
                names += _names(target)
                if not target.startswith("/"):
                    continue
                name = "/"
            elif not names:
                yield here, name, chosen
                return
            following = os.open(name, _STEP, dir_fd=here)
            os.close(here)
            here = following
    finally:
        os.close(here)


def _names(path: str) -> list[str]:
    """The names of a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _may(fd: int, owner: int, wanted: int) -> bool:
    """Whether a user may do this with an open file or directory, by its access list, or by its mode where it has none."""
    found = os.fstat(fd)
    if found.st_uid == owner:
        return bool(found.st_mode >> 6 & wanted)
    by_all = bool(found.st_mode & wanted)
    packed = b""
    # With an empty mask the kernel does not look at the list at all.
    if found.st_mode >> 3 & 0o7:
        with suppress(OSError):
            packed = os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access")
    if not packed:
        by_group = bool(found.st_mode >> 3 & wanted)
        return by_group if by_group != by_all and found.st_gid in _groups(owner) else by_all
    entries = [*_ENTRY.iter_unpack(packed[_ENTRIES:])]
    # What the mode shows as its group's is the mask: the most that any entry but the owner's and the last one gives.
    own = [allowed for tag, allowed, who in entries if (tag, who) == (_USER, owner)]
    groups = _groups(owner)
    own = own or [
        allowed
        for tag, allowed, who in entries
        if (tag == _GROUP and who in groups) or (tag == _OWNING_GROUP and found.st_gid in groups)
    ]
    return any(allowed & found.st_mode >> 3 & wanted for allowed in own) if own else by_all


def _groups(owner: int) -> list[int]:
    with suppress(KeyError):
        entry = pwd.getpwuid(owner)
        return os.getgrouplist(entry.pw_name, entry.pw_gid)
    return []


def _clear_drafts(names: re.Pattern[str], directory: int) -> None:
    for found in filter(names.fullmatch, os.listdir(directory)):
        with suppress(OSError):
            os.unlink(found, dir_fd=directory)


def _write(name: str, directory: int, data: bytes, like: os.stat_result, same_mode: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, _PRIVATE, dir_fd=directory)
    try:
        if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(PermissionError):
                os.fchown(fd, like.st_uid, like.st_gid)
        os.fchmod(fd, like.st_mode & 0o777 if same_mode else _PRIVATE)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: str, owner: int | None, *, chosen: bool) -> bytes:
    """A file's bytes; OSError for anything else and for what `owner` may not read, and never a wait for a FIFO."""
    with _led(path, owner, chosen=chosen) as (directory, name, _):
        # Looked at first: with some devices, it is the opening that does the harm.
        _judge(os.stat(name, dir_fd=directory, follow_symlinks=False), path)
        fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        _judge(os.fstat(fd), path)
        if owner is not None and not _may(fd, owner, _MAY_READ):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        # Not open(): it would keep the descriptor of what it refuses.
        return b"".join(iter(lambda: os.read(fd, _BLOCK_BYTES), b""))
    finally:
        os.close(fd)


def _judge(found: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", path)
    if found.st_size > _MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)


def _stat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _stamps(paths: Sequence[str]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((path, _stamp(path)) for path in paths)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = Path(path).stat()
    except OSError as error:
        return (-1, error.errno or 0)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
