"""Arguments for upstream's ``tools/ci_build/build.py`` that cannot give what ortmill builds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from .format import Recipe
from .words import nearest

CONFIGURATION = "Release"
_OWN = "ortmill gives {flag} itself"
_SYSTEM = "{flag} is for another system than the recipe's platforms"
_REFUSED = {
    **dict.fromkeys(
        (
            *("--build_dir", "--cmake_path", "--ctest_path", "--cmake_generator"),
            *("--update", "--build", "--build_wheel", "--allow_running_as_root"),
        ),
        _OWN,
    ),
    "--parallel": f"{_OWN}; `--jobs` of the command line changes it",
    "--cmake_extra_defines": f"{_OWN}; put CMake's entries under `defines`",
    "--clean": "{flag} only removes what was built; `--fresh` of the command line builds anew",
    "--wheel_name_suffix": "{flag} renames the distribution, and nothing that asks for "
    "onnxruntime would find it",
    "--minimal_build": "{flag} leaves out the .onnx format and the CoreML provider's converter",
    "--disable_ml_ops": "{flag} leaves out operators, and the wheel would answer otherwise "
    "than the official one",
    "--disable_exceptions": "{flag} makes every error end the process, and Python needs them",
    "--build_apple_framework": "{flag} makes a framework and no wheel",
    "--use_xcode": "{flag} chooses another generator than Ninja, whose progress ortmill reads",
    "--osx_arch": "{flag} is CMAKE_OSX_ARCHITECTURES, which stands under `defines`",
    "--apple_deploy_target": "{flag} is `minimum_os` of the platform",
    "--apple_sysroot": "{flag} is chosen on a Mac by xcrun or SDKROOT, elsewhere by --sdk",
    **dict.fromkeys(
        (
            *("--ios", "--visionos", "--tvos", "--macos", "--android", "--build_wasm"),
            *("--build_wasm_static_lib", "--arm", "--arm64", "--arm64ec", "--x86", "--rv64"),
        ),
        _SYSTEM,
    ),
}


def flags_of_script(text: str) -> tuple[str, ...]:
    """Return the long options that a script's own ``add_argument`` calls name, sorted.

    Raises
    ------
    SyntaxError
        It is no Python.
    """
    return tuple(
        sorted(
            {
                word.value
                for call in ast.walk(ast.parse(text))
                if isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "add_argument"
                for word in call.args
                if isinstance(word, ast.Constant)
                and isinstance(word.value, str)
                and word.value.startswith("--")
            }
        )
    )


def argument_faults(recipe: Recipe) -> list[str]:
    """Return what is wrong with a recipe's arguments for upstream's script, one line each."""
    known = recipe.build_script.flags if recipe.build_script else ()
    lists = {"build_args": recipe.build_args}
    for name, platform in recipe.platforms.items():
        lists[f"platforms.{name}.build_args"] = platform.build_args
        if platform.cross:
            lists[f"platforms.{name}.cross.build_args"] = platform.cross.build_args
    found: list[str] = []
    for where, arguments in lists.items():
        found += [f"{where}.{index}: {text}" for index, text in _faults(arguments, known)]
    if "--use_coreml" not in recipe.build_args:
        found.append(
            "build_args: --use_coreml is missing; without it there is no CoreML provider to build"
        )
    if not any(each.split("=")[0] == "--config" for each in recipe.build_args):
        found.append(f"build_args: `--config {CONFIGURATION}` is missing; upstream builds Debug")
    return found


def _faults(arguments: Sequence[str], known: Sequence[str]) -> Iterator[tuple[int, str]]:
    flag = ""
    for index, word in enumerate(arguments):
        if word.startswith("@"):
            yield index, f"arguments stand in the recipe, not in {word[1:]}"
            continue
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            if reason := _REFUSED.get(flag):
                yield index, reason.format(flag=flag)
            elif known and flag not in known:
                near = nearest(flag, known)
                told = f"; did you mean `{near[0]}`?" if near else ""
                yield index, f"build.py of this version knows no {flag}{told}"
            if not equals:
                continue
        else:
            value = word
        if flag == "--config" and value != CONFIGURATION:
            yield index, f"only `--config {CONFIGURATION}` is built, not {value}"
