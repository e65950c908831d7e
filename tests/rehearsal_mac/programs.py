"""The programs of a Mac that the rehearsal stands in for, as shell scripts.

Each notes what it was asked, so that the end can say which of them were called. What is asked of
one that it does not know fails: a silent success would hide a call that matters on a Mac.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MACOS, SDK_VERSION, XCODE = "15.5", "15.5", "16.4"
CLANG = "Apple clang version 17.0.0 (clang-1700.0.13.5)"
BUILD_VERSION = "17000013"
_LLVM = {
    "otool": "llvm-otool",
    "install_name_tool": "llvm-install-name-tool",
    "lipo": "llvm-lipo",
    "nm": "llvm-nm",
    "strip": "llvm-strip",
    "libtool": "llvm-libtool-darwin",
}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the programs are made of.

    ``toolchain`` is the folder of the compilers and of everything that Xcode has beside them,
    ``sdk`` what stands for the SDK, ``llvm`` and ``loader`` LLVM's own programs and how one is
    started, ``zig`` the real compiler, ``log`` the file of the calls.
    """

    toolchain: Path
    sdk: Path
    llvm: Path
    loader: str
    zig: Path
    log: Path


def _script(parts: Parts, name: str, body: str) -> str:
    note = f'printf "%s\\n" "{name} $*" >> {shlex.quote(str(parts.log))}\n'
    return f"#!/bin/sh\n# A rehearsal's stand-in for a Mac's {name}.\n{note}{body}"


def system_programs(parts: Parts) -> Mapping[str, str]:
    """Return what is in ``/usr/bin`` and ``/usr/sbin`` of a Mac, by name."""
    unknown = 'echo "the rehearsal does not know: $0 $*" >&2; exit 64'
    developer = "/Applications/Xcode.app/Contents/Developer"
    xcrun = f"""\
while [ $# -gt 0 ]; do case "$1" in
  --sdk|-sdk) shift ;;
  --show-sdk-path|-show-sdk-path) echo {shlex.quote(str(parts.sdk))}; exit ;;
  --show-sdk-version|-show-sdk-version) echo {SDK_VERSION}; exit ;;
  --show-sdk-build-version) echo 24F74; exit ;;
  --find|-find|-f) test -x {shlex.quote(str(parts.toolchain))}/"$2" || {{ {unknown}; }}
    echo {shlex.quote(str(parts.toolchain))}/"$2"; exit ;;
  -*) {unknown} ;;
  *) name=$1; shift; exec {shlex.quote(str(parts.toolchain))}/"$name" "$@" ;;
esac; shift; done; {unknown}
"""
    found = {
        "xcrun": xcrun,
        "xcode-select": f'case "$1" in -p|-print-path|--print-path) echo {developer} ;; '
        f"*) {unknown} ;; esac\n",
        "sw_vers": 'case "$1" in -productVersion|--productVersion) echo '
        f"{MACOS} ;; -buildVersion|--buildVersion) echo 24F74 ;; "
        f"-productName|--productName) echo macOS ;; *) {unknown} ;; esac\n",
        # Where nothing is changed, nothing is signed again: LLD has signed what it linked.
        "codesign": f'case "$1" in -v|--verify) exit 0 ;; *) {unknown} ;; esac\n',
        "sysctl": 'case "$*" in "-n machdep.cpu.brand_string") echo "Apple M1 (rehearsed)" ;; '
        f'"-q hw.optional.arm64") echo "hw.optional.arm64: 1" ;; *) {unknown} ;; esac\n',
    }
    found["pmset"] = (
        'case "$*" in "-g therm") echo "  CPU_Speed_Limit = 100" ;; '
        f'"-g live") echo " lowpowermode 0" ;; *) {unknown} ;; esac\n'
    )
    texts = {name: _script(parts, name, body) for name, body in found.items()}
    return texts | _llvm(parts)


def _llvm(parts: Parts) -> Mapping[str, str]:
    def run(program: str) -> str:
        real = shlex.quote(str(parts.llvm / program))
        # Apple's otool takes -m (parentheses in a file's name are its own), LLVM's does always.
        words = 'for word; do shift; [ "$word" = -m ] || set -- "$@" "$word"; done\n'
        first = words if program == "llvm-otool" else ""
        return f'{first}exec {parts.loader} --argv0 {program} {real} "$@"\n'

    return {name: _script(parts, name, run(program)) for name, program in _LLVM.items()}


def toolchain_programs(parts: Parts, linker: str) -> Mapping[str, str]:
    """Return what Xcode's toolchain has beside the compilers; ``linker`` is LLD's wrapper."""
    return {**_llvm(parts), "ld": f'#!/bin/sh\nexec {shlex.quote(linker)} "$@"\n'}


def compiler_program(parts: Parts) -> str:
    """Return what stands at the compiler's place: the pinned Clang under Apple's name.

    It is behind the cross build's own wrappers, whose text the compiler cache knows: so a
    compile of the cross build answers for one of the rehearsal where the code is the same.
    """
    real = shlex.quote(str(parts.zig))
    return f"""\
#!/bin/sh
# A rehearsal's stand-in: the recipe's Clang, which calls itself Apple's.
case "$*" in *--version)
  echo "{CLANG}"
  echo "Target: arm64-apple-darwin24.5.0"
  echo "Thread model: posix"
  exit ;;
esac
# CMake asks who it is by a file of its own. Elsewhere the version stays away: libc++'s headers
# choose their code by it, and would be other ones than the cross build's.
case "$*" in *CompilerId.c*)
  shift
  exec {real} clang -D__apple_build_version__={BUILD_VERSION} "$@" ;;
esac
exec {real} "$@"
"""


def cache_program(real: Path) -> str:
    """Return the compiler cache without what a Mac's build adds to its keys.

    SDKROOT and the order of what says nothing about the code would make every compilation one
    that the cross build has not done.
    """
    return f'#!/bin/sh\nunset SDKROOT\nexec {shlex.quote(str(real))} "$@"\n'
