"""Apple's compiler and SDK on a Mac, as ``xcrun`` names them.

Not what is first in the PATH: Homebrew and conda put a Clang of their own there, which knows
another linker and another C++ library.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ..errors import ToolchainError
from ..recipe.format import Platform
from ..system.environment import plain_environment
from ..system.process import ask
from .compiler import Compiler, Identity, beside, check_minimum, identify

_CHOICE = (
    "choose an Xcode with `xcode-select --switch` or DEVELOPER_DIR, or an SDK with SDKROOT; "
    "`xcrun --sdk macosx --show-sdk-version` says which one is used"
)


def find_apple_compiler(env: Mapping[str, str], requirements: Platform) -> Compiler:
    """Return Apple's compiler with the SDK that it will use.

    ``CC`` and ``CXX`` may name another one of Apple's; ``DEVELOPER_DIR`` and ``SDKROOT`` say
    which Xcode and which SDK, as everywhere on a Mac. Both go into the build's environment.

    Raises
    ------
    ToolchainError
        There are no developer tools, a compiler is not Apple's or too old, or nothing can be
        built with the SDK.
    """
    xcrun = shutil.which("xcrun", path=env.get("PATH"))
    if xcrun is None:
        raise ToolchainError(
            "Apple's developer tools are not installed: there is no xcrun on the PATH",
            hint="install them with `xcode-select --install`",
        )
    variables = {"DEVELOPER_DIR": env["DEVELOPER_DIR"]} if env.get("DEVELOPER_DIR") else {}

    def answer(*words: str) -> str:
        found = ask([xcrun, *words], env=plain_environment(env), seconds=120)
        if found.code:
            raise ToolchainError(
                f"`xcrun {' '.join(words)}` failed: {found.err.strip() or found.code}", hint=_CHOICE
            )
        return found.out.strip()

    choice = ("--sdk", env.get("SDKROOT") or "macosx")
    variables["SDKROOT"] = answer(*choice, "--show-sdk-path")
    version = answer(*choice, "--show-sdk-version")
    _check_sdk(version, variables["SDKROOT"], requirements)
    cxx = _named(env, "CXX") or Path(answer("--find", "clang++"))
    # The one beside the C++ compiler: CXX may name another Xcode's.
    c = _named(env, "CC") or beside(cxx)
    who = _apples(cxx, env, "CXX")
    _apples(c, env, "CC")
    check_minimum(cxx, who, requirements)
    return Compiler(
        c=c,
        cxx=cxx,
        family=who.family,
        version=who.version,
        identity=f"{who.line}, macOS SDK {version}",
        variables=variables,
        note=_passed_over(env, cxx),
    )


def _check_sdk(version: str, path: str, requirements: Platform) -> None:
    told = {"SDK": path}
    try:
        number = Version(version)
    except InvalidVersion:
        raise ToolchainError(
            f"the macOS SDK does not say its version but {version[:80]!r}",
            hint=_CHOICE,
            context=told,
        ) from None
    least = requirements.sdk_minimum
    if least and number < Version(least):
        raise ToolchainError(
            f"the macOS SDK {version} is older than {least}, which a wheel for macOS "
            f"{requirements.minimum_os} needs",
            hint=f"install a newer Xcode; {_CHOICE}",
            context=told,
        )
    for refused, reason in requirements.sdk_refused.items():
        if number.release[:2] == Version(refused).release[:2]:
            raise ToolchainError(
                f"the macOS SDK {version} cannot be used: {reason}", hint=_CHOICE, context=told
            )


def _named(env: Mapping[str, str], variable: str) -> Path | None:
    """Return the compiler that the user names, or None."""
    asked = env.get(variable, "").strip()
    if not asked:
        return None
    if found := shutil.which(asked, path=env.get("PATH")):
        return Path(found)
    raise ToolchainError(
        f"{variable}={asked} is not a program on the PATH",
        hint=f"unset {variable}: xcrun finds Apple's compiler",
    )


def _apples(program: Path, env: Mapping[str, str], variable: str) -> Identity:
    found = identify(program, env)
    if found.family != "apple-clang":
        what = f"{variable}={program}" if env.get(variable, "").strip() else str(program)
        raise ToolchainError(
            f"{what} is {found.line}, not Apple's compiler",
            hint="unset CC and CXX, and xcrun finds Apple's; or name a clang++ of Xcode",
        )
    return found


def _passed_over(env: Mapping[str, str], taken: Path) -> str:
    """Return what to say of a Clang that is first in the PATH and not used; empty for none."""
    first = shutil.which("clang++", path=env.get("PATH"))
    if first is None or Path(first) == taken:
        return ""
    answer = ask([first, "--version"], env=plain_environment(env), seconds=60)
    line = answer.out.strip().partition("\n")[0]
    if answer.code or "Apple" in line:
        return ""
    return f"{first} ({line}) is first on the PATH and not used: a Mac's wheel needs Apple's Clang"
