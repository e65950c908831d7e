"""The rehearsed Mac in its parts: what it says of itself, what stands in, and when it must fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from build.fetch.wanted import plan_fetch
from build.recipe.load import load_recipe
from tests.kit import macho_examples
from tests.rehearsal.commands import HERE, Failed
from tests.rehearsal_mac import checkout, run, verification
from tests.rehearsal_mac.comparison import differences, equal_but_for_the_version
from tests.rehearsal_mac.machine import SYSTEM, compile_kernel_name
from tests.rehearsal_mac.programs import Parts, compiler_program, system_programs
from tests.rehearsal_mac.scenarios import POLICY, SCENARIOS
from tests.rehearsal_mac.system import hooks, session
from verify.checks.policies import find_policy
from verify.checks.table import check_ids
from verify.conversion.outcome import DEVICE
from verify.latency import machine

GO = SCENARIOS[0]


def a_python(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SYSTEM), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_its_python_is_one_of_a_mac() -> None:
    code = """
import multiprocessing, os, platform, sys, sysconfig, urllib.request, psutil
print(sys.platform, platform.mac_ver()[0], multiprocessing.get_start_method(),
      sysconfig.get_config_var("EXT_SUFFIX").rpartition("-")[2], hasattr(os, "sched_getaffinity"),
      hasattr(psutil.Process, "cpu_affinity"), psutil.virtual_memory().total > 0)
"""
    assert a_python(code) == ["darwin", "15.5", "spawn", "darwin.so", "False", "False", "True"]


def test_its_memory_is_counted_in_bytes_and_it_has_no_proc() -> None:
    code = """
import resource
resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    open("/proc/self/status")
except FileNotFoundError as error:
    print(resident > 4 << 20, error.filename)
