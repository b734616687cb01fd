"""`clawsup completion SHELL`: what bash, zsh or fish needs to complete verbs, flags and the gateways' names."""

import argparse
import re
from pathlib import Path

from supervisor.cli.arguments import VERBS, flags_of

_NAMED = frozenset(
    {"status", "logs", "why", "incidents", "start", "stop", "restart", "repair", "config", "resolve", "exec", "remove"}
)

_BASH = r"""# clawsup completion for bash:  source <(clawsup completion bash)
_clawsup() {
  local word=${COMP_WORDS[COMP_CWORD]} verb="" i
  local -a where=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --conf-dir | --state-dir) where+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}"); ((i++)) ;;
      -*) ;;
      *) verb=${COMP_WORDS[i]}; break ;;
    esac
  done
  case ${COMP_WORDS[COMP_CWORD - 1]} in
    --conf-dir | --state-dir) COMPREPLY=($(compgen -d -- "$word")); return ;;
  esac
  case $verb in
    "") COMPREPLY=($(compgen -W "@VERBS@ --conf-dir --state-dir --help --version" -- "$word")) ;;
@FLAGS@
  esac
}
complete -F _clawsup clawsup
"""
_BASH_VERB = """    {verb}) COMPREPLY=($(compgen -W "{flags}{names}" -- "$word")) ;;"""
_BASH_NAMES = ' $(clawsup "${where[@]}" completion names 2>/dev/null)'

_ZSH = r"""#compdef clawsup
# clawsup completion for zsh:  clawsup completion zsh > "${fpath[1]}/_clawsup"   (or: source <(clawsup completion zsh))
_clawsup() {
  local verb="" i
  local -a where verbs flags names
  where=()
  for ((i = 2; i < CURRENT; i++)); do
    case ${words[i]} in
      --conf-dir | --state-dir) where+=("${words[i]}" "${words[i + 1]}"); ((i++)) ;;
      -*) ;;
      *) verb=${words[i]}; break ;;
    esac
  done
  case ${words[CURRENT - 1]} in
    --conf-dir | --state-dir) _files -/; return ;;
  esac
  if [[ -z $verb ]]; then
    verbs=(
@VERBS@
    )
    _describe verb verbs
    compadd -- --conf-dir --state-dir --help --version
    return
  fi
  case $verb in
@FLAGS@
  esac
}
if [[ ${funcstack[1]} == _clawsup ]]; then _clawsup "$@"; else compdef _clawsup clawsup; fi
"""
_ZSH_VERB = """    {verb}) compadd -- {flags}{names} ;;"""
_ZSH_NAMES = ' ${(f)"$(clawsup "${where[@]}" completion names 2>/dev/null)"}'

_FISH = """# clawsup completion for fish:  clawsup completion fish > ~/.config/fish/completions/clawsup.fish
function __clawsup_names
    set -l words (commandline -opc)
    set -l where
    for i in (seq (count $words))
        if contains -- $words[$i] --conf-dir --state-dir
            set -a where $words[$i] $words[(math $i + 1)]
        end
    end
    clawsup $where completion names 2>/dev/null
end
complete -c clawsup -f
complete -c clawsup -l conf-dir -x -a "(__fish_complete_directories)" -d "the definitions"
complete -c clawsup -l state-dir -x -a "(__fish_complete_directories)" -d "the supervisor's own state"
"""


def main(args: argparse.Namespace) -> int:
    """Print the script; `names`, which the scripts call, prints the gateways'."""
    if args.shell == "names":
        for name in names(args.conf_dir):
            # bash expands the words of compgen -W, so a file called `$(…).toml` would be a command that TAB runs.
            if re.fullmatch(r"[a-z0-9-]+", name):
                print(name)
        return 0
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](), end="")
    return 0


def names(conf_dir: str) -> list[str]:
    """Name the definitions, readable or not."""
    return sorted(file.stem for file in Path(conf_dir).glob("*.toml") if not file.name.startswith("."))


def _verbs() -> dict[str, tuple[str, list[str]]]:
    """Give what each verb does, and its flags and fixed words, as its own parser has them."""
    return {verb: (does, flags_of(verb)) for verb, (_, _, _, does) in VERBS.items()}


def _bash() -> str:
    lines = [
        _BASH_VERB.format(verb=verb, flags=" ".join(words), names=_BASH_NAMES if verb in _NAMED else "")
        for verb, (_, words) in _verbs().items()
    ]
    return _BASH.replace("@VERBS@", " ".join(_verbs())).replace("@FLAGS@", "\n".join(lines))


def _zsh() -> str:
    lines = [
        _ZSH_VERB.format(verb=verb, flags=" ".join(words), names=_ZSH_NAMES if verb in _NAMED else "")
        for verb, (_, words) in _verbs().items()
    ]
    told = "\n".join(f"      {verb}:{_quoted(does)}" for verb, (does, _) in _verbs().items())
    return _ZSH.replace("@VERBS@", told).replace("@FLAGS@", "\n".join(lines))


def _fish() -> str:
    lines = []
    for verb, (does, words) in _verbs().items():
        after = f'-n "__fish_seen_subcommand_from {verb}"'
        lines.append(f"complete -c clawsup -n __fish_use_subcommand -a {verb} -d {_quoted(does)}")
        for word in words:
            option = (
                f"-l {word[2:]}"
                if word.startswith("--")
                else f"-s {word[1:]}"
                if word.startswith("-")
                else f"-a {word}"
            )
            lines.append(f"complete -c clawsup {after} {option}")
        if verb in _NAMED:
            lines.append(f'complete -c clawsup {after} -a "(__clawsup_names)"')
    return _FISH + "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
