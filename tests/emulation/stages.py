"""What is run on each emulated processor."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.emulation import judging
from tests.emulation.cases import make_cases, make_kernel_cases, run_cases
from tests.emulation.embeddings import GUEST, Job, make_job, read_answers, run_job
from tests.emulation.errors import CandidateBroken, EmulationError
from tests.emulation.instructions import read_trace
from tests.emulation.qemu import Ended, Profile, command, environment, run
from tests.emulation.root import Emulator
from tests.emulation.wheels import ArmWheel
from verify.differential.compare import compare
from verify.differential.store import Results, read_cases
from verify.encoder.model_recipe import EncoderSpec
from verify.policy.result import CheckResult

_IMPORT_PATIENCE = 120.0
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything that the profiles share.

    Parameters
    ----------
    emulator : Emulator
    wheel : ArmWheel
        The wheel under test.
    sites : Mapping[str, tuple of Path]
        Where Python finds ``candidate`` and, where there is one of its version, ``official``.
    work : Path
        Scratch folder; it exists.
    models : Path
        The model's files.
    encoder : EncoderSpec
    archive : Path
        The source archive of onnx.
    quick : bool
        A part of the texts.
    say, take : callable
        Take a line of progress, and a finished check.
    """

    emulator: Emulator
    wheel: ArmWheel
    sites: Mapping[str, tuple[Path, ...]]
    work: Path
    models: Path
    encoder: EncoderSpec
    archive: Path
    quick: bool
    say: Callable[[str], None]
    take: Callable[[CheckResult], None]
    jobs: list[Job] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def cases(self) -> Path:
        """The folder of the whole case set."""
        return self.work / "cases"

    @property
    def kernels(self) -> Path:
        """The folder of the exact products."""
        return self.work / "kernels"

    def prepare(self) -> None:
        """Make the cases, and tokenise the texts."""
        self.say("making the cases and tokenising the reference texts")
        count = make_cases(self.archive, self.cases)
        products = make_kernel_cases(self.kernels)
        self.jobs.append(make_job(self.models, self.encoder, self.work, quick=self.quick))
        texts = len(self.jobs[0].alone)
        self.say(f"{count} cases, {products} exact products among them; {texts} texts")


def run_profile(bench: Bench, profile: Profile) -> None:
    """Run every check on one processor; one that cannot be imported there ends with that."""
    work = bench.work / profile.name
    work.mkdir()
    facts, ended = about(bench, profile, "candidate", work)
    found = judging.judge_import(profile, bench.wheel, facts, ended.how, ended.tail)
    bench.take(found)
    if facts is None:
        return
    try:
        _compare_cases(bench, profile, work)
        _trace_kernels(bench, profile, work)
    except CandidateBroken as error:
        bench.take(judging.judge_broken(profile, error))
        return
    _embed(bench, profile, work)


def _compare_cases(bench: Bench, profile: Profile, work: Path) -> None:
    """Run the whole case set with both wheels and compare; judge the exact products."""
    results = _both(bench, lambda role: _run(bench, profile, role, bench.cases, work / role))
    if "official" in results:
        compared = compare(read_cases(bench.cases), results["official"], results["candidate"])
        path = work / "differential.json"
        path.write_text(json.dumps(compared.to_json(), indent=1) + "\n", encoding="utf-8")
        for check in judging.judge_comparison(profile, compared):
            bench.take(check)
    else:
        bench.take(judging.no_comparison(profile, bench.wheel))
    bench.take(judging.judge_kernels(profile, results["candidate"]))


def _trace_kernels(bench: Bench, profile: Profile, work: Path) -> None:
    """Run the exact products once more, and see which instructions they reach."""

    def traced(role: str) -> dict[str, int]:
        trace = work / f"{role}.in_asm"
        _run(bench, profile, role, bench.kernels, work / f"{role}-kernels", trace=trace)
        found = read_trace(trace)
        trace.unlink(missing_ok=True)
        return found

    traces = _both(bench, traced)
    bench.take(judging.judge_instructions(profile, traces["candidate"], traces.get("official")))


def _embed(bench: Bench, profile: Profile, work: Path) -> None:
    """Run the reference texts with the wheel under test."""
    job = bench.jobs[0]
    ended, out = run_job(
        bench.emulator,
        profile,
        job,
        site=bench.sites["candidate"],
        work=work,
        say=bench.say,
    )
    answers = read_answers(job, out) if not ended.how and out.is_file() else None
    bench.take(judging.judge_embeddings(profile, answers, len(job.alone), ended.how, ended.tail))


def _run(
    bench: Bench,
    profile: Profile,
    role: str,
    cases: Path,
    stem: Path,
    *,
    trace: Path | None = None,
) -> Results:
    try:
        return run_cases(
            bench.emulator,
            profile,
            site=bench.sites[role],
            cases=cases,
            journal=stem.with_name(f"{stem.name}.jsonl"),
            label=f"{role} on {profile.name}{', traced' if trace else ''}",
            say=bench.say,
            trace=trace,
            cancel=bench.cancel,
        )
    except EmulationError as error:
        if role == "candidate":
            raise CandidateBroken(error.problem, hint=error.hint, context=error.context) from error
        raise


def about(
    bench: Bench, profile: Profile, role: str, work: Path
) -> tuple[dict[str, Any] | None, Ended]:
    """Import a wheel; return what it says of itself (None where it cannot be imported)."""
    out = work / f"about-{role}.json"
    log = work / f"about-{role}.log"
    ended = run(
        command(bench.emulator, profile, [str(GUEST), "about", str(out)]),
        environment(*bench.sites[role]),
        log=log,
        still=lambda: log.stat().st_size,
        patience=_IMPORT_PATIENCE,
    )
    if ended.how or not out.is_file():
        return None, ended
    return json.loads(out.read_text(encoding="utf-8")), ended


def look_at_baseline(bench: Bench, profile: Profile) -> dict[str, Any]:
    """Say whether the wheels can be imported on the plainest processor; this is no check."""
    work = bench.work / profile.name
    work.mkdir()
    found: dict[str, Any] = {"cpu": profile.cpu, "meaning": profile.meaning}
    for role in bench.sites:
        facts, ended = about(bench, profile, role, work)
        found[role] = "imports" if facts else f"ends with {ended.how}"
    told = ", ".join(f"{role} {found[role]}" for role in bench.sites)
    bench.say(f"for information, {profile.meaning}: {told}")
    return found


def _both(bench: Bench, action: Callable[[str], T]) -> dict[str, T]:
    """Do something for each wheel at the same time: the emulators do the work, not threads."""
    with ThreadPoolExecutor(max_workers=len(bench.sites)) as pool:
        futures = {role: pool.submit(action, role) for role in bench.sites}
        try:
            return {role: future.result() for role, future in futures.items()}
        except BaseException:
            # The pool waits for the other emulator: it is not to run on.
            bench.cancel.set()
            raise
