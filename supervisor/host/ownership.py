"""Whether a directory or file is a user's own, and nobody else's: what `user =` promises only holds where it is (R2).

It is judged by its mode: what the mode of a file with an access list shows as its group's is the most that anybody named in it has.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OTHERS = 0o007
_GROUP_MAY_WRITE = 0o020
_WRITE = 0o022
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is wrong with a path, and the command that mends it."""

    text: str
    mend: str


def directory(path: str, uid: int, user: str) -> Foreign | None:
    """A state directory that `user` alone may change and its group at most read; one that is not there is nobody's fault."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    if found.st_uid != uid:
        return Foreign(
            f"{path} belongs to {_name(found.st_uid)}, and the gateway runs as {user}", f"chown -R {user}: {path}"
        )
    if found.st_mode & (_OTHERS | _GROUP_MAY_WRITE):
        mode = stat.S_IMODE(found.st_mode)
        return Foreign(f"{path} is open to other users (mode {mode:04o})", f"chmod 700 {path}")
    return _way_to(path, uid)


def config(path: str, uid: int, user: str, state_dir: str) -> Foreign | None:
    """A config file that `user` can read and nobody else change; outside of `state_dir` others may not read it either."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != uid and not (found.st_uid == 0 and mode & stat.S_IROTH):
        return Foreign(
            f"{path} belongs to {_name(found.st_uid)}, and the gateway runs as {user}", f"chown {user}: {path}"
        )
    inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(state_dir))
    if not inside and found.st_uid == uid and mode & (_OTHERS | _GROUP_MAY_WRITE):
        return Foreign(f"{path} is open to other users (mode {mode:04o})", f"chmod 600 {path}")
    # What is named below the state directory is reached through nothing but the user's own.
    return None if inside and Path(path).is_relative_to(state_dir) else _way_to(path, uid)


def _way_to(path: str, uid: int) -> Foreign | None:
    """Whoever may write a directory on the way may put something else in this one's place; a sticky one keeps him from it."""
    for place in _way(path):
        try:
            found = place.lstat()
        except OSError:
            continue
        if found.st_uid not in {0, uid}:
            return Foreign(f"{place}, on the way to {path}, belongs to {_name(found.st_uid)}", f"move {path} elsewhere")
        if not stat.S_ISLNK(found.st_mode) and found.st_mode & _WRITE and not found.st_mode & stat.S_ISVTX:
            return Foreign(f"{place}, on the way to {path}, can be written by other users", f"chmod go-w {place}")
    return None


def _way(path: str) -> Iterator[Path]:
    """Every directory that is gone through, and every symbolic link that is followed, but for what stands at the end."""
    names = [*reversed(Path(path).absolute().parts[1:])]
    here, links = Path("/"), 0
    yield here
    while names and links < _MAX_LINKS:
        following = here.parent if (name := names.pop()) == ".." else here / name
        if following.is_symlink():
            yield following
            links += 1
            target = following.readlink()
            names += [part for part in reversed(target.parts) if part != "/"]
            here = Path("/") if target.is_absolute() else here
        else:
            here = following
            if names:
                yield here


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
