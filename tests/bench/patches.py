"""What each of our patches of the CoreML provider is good for, and what all
of them cost.

``nox -s patches`` builds the wheel for this machine without one patch after
the other, and runs the patches' tests with each: those of the patch that is
left out must fail, and no others. ``nox -s patches -- cost`` compiles the
files that the patches change, with and without them in turns and without the
compiler cache, and relates the difference to the whole build.

Both need Linux. The first one also needs user namespaces: its trees stand
where those of a build do, so that the compiler cache answers, and nothing
outside sees them; and the inputs of ``nox -s build`` in the cache.

Exit codes: 0 as it must be, 1 a patch without a test that fails, or a test of
another patch that does; ``cost`` judges nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from build.tree.workspace import host_platform, open_workspace
from tests.kit.patches import (
    Compilation,
    compilations,
    is_configured,
    mending,
    taken_back,
    touched,
    tree_of,
)
from tests.kit.recipe_examples import shipped
from tests.rehearsal import namespace
from tests.rehearsal.commands import HERE, Failed, copy_checkout, run, say, step

TESTS = "tests/end_to_end/test_provider_patches.py"
# Nothing of it runs in a wheel for Linux: tests/end_to_end/test_compute_plan.py compiles it.
APPLES = "coreml-compute-plan"
_SHARED = ("files", "locks", "overlays", "sccache", "toolchains", "tools", "wheelhouse")


def failing(report: Path) -> Mapping[str, bool]:
    """Return each test of a JUnit file, and whether it failed.

    Raises
    ------
    Failed
        One was skipped: it showed nothing.
    """
    found = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = str(case.get("name"))
        if case.find("skipped") is not None:
            raise Failed(f"{name} was skipped, and shows nothing")
        found[name] = case.find("failure") is not None or case.find("error") is not None
    if not found:
        raise Failed("no test was run")
    return found


def owner(test: str, names: Sequence[str]) -> str:
    """Return the patch that a test is about: the longest name that begins the test's."""
    words = re.sub(r"\[.*", "", test).removeprefix("test_").replace("_", "-")
    return max((name for name in names if words.startswith(name)), key=len, default="")


def wrong(left_out: str, results: Mapping[str, bool], names: Sequence[str]) -> Sequence[str]:
    """Say in what the tests ended otherwise than they must without a patch."""
    failed = [test for test, bad in results.items() if bad]
    others = [test for test in failed if owner(test, names) != left_out]
    problems = [f"{test} fails, and is about another patch" for test in others]
    if len(others) == len(failed):
        problems.append("not one of its tests fails")
    return problems


