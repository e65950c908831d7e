"""The verification of a Mac's wheel, whole, on the rehearsed Mac: one GO and every way to fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.rehearsal.commands import HERE, Failed
from tests.rehearsal_mac.scenarios import Scenario

MODEL = "all-minilm-l6-v2"
_BINDINGS = "onnxruntime/capi/onnxruntime_pybind11_state.so"
# The official wheel, and an environment of the wheel for Linux: it leaves behind the dependencies
# that every other environment is linked from.
_PREPARE = """
import sys
from pathlib import Path
from verify.environment import venv
from verify.environment.wheel_file import inspect_wheel
work, mac, linux = map(Path, sys.argv[1:])
venv.fetch_official(mac.name, work, say=print)
venv.make_candidate(inspect_wheel(linux, None), work, say=print)
"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the verification is rehearsed, with which wheels and interpreter.

    A work directory is one verification's at a time: ``lane`` names one of several.
    """

    folder: Path
    python: Path
    build_python: Path
    mac_wheel: Path
    linux_wheel: Path
    lane: str = "verify"

    @property
    def work(self) -> Path:
        """The verification's own work directory."""
        return self.folder / self.lane

    @property
    def models(self) -> Path:
        """The model's files."""
        return HERE / ".work" / "models" / MODEL

    @property
    def places(self) -> Path:
        """What the stand-ins must find."""
        return self.folder / "places.json"


def prepare(stage: Stage) -> None:
    """Bring what the inside needs: the model, the environments, the library that is run."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    words = ["build", "fetch-model", "--quiet"]
    subprocess.run([str(stage.build_python), "-m", *words], cwd=HERE, check=True)
    bindings = stage.folder / "bindings" / stage.linux_wheel.name / Path(_BINDINGS).name
    if not bindings.exists():
        bindings.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(stage.linux_wheel) as wheel:
            bindings.write_bytes(wheel.read(_BINDINGS))
    stage.places.write_text(json.dumps({"bindings": str(bindings)}), encoding="utf-8")
    words = [str(stage.work), str(stage.mac_wheel), str(stage.linux_wheel)]
    subprocess.run(
        [str(stage.python), "-c", _PREPARE, *words], cwd=HERE, env=_environment(), check=True
    )
    for other in lanes(stage)[1:]:
        for part in ("venvs", "official"):
            shutil.rmtree(other.work / part, ignore_errors=True)
            ignored = shutil.ignore_patterns("candidate-*", ".lock")
            shutil.copytree(
                stage.work / part, other.work / part, symlinks=True, ignore=ignored,
                copy_function=os.link,
            )  # fmt: skip


def lanes(stage: Stage) -> Sequence[Stage]:
    """Return the stages of verifications that run at once; the first is the one given.

    As many as this machine has processors, and at most two: what is rehearsed takes the scenario's
    time, so nobody disturbs another one.
    """
    return [stage, replace(stage, lane="verify-2")][: os.cpu_count() or 1]


def _environment(home: Path | None = None) -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found["PYTHONPATH"] = str(HERE)
    if home is not None:
        found["HOME"] = str(home)
        found["TMPDIR"] = str(home / "var")
    return found


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a scenario ended: the exit code, what it printed, and its report."""

    scenario: Scenario
    code: int
    said: str
    report: Mapping[str, Any]
    pages: Mapping[str, str]
    seconds: float


def _home(stage: Stage, scenario: Scenario) -> Path:
    return stage.folder / "Users of a Mac" / scenario.name


def forget(stage: Stage, scenario: Scenario) -> None:
    """Remove what a scenario has left in its home: the packages of every session, say."""
    shutil.rmtree(_home(stage, scenario), ignore_errors=True)