"""
    assert a_python(code) == ["True", "/proc/self/status"]


@pytest.mark.integration
@pytest.mark.skipif(not shutil.which("cc"), reason="NOT SHOWN: uname() by the preloaded library")
def test_its_kernel_is_darwin(tmp_path: Path) -> None:
    library = compile_kernel_name(tmp_path)
    done = subprocess.run(
        ["uname", "-sm"], env={"LD_PRELOAD": str(library), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["Darwin", "arm64"]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    toolchain = tmp_path / "tool chain"
    toolchain.mkdir()
    (toolchain / "clang++").write_text("#!/bin/sh\necho compiled $*\n")
    (toolchain / "clang++").chmod(0o755)
    return Parts(
        toolchain=toolchain, sdk=tmp_path / "SDK", llvm=tmp_path, loader="",
        zig=toolchain / "clang++", log=tmp_path / "calls.txt",
    )  # fmt: skip


def run_script(folder: Path, name: str, text: str, *words: str) -> tuple[int, str]:
    script = folder / name
    script.write_text(text)
    script.chmod(0o755)
    done = subprocess.run([str(script), *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_xcrun_names_the_sdk_and_the_compiler_and_runs_it(parts: Parts, tmp_path: Path) -> None:
    text = system_programs(parts)["xcrun"]

    def xcrun(*words: str) -> tuple[int, str]:
        return run_script(tmp_path, "xcrun", text, *words)

    assert xcrun("--sdk", "macosx", "--show-sdk-path") == (0, str(parts.sdk))
    assert xcrun("--find", "clang++") == (0, str(parts.toolchain / "clang++"))
    assert xcrun("clang++", "-c", "a.cc") == (0, "compiled -c a.cc")
    assert xcrun("--find", "metal")[0] == 64
    assert "xcrun --find metal" in parts.log.read_text()


def test_what_a_stand_in_does_not_know_fails(parts: Parts, tmp_path: Path) -> None:
    programs = system_programs(parts)
    assert run_script(tmp_path, "codesign", programs["codesign"], "--sign", "-", "x")[0] == 64
    assert run_script(tmp_path, "codesign", programs["codesign"], "--verify", "x") == (0, "")
    assert run_script(tmp_path, "sw_vers", programs["sw_vers"], "-productVersion") == (0, "15.5")


def test_the_compiler_calls_itself_apples_to_cmake_alone(parts: Parts, tmp_path: Path) -> None:
    text = compiler_program(parts)
    assert run_script(tmp_path, "zig", text, "clang", "--version")[1].startswith("Apple clang")
    asked = run_script(tmp_path, "zig", text, "clang", "CMakeCXXCompilerId.cpp")[1]
    assert "-D__apple_build_version__" in asked
    assert "-D" not in run_script(tmp_path, "zig", text, "clang", "-c", "CompilerIdea.cc")[1]


def test_the_changed_recipe_lets_every_input_come_from_a_registry(tmp_path: Path) -> None:
    checkout.make_checkout(tmp_path / "copy")
    recipes = tmp_path / "copy" / "recipes"
    recipe = load_recipe(recipes / f"{checkout.RECIPE}.toml", recipes=recipes)
    inputs = plan_fetch(recipe, "macos-arm64", "registry", host="macos-arm64")
    lacking = [each.name for each in inputs if each.required and not each.origins]
    assert lacking == []
    assert {"coremltools", "protoc_mac_universal"} <= {each.name for each in inputs}


def test_a_recipe_that_says_otherwise_is_no_rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkout, "CHANGES", ((f"{checkout.RECIPE}.toml", "no such", "", "why"),))
    with pytest.raises(Failed, match="why"):
        checkout.make_checkout(tmp_path / "copy")


def test_every_scenario_names_checks_that_exist_and_that_decide() -> None:
    required = find_policy(POLICY).required
    assert len({each.name for each in SCENARIOS}) == len(SCENARIOS)
    assert (GO.decision, GO.code, GO.checks, GO.expected) == ("GO", 0, (), {})
    failing = SCENARIOS[1:]
    assert len(failing) >= 10
    for each in failing:
        assert each.code in (1, 2)
        assert each.expected, each.name
        assert each.sentence, each.name
        if each.device:
            assert set(each.expected) == {DEVICE}
            continue
        assert set(each.expected) <= set(each.checks) <= set(check_ids())
        assert all(required[name] for name in each.expected)


def a_run(**changes: Any) -> verification.Ran:
    headline = "REHEARSAL: GO: " + GO.sentence
    report = {
        "host": {"kind": "macos-arm64-rehearsed"},
        "verdict": {"decision": "GO", "headline": headline, "paragraph": "A REHEARSAL."},
        "checks": [{"id": "provider.executes", "status": "passed", "summary": "it ran"}],
    }
    pages = {"report.html": "a REHEARSAL", "junit.xml": "macos-arm64-rehearsed"}
    ran = verification.Ran(scenario=GO, code=0, said="", report=report, pages=pages, seconds=1.0)
    return replace(ran, **changes)


def with_report(**changes: Mapping[str, Any] | list[Any]) -> verification.Ran:
    return a_run(report={**a_run().report, **changes})


def test_what_ended_right_is_right() -> None:
    assert verification.wrong(a_run()) == []


@pytest.mark.parametrize(
    ("ran", "problem"),
    [
        (a_run(code=1), "exit code 1"),
        (with_report(verdict={**a_run().report["verdict"], "decision": "NO-GO"}), "NO-GO, not GO"),
        (
            with_report(checks=[{"id": "latency.p95", "status": "failed", "summary": "slow"}]),
            "latency.p95 did not pass either",
        ),
        (a_run(scenario=replace(GO, sentence="something else")), "nowhere is said"),
        (a_run(scenario=replace(GO, expected={"memory.growth": "failed"})), "is None, not failed"),
        (with_report(host={"kind": "macos-arm64"}), "the host's kind does not say"),
        (a_run(pages={"report.html": "GO"}), "report.html does not say"),
        (
            with_report(verdict={"decision": "GO", "headline": GO.sentence, "paragraph": "x"}),
            "its paragraph does not say",
        ),
    ],
)
def test_what_ended_otherwise_or_could_be_taken_for_a_mac_is_wrong(
    ran: verification.Ran, problem: str
) -> None:
    assert any(problem in each for each in verification.wrong(ran))


def a_module() -> Any:
    """Return what a session's module has, as far as the stand-in uses it."""
    runs: list[Any] = []

    class Real:
        def __init__(self, path: Any, options: Any = None, providers: Any = None, *_: Any) -> None:
            self.providers = [each if isinstance(each, str) else each[0] for each in providers]

        def get_providers(self) -> list[str]:
            return [*self.providers]

        def run(self, names: Any, feeds: Any) -> list[Any]:
            runs.append(feeds)
            return [np.asarray(feeds["x"]) * 2.0]

    bindings = SimpleNamespace(
        get_available_providers=lambda: [session.COREML, session.CPU],
        SessionOptions=SimpleNamespace,
    )
    return SimpleNamespace(InferenceSession=Real, C=bindings, runs=runs)


def a_session(path: str = "m.onnx", **scenario: Any) -> Any:
    module = a_module()
    session.stand_in(module, scenario)
    return module.InferenceSession(path, providers=[(session.COREML, {})])


FEEDS = {"x": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}


@pytest.mark.parametrize("watched", [True, False])
def test_coreml_answers_as_the_cpu_does_and_takes_the_time_that_is_set(
    watched: bool, tmp_path: Path
) -> None:
    module = a_module()
    session.stand_in(module, {"milliseconds": 30.0, "cpu_milliseconds": 50.0})
    options = {"ModelCacheDirectory": str(tmp_path)} if watched else {}
    made = module.InferenceSession("m.onnx", providers=[(session.COREML, options)])
    assert made.providers == [session.COREML if watched else session.CPU]  # the real one
    begun = session.now()
    for _ in range(2):
        np.testing.assert_array_equal(made.run(["y"], FEEDS)[0], FEEDS["x"] * 2)
    assert 60e6 < session.now() - begun < 60.1e6
    assert len(module.runs) == 1  # what was computed once is remembered
    assert session.COREML in made.get_providers()
    on_cpu = module.InferenceSession("m.onnx", providers=[session.CPU])
    assert on_cpu.get_providers() == [session.CPU]
    begun = session.now()
    np.testing.assert_array_equal(on_cpu.run(["y"], FEEDS)[0], FEEDS["x"] * 2)
    assert 50e6 < session.now() - begun < 50.1e6


