"""Where the control socket is, and whether the kernel can bind it there."""

import os

from supervisor.errors import ClawsupError

_NAME = "control.sock"
_RUN = "/run"
_LONGEST = 107  # bytes; sockaddr_un.sun_path holds 108 with its final NUL


def socket_path(state_dir: str) -> str:
    """Give the control socket of a supervisor; ClawsupError when the kernel could not bind a path so long."""
    path = os.path.join(state_dir, _NAME)
    if (length := len(os.fsencode(path))) > _LONGEST:
        room = _LONGEST - len(_NAME) - 1
        raise ClawsupError(
            f"{path}: the control socket's path is {length} bytes long, and the kernel takes {_LONGEST}",
            mend=f"choose a --state-dir of at most {room} bytes",
        )
    return path


def side_path(state_dir: str, uid: int) -> str:
    """Give the socket for a gateway's user who cannot reach that one (control/doors.py); only a root's supervisor has it."""
    import hashlib  # noqa: PLC0415 (hardly anybody needs it, and `status` has to be quick)

    return f"{_RUN}/clawsup-{hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]}/{uid}.sock"
