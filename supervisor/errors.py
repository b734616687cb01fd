"""Every error raised on purpose, its exit code, its mend.

ClawsupError                1    the work failed
├── UsageError              2    the call's words are off
├── NoSupervisor            4    nobody listens on the control socket
├── NoBrain                 4    nobody does for the moment: a keeper is there, and starts the one that will
├── NoSuchGateway           4    no definition of that name
├── SupervisorRunning      75    another supervisor holds this state dir
└── DefinitionsUnusable    78    there is nothing that could be run, or `check` found an error
    └── PackageClash       78    PyPI's `supervisor` shares our import name
"""


class ClawsupError(Exception):
    """What is wrong, where, and the mend, for a person; raised on purpose and shown without a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, mend: str = "") -> None:
        self.what = what
        self.mend = mend
        super().__init__(f"{what}\n  mend: {mend}" if mend else what)


class UsageError(ClawsupError):
    """The call's words are off."""

    exit_code = 2


class NoSupervisor(ClawsupError):
    """Nobody answers on the control socket."""

    exit_code = 4


class NoBrain(ClawsupError):
    """A keeper holds the state dir, and what will answer is still being started."""

    exit_code = 4


class NoSuchGateway(ClawsupError):
    """A name that no definition has."""

    exit_code = 4


class SupervisorRunning(ClawsupError):
    """Another supervisor holds this state dir."""

    exit_code = 75


class DefinitionsUnusable(ClawsupError):
    """conf.d holds nothing that could be run."""

    exit_code = 78


class PackageClash(DefinitionsUnusable):
    """The distribution `supervisor` is installed beside us and owns the same import name."""
