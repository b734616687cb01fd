"""What may be typed: every verb, what it does, and its own arguments (INTERFACE.md §3)."""

from __future__ import annotations

import argparse

# Each verb: its group in the help, its module, what follows it, what it does.
VERBS = {
    "status": ("See", "status", "[NAME...]", "one line a gateway; with a NAME the whole story"),
    "logs": ("See", "logs", "NAME...", "what gateways printed; -f goes on"),
    "events": ("See", "events", "", "what happened, and what was decided; -f goes on"),
    "why": ("See", "why", "NAME", "what went wrong last, and what comes next"),
    "incidents": ("See", "incidents", "[NAME]", "what is kept of each failure; `show ID` tells one"),
    "doctor": ("See", "doctor", "", "looks this host over: versions, rights, rivals, room"),
    "ports": ("See", "ports", "", "the ports that each gateway may take"),
    "start": ("Change", "operate", "NAME...", "brings gateways up, and waits until they are"),
    "stop": ("Change", "operate", "NAME...", "takes gateways down; remembered until `start`"),
    "restart": ("Change", "operate", "NAME...", "gives gateways a new process"),
    "reload": ("Change", "reload", "", "reads conf.d again; only what changed is touched"),
    "repair": ("Change", "operate", "NAME...", "climbs the repair ladder by hand"),
    "config": ("Change", "config", "NAME WHAT", "a gateway's config: history, show, diff, rollback, put"),
    "resolve": ("Change", "errand", "NAME --note T", "the rescue's word that it is done with a patient"),
    "exec": ("Change", "execute", "NAME -- COMMAND", "runs a command, such as openclaw, on a gateway's behalf"),
    "up": ("Set up", "up", "", "from nothing to a running main and rescue"),
    "add": ("Set up", "add", "NAME", "one more gateway, on the next free ports"),
    "remove": ("Set up", "remove", "NAME", "stops a gateway and takes its definition away"),
    "rescue": ("Set up", "rescue", "WHAT", "teaches the rescue to repair, and says whether it could"),
    "check": ("Set up", "check", "", "tells all that is wrong with the definitions"),
    "run": ("Set up", "run", "", "the supervisor itself, in the foreground"),
    "reexec": ("Set up", "reexec", "", "lets new code of clawsup take over; no gateway notices"),
    "install": ("Set up", "install", "", "one systemd unit for all gateways, now and at boot"),
    "runtime": ("Set up", "runtime", "WHAT", "the OpenClaws that clawsup installed itself"),
    "completion": ("Set up", "completion", "SHELL", "for bash, zsh or fish: completes what you type"),
    "uninstall": ("Set up", "uninstall", "", "stops and removes that unit, and nothing else"),
}

_ALL = {
    "start": "every gateway that is enabled",
    "stop": "every gateway",
    "restart": "every gateway that is not stopped",
}
_NAME = "a gateway, as its file is called: main for main.toml"
_NO_JSON = {"logs", "exec", "run", "up", "add", "remove", "completion", "install", "uninstall"}


def flags_of(verb: str) -> list[str]:
    """Give the flags and the fixed words that follow a verb, for the shells' completion."""
    parser = argparse.ArgumentParser(add_help=False)
    give(verb, parser)
    words: list[str] = []
    for action in parser._actions:  # noqa: SLF001 (argparse has no other way to ask)
        longest = max(action.option_strings, key=len, default="")
        words += [longest] if longest else list(action.choices or ())
    return words