def run(stage: Stage, scenario: Scenario) -> Ran:
    """Run one scenario as a user of a Mac would: the real command, the real policy."""
    # As on a Mac: blanks in paths, and a temporary folder that is reached through a link.
    home = _home(stage, scenario)
    forget(stage, scenario)
    (home / "private var").mkdir(parents=True)
    (home / "var").symlink_to("private var")
    (home / "scenario.json").write_text(json.dumps(scenario.settings()), encoding="utf-8")
    shutil.rmtree(stage.work / "reports", ignore_errors=True)
    words = scenario.command(stage.mac_wheel, work=stage.work, models=stage.models)
    begun = time.monotonic()
    done = subprocess.run(
        [str(stage.python), "-m", *words],
        cwd=HERE, env=_environment(home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Ran(
        scenario=scenario,
        code=done.returncode,
        said=done.stderr,
        report=json.loads(done.stdout or "{}"),
        pages={}
        if scenario.device
        else {
            name: (stage.work / "reports" / name).read_text(encoding="utf-8")
            for name in ("report.html", "junit.xml")
            if (stage.work / "reports" / name).exists()
        },
        seconds=time.monotonic() - begun,
    )


def wrong(ran: Ran) -> Sequence[str]:
    """Say in what a scenario ended otherwise than it must; empty where it is right."""
    scenario, problems = ran.scenario, []
    if ran.code != scenario.code:
        problems.append(f"exit code {ran.code}, not {scenario.code}: {ran.said[-600:]}")
    verdict = ran.report.get("verdict", {})
    checks = {each["id"]: each for each in ran.report.get("checks", ())}
    if scenario.decision and verdict.get("decision") != scenario.decision:
        problems.append(f"the verdict is {verdict.get('decision')}, not {scenario.decision}")
    for name, status in scenario.expected.items():
        found = checks.get(name, {}).get("status")
        if found != status:
            problems.append(
                f"{name} is {found}, not {status}: {checks.get(name, {}).get('summary')}"
            )
    others = {
        name: each["summary"]
        for name, each in checks.items()
        if each["status"] in ("failed", "inconclusive")
        and name not in scenario.expected
        and each.get("required", True)
    }
    problems += [f"{name} did not pass either: {said}" for name, said in others.items()]
    said = [verdict.get("headline", ""), *(str(each["summary"]) for each in checks.values())]
    if scenario.sentence not in " ".join(" ".join(said).split()):
        problems.append(f"nowhere is said: {scenario.sentence}")
    return [*problems, *_unmarked(ran)]


def _unmarked(ran: Ran) -> Sequence[str]:
    """Say where a report could be taken for one of a Mac."""
    host, verdict = ran.report.get("host"), ran.report.get("verdict")
    kind = host["kind"] if isinstance(host, Mapping) else host
    places = {"the host's kind": str(kind), **ran.pages}
    if verdict:
        places |= {"the verdict": verdict["headline"], "its paragraph": verdict["paragraph"]}
    return [f"{place} does not say that it is a rehearsal" for place, text in places.items()
            if "rehears" not in text.lower()]  # fmt: skip


def told(ran: Ran) -> str:
    """Return the verdict, and what was said of the first check that must not pass."""
    verdict = ran.report.get("verdict", {})
    bad = [each for each in ran.report.get("checks", ()) if each["id"] in ran.scenario.expected]
    said = f"{bad[0]['id']}: {bad[0]['summary']}" if bad else str(verdict.get("headline"))
    return f"{verdict.get('decision', '')} {said}".strip()[:400]


def the_wheels(mac: Path | None, linux: Path | None) -> tuple[Path, Path]:
    """Return the Mac's wheel to verify, and the one of Linux that runs in its place.

    Raises
    ------
    Failed
        One is not there.
    """
    found = []
    for given, folder in ((mac, HERE / "wheels" / "macos-arm64"), (linux, HERE / "wheels")):
        wheels = sorted(folder.glob("onnxruntime-*.whl"), key=lambda w: w.stat().st_mtime)
        if not (given or wheels):
            raise Failed(f"there is no wheel in {folder}: build it first")
        if given and not given.is_file():
            raise Failed(f"there is no wheel {given}")
        found.append((given or wheels[-1]).resolve())
    return found[0], found[1]