def left_out_inside(folder: Path, build_python: Path, names: Sequence[str]) -> None:
    """Build and test without each of the patches, in the namespace.

    Raises
    ------
    Failed
        A test ended otherwise than it must.
    """
    cache = open_workspace(HERE, os.environ).cache
    (folder / "cache").mkdir(exist_ok=True)
    namespace.replace_cache(cache, folder / "cache", _SHARED)
    checkout, bad, every = folder / "checkout", [], list(mending(shipped()))
    for name in names:
        for wheel in (checkout / "wheels").glob("*.whl"):
            wheel.unlink()
        with step(f"The wheel without {name}, and the tests of all patches"):
            words = ["build", "run", "--offline", "--without-patch", name]
            run(build_python, words, folder=checkout, env={"ORTMILL_CACHE": str(cache)})
            report = folder / f"{name}.xml"
            words = ["pytest", "-q", TESTS, "--no-header", "--tb=no", f"--junitxml={report}"]
            run(Path(sys.executable), words, folder=checkout, expected=(0, 1))
            results = failing(report)
            failed = [test for test, failed in results.items() if failed]
            say(f"  {len(failed)} of {len(results)} fail: {', '.join(failed)}")
            problems = wrong(name, results, every)
            for problem in problems:
                say(f"  WRONG: {problem}")
            bad += [name] if problems else []
    if bad:
        raise Failed(f"these are not as they must be: {', '.join(bad)}")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor seconds of compiling the files that patches change, round by round, and more.

    ``sample`` is those of files of the whole build drawn at random, of ``files`` in all.
    """

    with_patches: Sequence[float]
    without: Sequence[float]
    sample: Sequence[float]
    files: int

    def share(self, *, draws: int = 10_000) -> tuple[float, float, float]:
        """Return the difference as a share of the build, with the ends of its 95 % interval.

        A bootstrap over the rounds and over the drawn files.
        """
        more = np.array(self.with_patches) - np.array(self.without)
        sample, generator = np.array(self.sample), np.random.default_rng(7)

        def mean_of(values: np.ndarray) -> np.ndarray:
            chosen: np.ndarray = generator.choice(values, size=(draws, values.size))
            return chosen.mean(axis=1)

        drawn = mean_of(more) / (self.files * mean_of(sample))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return float(more.mean() / (self.files * sample.mean())), float(low), float(high)

    def told(self) -> str:
        """Return the result in a line."""
        share, low, high = self.share()
        return (
            f"{np.mean(self.with_patches):.2f} s with the patches, {np.mean(self.without):.2f} s "
            f"without: {share:+.3%} of the build's {self.files * np.mean(self.sample):.0f} s of "
            f"processor time (95 %: {low:+.3%} to {high:+.3%})"
        )


def cost(rounds: int, drawn: int) -> Cost:
    """Compile with the commands of this machine's tree, which a build has laid out.

    Raises
    ------
    Failed
        There is none, or a file does not compile.
    """
    tree = tree_of(host_platform())
    if not is_configured(tree):
        raise Failed("no tree was laid out for this machine: `nox -s build -- --fresh`")
    commands = compilations(tree)
    patches = list(mending(shipped()).values())
    changed = touched(patches)
    compiled = [file for file in changed if tree.source / file in commands]
    with tempfile.TemporaryDirectory() as scratch:
        sides = {"with": [], "without": patches}
        for side, missing in sides.items():
            for file in changed:
                place = Path(scratch, side, file)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(taken_back(tree.source, file, missing))
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for number in range(rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                shadow = Path(scratch, side)
                seconds = [
                    _compile(commands[tree.source / file], shadow / file, shadow)
                    for file in compiled
                ]
                taken[side].append(sum(seconds))
            last = ", ".join(f"{seconds[-1]:.2f} s {side}" for side, seconds in taken.items())
            say(f"  round {number + 1} of {rounds}, {len(compiled)} files: {last}")
        chosen = random.Random(7).sample(sorted(commands), min(drawn, len(commands)))
        sample = [_compile(commands[file], file, Path(scratch)) for file in chosen]
    return Cost(
        with_patches=taken["with"], without=taken["without"], sample=sample, files=len(commands)
    )


def _compile(command: Compilation, file: Path, shadow: Path) -> float:
    """Compile a file, with headers of ``shadow`` before those of the tree; processor seconds."""
    compiler, *options = command.words
    own = [f"-I{shadow / 'include' / 'onnxruntime'}", f"-I{shadow / 'onnxruntime'}"]
    words = [compiler, *own, *options, "-o", str(shadow / "object.o"), "-c", str(file)]
    process = subprocess.Popen(words, cwd=command.folder)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{file} does not compile")
    return usage.ru_utime + usage.ru_stime


def _parser() -> argparse.ArgumentParser:
    names = [name for name in mending(shipped()) if name != APPLES]
    parser = argparse.ArgumentParser(
        prog="nox -s patches --",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=("left-out", "cost"), default="left-out")
    parser.add_argument(
        "--patch",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"one alone; may be repeated: {', '.join(names)}",
    )
    parser.add_argument("--rounds", type=int, default=7, help="of compiling (default: 7)")
    parser.add_argument(
        "--drawn", type=int, default=60, help="files that stand for the whole build (default: 60)"
    )
    parser.add_argument("--folder", type=Path, default=HERE / ".work" / "patches")
    parser.add_argument("--build-python", type=Path, required=True)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(names=names)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Show what the patches are good for, or what they cost."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(words)
    if min(arguments.rounds, arguments.drawn) < 1:
        _parser().error("--rounds and --drawn are numbers from 1 on")
    folder, python = arguments.folder.resolve(), arguments.build_python.absolute()
    try:
        if arguments.what == "cost":
            found = cost(arguments.rounds, arguments.drawn)
            say(found.told())
            return 0
        if arguments.inside:
            left_out_inside(folder, python, arguments.patch or arguments.names)
            return 0
        run(python, ["build", "fetch"], folder=HERE)
        copy_checkout(folder / "checkout", "tests")
        inside = namespace.command("tests.bench.patches", [*words, "--inside"])
        return subprocess.run(inside, check=False).returncode
    except (Failed, namespace.NoNamespace) as error:
        say(f"\nFAILED: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
