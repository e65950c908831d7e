"""Arguments for upstream's script that cannot work are refused before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.errors import RecipeError
from build.recipe.build_flags import flags_of_script
from build.recipe.load import load_recipe
from tests.kit.recipe_examples import shipped, small

GIVEN = '"--use_coreml", "--config", "Release"'
KNOWN = """
[build_script]
path = "tools/ci_build/build.py"
flags = ["--config", "--use_coreml", "--enable_pybind", "--parallel", "--skip_tests",
    "--use_xnnpack", "--minimal_build", "--build_dir", "--ios", "--wheel_name_suffix", "--use_cuda"]
"""


def faults(folder: Path, arguments: str, *, known: bool = True) -> list[str]:
    file = small(folder, (GIVEN, arguments))
    file.write_text(file.read_text() + KNOWN * known)
    try:
        load_recipe(file)
    except RecipeError as caught:
        return [line.removeprefix("  - ") for line in caught.problem.splitlines()[1:]]
    return []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            '"--use_corml", "--config", "Release"',
            "build_args.0: build.py of this version knows no --use_corml; "
            "did you mean `--use_coreml`?",
        ),
        (f'{GIVEN}, "--zzz"', "build_args.3: build.py of this version knows no --zzz"),
        (f'{GIVEN}, "--use_core"', "knows no --use_core; did you mean `--use_coreml`?"),
        (f'{GIVEN}, "--build_dir=/x"', "build_args.3: ortmill gives --build_dir itself"),
        (f'{GIVEN}, "--build_dir", "/x"', "build_args.3: ortmill gives --build_dir itself"),
        (f'{GIVEN}, "--parallel"', "ortmill gives --parallel itself; `--jobs` of the command line"),
        (f'{GIVEN}, "--minimal_build"', "build_args.3: --minimal_build leaves out"),
        (f'{GIVEN}, "--wheel_name_suffix", "x"', "build_args.3: --wheel_name_suffix renames"),
        (f'{GIVEN}, "--ios"', "build_args.3: --ios is for another system"),
        (
            '"--use_coreml", "--config", "RelWithDebInfo"',
            "build_args.2: only `--config Release` is built, not RelWithDebInfo",
        ),
        ('"--use_coreml", "--config=Debug"', "build_args.1: only `--config Release` is built"),
        (
            '"--use_coreml", "--config", "Release", "Debug"',
            "build_args.3: only `--config Release` is built, not Debug",
        ),
        ('"--use_coreml"', "build_args: `--config Release` is missing"),
        ('"--config", "Release"', "build_args: --use_coreml is missing"),
        (f'{GIVEN}, "@more.txt"', "build_args.3: arguments stand in the recipe, not in more.txt"),
    ],
)
def test_an_argument_that_cannot_work(tmp_path: Path, arguments: str, said: str) -> None:
    found = faults(tmp_path, arguments)
    assert any(said in each for each in found), found
    assert len(found) == 1 + ("--use_cor" in arguments and "--use_coreml" not in arguments), found


def test_what_works_is_accepted(tmp_path: Path) -> None:
    assert not faults(tmp_path, f'{GIVEN}, "--skip_tests", "--use_xnnpack"')


def test_without_the_scripts_flags_only_what_is_known_of_all_versions_is_refused(
    tmp_path: Path,
) -> None:
    assert not faults(tmp_path, f'{GIVEN}, "--zzz"', known=False)
    assert faults(tmp_path, f'{GIVEN}, "--ios"', known=False)


def test_a_platforms_arguments_are_looked_at_too(tmp_path: Path) -> None:
    edits = ('repair = "auditwheel"', 'repair = "auditwheel"\nbuild_args = ["--use_xnpack"]')
    file = small(tmp_path, edits)
    file.write_text(file.read_text() + KNOWN)
    with pytest.raises(
        RecipeError, match=r"platforms\.linux-x86_64\.build_args\.0: .*`--use_xnnpack`"
    ):
        load_recipe(file)


SCRIPT = """
import argparse
def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--use_coreml", action="store_true")
    parser.add_argument("-x", "--test", "--tests", help="--not_me")
    group = parser.add_argument_group("g")
    group.add_argument("--gen-api-doc", default="--nor_me")
    parser.add_argument("positional")
"""


def test_flags_are_read_from_the_script_itself() -> None:
    assert flags_of_script(SCRIPT) == ("--gen-api-doc", "--test", "--tests", "--use_coreml")


def test_the_shipped_recipe_lists_its_scripts_flags() -> None:
    listed = shipped().build_script
    assert listed
    assert len(listed.flags) == 186
    assert list(listed.flags) == sorted(listed.flags)
