"""What a person types: reads the arguments, runs one verb, turns errors into words and exit codes.

Everything is imported when its verb needs it: `clawsup status` is typed often, and by scripts.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper

from supervisor.cli.arguments import VERBS, flags_of, give
from supervisor.errors import ClawsupError, PackageClash, UsageError

TYPE_CHECKING = False  # typing's own would import typing, a sixth of the time that `status` takes
if TYPE_CHECKING:
    from typing import NoReturn

_OTHERS = "ask as the user the supervisor runs as, or as root"
_AS_ITS_USER = frozenset({"check", "config", "exec", "rescue", "runtime"})  # what they write must stay readable to it
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)

_EPILOG = """\
examples:
  clawsup check                      is everything in conf.d right?
  clawsup status                     what is up, since when, and what is not
  clawsup status main                the whole story of one gateway
  clawsup restart main               a new process for main, the others stay
  clawsup exec rescue -- openclaw browser status
  clawsup --state-dir DIR status     of another supervisor

exit codes:
  0 done, all that is wanted is ready    3 something wanted is down
  1 failed                               4 no supervisor, or no such gateway
  2 the words are off                    5 degraded
  75 another supervisor runs here        78 the definitions are unusable
"""


def main() -> int:
    """Run one `clawsup` command; the exit code (INTERFACE.md §3)."""
    _hold_standard_descriptors()
    try:
        code = _obey(sys.argv[1:])
    except ClawsupError as error:
        _complain(str(error))
        code = error.exit_code
    except SystemExit as done:  # argparse has printed the help
        code = int(done.code or 0)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 0  # as with `| head`: the reader has had enough, and nothing went wrong
    except PermissionError as error:
        about = f"{error.filename}: " if error.filename else ""
        _complain(f"{about}this user may not ({error.strerror})\n  mend: {_OTHERS}")
        code = ClawsupError.exit_code
    except OSError as error:
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        code = _unwritable(error)
    return _flushed(code)


def _obey(words: list[str]) -> int:
    if clash := _clash(os.path.dirname(os.path.dirname(os.path.dirname(__file__)))):
        raise PackageClash(
            f"{clash}: the package `supervisor` from PyPI is installed beside clawsup and has the same import name",
            mend="give openclaw-supervisor an environment of its own, for instance with pipx",
        )
    parser = _parser(words)
    args, unknown = parser.parse_known_args(words)
    if unknown:
        raise _unknown(args.verb, unknown[0])
    if args.verb is None:
        parser.print_help(sys.stderr)
        return UsageError.exit_code
    _refuse_undecodable(args)
    args.conf_dir, args.state_dir = (
        os.path.abspath(os.path.expanduser(path)) for path in (args.conf_dir, args.state_dir)
    )
    if any(sign in os.environ for sign in ("CLAWSUP_RUN", "CLAWSUP_GATEWAY", "OPENCLAW_SHELL")):
        inside = import_module("supervisor.cli.inside")
        inside.ask(args)
        if (told := inside.told(args, words)) is not None:
            return int(told)
    module = import_module(f"supervisor.cli.{VERBS[args.verb][1]}")
    if args.verb in _AS_ITS_USER and os.geteuid() == 0:
        import_module("supervisor.cli.whose").become(args.state_dir)
    code: int = module.main(args)
    return code


def _unknown(verb: str | None, word: str) -> UsageError:
    import difflib

    known = flags_of(verb) if verb else []
    if word in known:
        return UsageError(f"{word} stands after the verb", mend=f"clawsup {verb} {word}")
    near = difflib.get_close_matches(word, [flag for flag in known if flag.startswith("-")], n=1)
    guess = f"; did you mean {near[0]}?" if near else ""
    command = f"clawsup {verb}" if verb else "clawsup"
    return UsageError(f"{command} takes no {word}{guess}", mend=f"{command} --help")


def _refuse_undecodable(args: argparse.Namespace) -> None:
    """Let no word pass that is not UTF-8 where it is a name or is sent; a path, or a command of `exec`, may be any bytes."""
    given = [value for key, value in vars(args).items() if key not in {"conf_dir", "state_dir", "command"}]
    for word in (each for value in given for each in (value if isinstance(value, list) else [value])):
        if isinstance(word, str) and any("\ud800" <= character <= "\udfff" for character in word):
            shown = ascii(os.fsencode(word))[2:-1]
            raise UsageError(f"{shown} is not UTF-8 text", mend="clawsup status shows every name")


def _clash(directory: str) -> str:
    """Give the metadata of a distribution `supervisor` in `directory`; pip would have mixed its files with ours."""
    for entry in os.listdir(directory):
        if entry.startswith("supervisor-") and entry.endswith((".dist-info", ".egg-info")):
            return os.path.join(directory, entry)
    return ""


def _hold_standard_descriptors() -> None:
    """Put /dev/null where a standard stream is closed, lest a socket gets its number; let stdout take any text."""
    if None in {sys.stdin, sys.stdout, sys.stderr}:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 (stderr's number)
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
        sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
        sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", write_through=False)


def _complain(text: str) -> None:
    with suppress(OSError):  # where stderr is gone or full, the exit code has to do
        print(f"clawsup: {text}", file=sys.stderr)


def _unwritable(error: OSError) -> int:
    _complain(f"cannot write the output: {error.strerror}")
    return ClawsupError.exit_code


def _flushed(code: int) -> int:
    """Write out what is buffered; a stdout that cannot take it is a failure, unless it is a reader that left."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(1)
    except OSError as error:
        _discard(1)
        failed = _unwritable(error)
        code = code or failed
    try:
        sys.stderr.flush()
    except OSError:
        _discard(2)  # what it could not take is lost, and the code still tells
    return code


