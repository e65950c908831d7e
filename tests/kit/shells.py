"""What bash, zsh and fish offer at the end of a line, asked of the shells themselves."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

_BASH = """
source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; read -ra COMP_WORDS <<<"$2"
[[ $2 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$(complete -p ortmill | sed -E 's/.*-F ([^ ]+).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""
# zsh completes in a terminal alone, so it gets one. What compadd is given is what is offered.
_ZSH = """
zmodload zsh/zpty
zpty asked zsh -f
say() { zpty -w asked "$1"; }
say 'PS1=; fpath=("$ZDOTDIR" $fpath); autoload -Uz compinit'
say 'compinit -u -d "$ZDOTDIR/dump"'
say 'compadd() { local -a got; builtin compadd -O got "$@"; print -rl -- $got >>$ZDOTDIR/told; }'
say 'ask-all() { _main_complete; compstate[insert]=; compstate[list]=; : >$ZDOTDIR/asked; }'
say 'zle -C ask list-choices ask-all; bindkey "^T" ask'
# What is typed before zsh reads the keys itself is the terminal's, which drops some of them.
say 'zle-line-init() { : >$ZDOTDIR/reading; }; zle -N zle-line-init'
until [[ -e $ZDOTDIR/reading ]]; do sleep 0.01; done
zpty -w -n asked "$2"$'\\x14'
until [[ -e $ZDOTDIR/asked ]]; do sleep 0.01; done
zpty -d asked
cat "$ZDOTDIR/told"
"""


def _bash(script: Path, line: str) -> set[str]:
    return _said(["bash", "-c", _BASH, "bash", str(script), line], script.parent)


def _zsh(script: Path, line: str) -> set[str]:
    (script.parent / "told").write_text("")
    for moment in ("reading", "asked"):
        (script.parent / moment).unlink(missing_ok=True)
    return _said(["zsh", "-f", "-c", _ZSH, "zsh", str(script), line], script.parent)


def _fish(script: Path, line: str) -> set[str]:
    program = f"source '{script}'; complete -C '{line}'"
    told = _said(["fish", "-N", "-c", program], script.parent)
    return {each.split("\t")[0] for each in told}


def _said(argv: list[str], folder: Path) -> set[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "ZDOTDIR": str(folder), "TERM": "dumb"}
    done = subprocess.run(
        argv,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return {each.strip() for each in done.stdout.splitlines() if each.strip()}


OFFERED: dict[str, Callable[[Path, str], set[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
"""Each takes the script of the completion and the line so far, in the script's own folder."""