def test_what_the_machine_does_beside_it_is_no_part_of_a_calls_time() -> None:
    made, begun = a_session(milliseconds=1.0), session.now()
    until = time.thread_time() + 0.02  # as of a processor that a neighbour slows
    while time.thread_time() < until:
        pass
    made.run(["y"], FEEDS)
    assert 1e6 < session.now() - begun < 1.1e6


def test_the_machine_is_one_that_does_nothing_else() -> None:
    module = SimpleNamespace(
        between=machine.between,
        others_share=lambda: lambda: 0.7,
        stolen_share=lambda: lambda: 0.2,
        loops=lambda _: iter([{"processor": 15}, {"processor": 40}]),
    )
    before = machine.read_counters()
    hooks._alone(module)
    hooks._steady(module)
    found = module.between(replace(before, busy=before.busy - 60), machine.read_counters())
    assert found.alone
    assert module.others_share()() == 0.0
    assert module.stolen_share()() is None
    loops = module.loops(None)
    assert [next(loops)["processor"] for _ in range(2)] == [15, 15]


@pytest.mark.parametrize("fault", ["half", "nan", "threads"])
def test_a_fault_changes_the_answers(fault: str) -> None:
    made = a_session("m-fp16.onnx", fault=fault, milliseconds=0.0)
    assert not np.array_equal(made.run(["y"], FEEDS)[0], FEEDS["x"] * 2)


def test_half_precision_alone_is_wrong_where_half_precision_is() -> None:
    np.testing.assert_array_equal(a_session(fault="half").run(["y"], FEEDS)[0], FEEDS["x"] * 2)


def test_a_stale_cache_is_stale_from_the_second_session_on(tmp_path: Path) -> None:
    module = a_module()
    session.stand_in(module, {"fault": "stale cache", "milliseconds": 0.0})
    providers = [(session.COREML, {"ModelCacheDirectory": str(tmp_path)})]
    first, second = (
        module.InferenceSession("m.onnx", providers=providers).run(["y"], FEEDS)[0]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, FEEDS["x"] * 2)
    assert not np.array_equal(first, second)


def test_what_is_not_listed_is_not_there() -> None:
    module = a_module()
    session.hide(module.C, {"fault": "not listed"})
    assert module.C.get_available_providers() == [session.CPU]
    assert a_session(fault="stub").get_providers() == [session.CPU]
    with pytest.raises(RuntimeError, match="could not be compiled"):
        a_session(fault="no session")


def test_a_difference_that_nobody_knows_has_no_reason(tmp_path: Path) -> None:
    import zipfile

    for name, members in (("a.whl", {"x.py": "1"}), ("b.whl", {"x.py": "2"})):
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            for member, text in members.items():
                wheel.writestr(member, text)
            wheel.writestr("o-1.dist-info/RECORD", name)
    found = dict(differences(tmp_path / "a.whl", tmp_path / "b.whl"))
    assert found["x.py (other content)"] == ""
    assert found["o-1.dist-info/RECORD (other content)"]


def test_the_digest_in_a_library_is_known_and_nothing_else() -> None:
    plain = macho_examples.stored("library")
    at = plain.index(b"stringWithUTF8String:")
    one, other, third = (
        macho_examples.patched(plain, at, words)
        for words in (b"+ortmill.01234567", b"+ortmill.89abcdef", b"+ortmill 01234567")
    )
    assert equal_but_for_the_version(one, other)
    assert not equal_but_for_the_version(one, third)
    assert not equal_but_for_the_version(one, b"no library")


def test_the_scenario_reaches_every_process_by_its_home(tmp_path: Path) -> None:
    (tmp_path / "scenario.json").write_text(json.dumps(GO.settings()))
    code = "import sys; sys.path.insert(0, sys.argv[1]); import hooks; print(hooks.scenario())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(SYSTEM)], env={"HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "'milliseconds': 1.0" in done.stdout


def test_the_command_for_a_mac_and_its_answers_are_in_the_docs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (HERE / "docs" / "rehearsal.md").read_text(encoding="utf-8")
    for where in (page, (HERE / "README.md").read_text(encoding="utf-8")):
        assert run.COMMAND in where
    run.close(run.PARTS)
    said = capsys.readouterr().out
    assert run.COMMAND in said
    for answer in run.ANSWERS:
        assert f"{answer}: " in said
        assert answer in page
    for line in run.NOT_REHEARSED:
        assert f"- {line}\n" in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert all(any(row.startswith(f"| `{each.name}` |") for row in rows) for each in SCENARIOS)