def give(verb: str, parser: argparse.ArgumentParser) -> None:
    """Give a verb its own arguments (INTERFACE.md §3)."""
    if verb == "status":
        parser.add_argument("names", metavar="NAME", nargs="*", help="the whole story of these")
        parser.add_argument("-w", "--watch", action="store_true", help="show it anew as it changes, until Ctrl-C")
    elif verb in {"start", "stop", "restart"}:
        parser.add_argument("names", metavar="NAME", nargs="*", help=_NAME)
        parser.add_argument("--all", action="store_true", help=_ALL[verb])
        parser.add_argument("--no-wait", action="store_true", help="do not wait for the outcome")
        if verb == "restart":
            parser.add_argument("--force", action="store_true", help="even onto a config that OpenClaw calls invalid")
        if verb == "stop":
            parser.add_argument("--now", action="store_true", help="kill at once, without the time to finish work")
    elif verb == "reload":
        parser.add_argument("--plan", action="store_true", help="only say what it would do")
        parser.add_argument("--prune", action="store_true", help="stop gateways whose definition is gone")
        parser.add_argument("--force", action="store_true", help="even onto a config that OpenClaw calls invalid")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for the outcome")
    elif verb in {"repair", "config", "incidents", "resolve", "rescue"}:
        _repairing(verb, parser)
    elif verb in {"logs", "events"}:
        _reading(verb, parser)
    elif verb == "exec":
        parser.add_argument("name", metavar="NAME", help=_NAME)
        parser.add_argument(
            "command", metavar="-- COMMAND", nargs=argparse.REMAINDER, help="`openclaw` is that gateway's own"
        )
    elif verb in {"up", "add", "remove", "runtime", "completion", "why"}:
        _setting_up(verb, parser)
    elif verb in {"install", "uninstall"}:
        scope = parser.add_mutually_exclusive_group()
        for flag, whose in (("user", "your own systemd"), ("system", "the host's systemd (root's default)")):
            scope.add_argument(f"--{flag}", dest="scope", action="store_const", const=flag, help=whose)
        if verb == "install":
            parser.add_argument("--user-name", metavar="NAME", help="with --system: run as NAME, not as who types this")
            parser.add_argument("--take-over", action="store_true", help="stop and disable OpenClaw's own units first")
            parser.add_argument("--print", action="store_true", help="print the unit, and do nothing")
    if verb not in _NO_JSON:
        parser.add_argument("--json", action="store_true", help="for programs")


def _reading(verb: str, parser: argparse.ArgumentParser) -> None:
    if verb == "logs":
        parser.add_argument("names", metavar="NAME", nargs="+", help=_NAME)
        since = "only what was printed since: 90s, 10m, 2h, 3d, or a time such as 2026-01-31T08:00Z"
        parser.add_argument("--since", metavar="T", help=since)
    else:
        parser.add_argument("--after", metavar="SEQ", type=_count, help="all that came after this number")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    parser.add_argument("-n", "--lines", metavar="N", type=_count, help="how many (default 20)")


def _repairing(verb: str, parser: argparse.ArgumentParser) -> None:
    if verb == "repair":
        parser.add_argument("names", metavar="NAME", nargs="+", help=_NAME)
        parser.add_argument("--no-wait", action="store_true", help="do not wait for the outcome")
        parser.set_defaults(all=False)
    elif verb == "config":
        parser.add_argument("name", metavar="NAME", help=_NAME)
        words = ("history", "show", "diff", "rollback", "put")
        parser.add_argument("what", metavar="|".join(words), choices=words)
        parser.add_argument("hash", metavar="HASH", nargs="?", help="as history shows it; default: the newest good one")
        base = "with put: whose secrets a `***1` in it stands for; default: those of the config in place"
        parser.add_argument("--base", metavar="HASH", help=base)
    elif verb == "resolve":
        parser.add_argument("name", metavar="NAME", help=_NAME)
        parser.add_argument("--note", metavar="TEXT", required=True, help="what was found and done, for the incident")
    elif verb == "rescue":
        parser.add_argument("what", metavar="enable|disable|status", choices=("enable", "disable", "status"))
    else:
        parser.add_argument("what", metavar="NAME | show ID", nargs="*", help="of one gateway, or one told in full")


def _setting_up(verb: str, parser: argparse.ArgumentParser) -> None:
    if verb in {"add", "remove", "why"}:
        parser.add_argument("name", metavar="NAME", help=_NAME)
    if verb == "up":
        parser.add_argument("--port", metavar="N", type=_port, help="main's base port, where main is new")
    elif verb == "add":
        parser.add_argument("--port", metavar="N", type=_port, help="its base port; default: the next free one")
        parser.add_argument("--role", choices=("main", "rescue", "extra"), default="extra", help="default: extra")
        parser.add_argument("--profile", metavar="P", help="OpenClaw's profile, where it is not called NAME")
        parser.add_argument("--setup", action="store_true", help="have OpenClaw write its first config")
    elif verb == "remove":
        parser.add_argument("--now", action="store_true", help="kill at once, without the time to finish work")
    elif verb == "runtime":
        parser.add_argument("what", metavar="list|install|remove", choices=("list", "install", "remove"))
        parser.add_argument("version", metavar="VERSION", nargs="?", help="of OpenClaw, such as 2026.9.6")
    elif verb == "completion":
        parser.add_argument(
            "shell",
            metavar="bash|zsh|fish",
            choices=("bash", "zsh", "fish", "names"),
            help="prints a script; its head says how to use it",
        )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text} is not a port: expected a whole number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines")
    return int(text)