def _discard(number: int) -> None:
    """Give the interpreter's own flush at exit, which would turn the code into 120, somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)


class _Parser(argparse.ArgumentParser):
    """An argparse whose complaints are ours, and that guesses a mistyped verb."""

    def error(self, message: str) -> NoReturn:
        _, mistyped, rest = message.partition("argument VERB: invalid choice: '")
        if mistyped:
            import difflib

            verb = rest.partition("'")[0]
            near = difflib.get_close_matches(verb, VERBS, n=1)
            message = f"{verb} is no verb of clawsup" + (f"; did you mean {near[0]}?" if near else "")
        raise UsageError(message, mend=f"{self.prog} --help")


class _Help(argparse.RawDescriptionHelpFormatter):
    """One that does not import shutil to learn the width: argparse makes formatters even where nobody asks for help."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=78)

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Break no path at its hyphens: it is to be copied."""
        import textwrap

        return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"clawsup {version('openclaw-supervisor')}")
        except PackageNotFoundError:
            print("clawsup, not installed: run from its sources")
        parser.exit()


def _parser(words: list[str]) -> _Parser:
    parser = _Parser(
        prog="clawsup",
        usage="clawsup [--conf-dir DIR] [--state-dir DIR] VERB ...",
        description=_description(),
        epilog=_EPILOG,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    for flag, place, what in _places():
        parser.add_argument(flag, metavar="DIR", default=place, help=f"{what} (here: {place})")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    verbs = parser.add_subparsers(prog="clawsup", dest="verb", metavar="VERB", help=argparse.SUPPRESS)
    wanted = _verb_of(words)
    for verb in [wanted] if wanted in VERBS else VERBS:
        _, _, follows, does = VERBS[verb]
        usage = f"clawsup {verb} {follows}" if verb == "exec" else None
        give(verb, verbs.add_parser(verb, usage=usage, description=does, formatter_class=_Help, allow_abbrev=False))
    return parser


def _verb_of(words: list[str]) -> str:
    """Give the first word that is no flag of ours; to make the parsers of all verbs costs more than to parse with one."""
    rest = iter(words)
    for word in rest:
        if word in {"--conf-dir", "--state-dir"}:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return ""


def _description() -> str:
    lines = ["Keeps every OpenClaw gateway of this host running, as conf.d/*.toml says."]
    group = ""
    for verb, (of, _, follows, does) in VERBS.items():
        if of != group:
            lines += ["", f"{of}:"]
            group = of
        lines.append(f"  {verb + ' ' + follows:<22} {does}")
    return "\n".join([*lines, "", "VERB --help tells more about one."])


def _places() -> tuple[tuple[str, str, str], ...]:
    """Give the two directories as INTERFACE.md §1 says: flag, default, meaning."""
    etc, var = "/etc/openclaw-supervisor/conf.d", "/var/lib/openclaw-supervisor"
    if os.geteuid() != 0:
        etc, var = "~/.config/openclaw-supervisor/conf.d", "~/.local/state/openclaw-supervisor"
    return (
        ("--conf-dir", os.environ.get("CLAWSUP_CONF_DIR") or etc, "the definitions"),
        ("--state-dir", os.environ.get("CLAWSUP_STATE_DIR") or var, "the supervisor's own state"),
    )
