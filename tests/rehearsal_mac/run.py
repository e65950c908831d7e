"""Rehearse a Mac on Linux: its native build, and the verification of a wheel there."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from build.tree.workspace import open_workspace
from tests.rehearsal import namespace
from tests.rehearsal.commands import HERE, Failed, say, step, sweep, told_where
from tests.rehearsal_mac import native, verification
from tests.rehearsal_mac.checkout import CHANGES, RECIPE
from tests.rehearsal_mac.comparison import differences
from tests.rehearsal_mac.machine import SDK, SYSTEM, become_a_mac, what_it_says
from tests.rehearsal_mac.programs import Parts, system_programs
from tests.rehearsal_mac.scenarios import SCENARIOS

PARTS = ("build", "verify")
NOT_REHEARSED = (
    "Apple's own compiler, linker, headers and code signing: Clang 22 and LLD 19 stand in, with "
    "the cross build's declarations of Apple's frameworks",
    "a CMake, Ninja and protoc compiled for macOS, upstream's sources of coremltools, pip's wheels "
    "for macOS of what the environments hold",
    "dyld: that the wheel's libraries load on a Mac, and on the oldest one",
    "Core ML: that it compiles and runs the model, on which device, how exactly and how fast",
    "the machine: its processor, its scheduler, its clock and its counters of other programs (how "
    "long a call takes is set by the scenario)",
)
COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s build verify"
ANSWERS = {
    "the build stops": "one sentence says at what and what to do; the whole output is in "
    ".work/logs, and a second run goes on where it was",
    "GO": "CoreML ran the model there, agreed, was faster than the CPU and held the budget: the "
    "wheel may serve on that kind of Mac",
    "NO-GO": "do not ship it; the checks that it names failed, and docs/rehearsal.md has what "
    "each failure looks like and what it can come from",
    "INCONCLUSIVE": "nothing failed, but the machine was busy or the samples too few: close other "
    "programs, or run `.venv/bin/nox -s verify -- --adaptive 120`",
    "no verdict": "the verification could not run: one sentence says why, and nothing was shown",
}


def build_inside(stage: native.Stage) -> None:
    """Build natively, in the namespace."""
    with step("A Mac of stand-ins"):
        parts = native.lay_out(stage)
        become_a_mac(
            stage.folder / "layers",
            programs=system_programs(replace(parts, sdk=SDK)),
            python={"rehearsal/include": parts.toolchain.parent / "python"},
            sdk=parts.sdk,
        )
        for name, answer in what_it_says().items():
            say(f"  {name}: {answer}")
    with step("python -m build run: the native way of macOS"):
        native.run(stage, "build", "run", RECIPE, "--offline")
        asked = native.what_was_called(stage)
        say(f"  the stand-ins were asked: {', '.join(f'{n} {c}' for n, c in asked.items())}")


def verify_inside(stage: verification.Stage, names: Sequence[str]) -> None:
    """Run the scenarios, in the namespace; Failed where one ends otherwise than it must."""
    nowhere = stage.folder / "nowhere"
    parts = Parts(
        toolchain=nowhere, sdk=nowhere, llvm=nowhere, loader="", zig=nowhere,
        log=stage.folder / "calls.txt",
    )  # fmt: skip
    become_a_mac(
        stage.folder / "layers",
        programs=system_programs(parts),
        python={
            **{
                f"rehearsal/{name}": SYSTEM / name
                for name in ("hooks.py", "session.py", "coreml.py")
            },
            "rehearsal/places.json": stage.places,
        },
    )
    say(f"  {'scenario':18} {'exit':>4} {'s':>6}  what happened there, and what was said")
    waiting = deque(each for each in SCENARIOS if not names or each.name in names)

    def walk(lane: verification.Stage) -> list[str]:
        bad = []
        while True:
            try:
                scenario = waiting.popleft()
            except IndexError:
                return bad
            ran = verification.run(lane, scenario)
            problems = verification.wrong(ran)
            lines = [
                f"  {scenario.name:18} {ran.code:4} {ran.seconds:6.1f}  {scenario.what}",
                f"  {'':31}{verification.told(ran)}",
                *(f"  WRONG: {problem}" for problem in problems),
            ]
            say("\n".join(lines))
            if problems:
                bad.append(scenario.name)
            else:
                verification.forget(lane, scenario)

    lanes = verification.lanes(stage)
    with ThreadPoolExecutor(len(lanes)) as pool:
        bad = [name for found in pool.map(walk, lanes) for name in found]
    if bad:
        raise Failed(f"these ended otherwise than they must: {', '.join(bad)}")


def read_the_wheel(stage: native.Stage, verify: Path, work: Path, against: Path | None) -> None:
    """Read the natively built wheel as on any machine, and compare it with the cross-built one."""
    wheel = max((stage.checkout / "wheels").glob("onnxruntime-*.whl"), key=os.path.getmtime)
    with step(f"The macho.* checks of {wheel.name}"):
        words = [str(verify), "-m", "verify", "run", str(wheel), "--work", str(work)]
        done = subprocess.run(words, cwd=HERE, check=False)
        if done.returncode:
            raise Failed(f"the wheel does not pass: exit code {done.returncode}")
    with step("What differs from the cross-built wheel"):
        if against is None:
            say("  NOT COMPARED: there is no cross-built wheel in wheels/macos-arm64")
            return
        unexplained = []
        for line, why in differences(wheel, against):
            say(f"  {line}: {why or 'UNEXPLAINED'}")
            unexplained += [] if why else [line]
        if unexplained:
            raise Failed(f"unexplained: {', '.join(unexplained)}")


def close(parts: Sequence[str]) -> None:
    """Say what was not rehearsed, and what the first person with a Mac does."""
    say("\nWhat stood in, and was not shown:")
    changes = [f"in the recipe: {why}" for _, _, _, why in CHANGES] if "build" in parts else []
    for line in (*NOT_REHEARSED, *changes):
        say(f"  - {line}")
    say("\nA rehearsal proves nothing about a Mac. On one with Apple silicon, one command does:\n")
    say(f"  {COMMAND}\n\nand its answer means:")
    for answer, meaning in ANSWERS.items():
        say(f"  {answer}: {meaning}")


def _go_inside(words: Sequence[str], part: str) -> None:
    if namespace.go_inside("tests.rehearsal_mac", [*words, "--inside", part]):
        raise Failed(f"the part `{part}` is not as it must be: see above")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s rehearse-mac --", description=__doc__)
    parser.add_argument("--build-python", type=Path, required=True)
    parser.add_argument("--verify-python", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=HERE / ".work" / "rehearsal-mac")
    parser.add_argument("--part", choices=PARTS, help="one of the two alone")
    parser.add_argument("--wheel", type=Path, help="the Mac's wheel to verify "
                        "(default: the cross-built one in wheels/macos-arm64)")  # fmt: skip
    parser.add_argument("--stand-in", type=Path, help="the wheel of Linux that runs in its place "
                        "(default: the one in wheels/)")  # fmt: skip
    names = [each.name for each in SCENARIOS]
    parser.add_argument("--scenario", action="append", default=[], choices=names, metavar="NAME",
                        help=f"one alone; may be repeated: {', '.join(names)}")  # fmt: skip
    parser.add_argument("--inside", choices=PARTS, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rehearsal; return 0 where everything ended as it must."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(words)
    folder, parts = arguments.folder.resolve(), [arguments.part] if arguments.part else PARTS
    building = native.Stage(
        folder=folder / "build",
        # Not resolved: an environment is known by the place of its interpreter's link.
        python=arguments.build_python.absolute(),
        cache=open_workspace(HERE, os.environ).cache,
    )
    begun = time.monotonic()
    try:
        if arguments.inside == "build":
            build_inside(building)
            return 0
        mac, linux = verification.the_wheels(arguments.wheel, arguments.stand_in)
        verifying = verification.Stage(
            folder=folder / "verify",
            python=arguments.verify_python.absolute(),
            build_python=building.python,
            mac_wheel=mac,
            linux_wheel=linux,
        )
        if arguments.inside == "verify":
            verify_inside(verifying, arguments.scenario)
            return 0
        with step("What the inside needs"):
            verification.prepare(verifying)
        if "build" in parts:
            with step("The inputs of the build"):
                native.prepare(building)
            _go_inside(words, "build")
            read_the_wheel(building, verifying.python, verifying.work, mac)
            # Before the verification makes as much again.
            sweep(building.folder)
        if "verify" in parts:
            with step(f"The verification of {mac.name}, under the policy macos-arm64"):
                _go_inside(words, "verify")
        sweep(folder)
    except (Failed, namespace.NoNamespace) as error:
        say(f"\nFAILED: {error}")
        if not arguments.inside:
            say(told_where(folder))
        return 1
    close(parts)
    say(f"\nThe rehearsal is whole ({time.monotonic() - begun:.0f} s).")
    return 0
