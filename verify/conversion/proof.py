"""Make the packages with the wheel, measure them on this host, name what departs."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..coverage.advice import cure, never_runs
from ..encoder.graph import Precision
from ..encoder.reference import default_folder, load_texts
from ..environment.channel import Worker, call
from ..environment.context import TargetContext
from ..errors import VerifyError
from ..sentence import Say
from .device import Placed, plans_differ, read_profile, summary
from .emit_inside import GRAPH_LINE
from .evaluate import first_departure
from .measure import drowned, models_own, refused, stored_values
from .outcome import too_far
from .package import (
    NamesAlike,
    Package,
    find_packages,
    graph_values,
    known_values,
    map_names,
    read_package,
)
from .program import Program, load_program, same_but_names

ACCUMULATE_TEXTS = 4
WORKERS = 2
MEASURE_SECONDS = 4 * 3600.0
_DOING = {"emit": "made no session with CoreML", "values": "gave no values of its CPU provider"}


class ProofError(VerifyError):
    """The conversion proof could not be carried out."""

    title = "conversion"


class InputsRefused(ProofError):
    """There is nothing to feed the model with, or it does not run on what it was given."""


class KernelRefused(ProofError):
    """The CPU provider has a kernel of an operator that takes no inputs at all as the node is."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One graph with what belongs to it on disk.

    ``width`` is the length of its texts; a graph of a user's has ``feeds``, a file of inputs.
    """

    label: str
    path: Path
    folder: Path
    width: int = 0
    feeds: Path | None = None

    @property
    def values(self) -> Path:
        """The CPU provider's values at the edges of the partitions."""
        return self.folder / "values.npz"

    def wanted(self, values: Sequence[str], file: Path) -> dict[str, Any]:
        """Return the part of a payload that asks for these values in a file."""
        entry = {"graph": str(self.path), "values": list(values), "file": str(file)}
        return entry | ({"feeds": str(self.feeds)} if self.feeds else {"width": self.width})


@dataclass(frozen=True, kw_only=True)
class Cases:
    """What every graph is run on: texts, or the rows of the graph's own file of inputs.

    ``names`` are the cases' names, for people.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What the cases are called."""
        return "texts" if self.texts else "inputs"

    def only(self, place: int) -> dict[str, Any]:
        """Return the part of a payload that asks for one case."""
        return {"texts": [self.texts[place]] if self.texts else []}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of every package: the oldest macOS to read it, and whether Core ML is here.

    Where ``minimum_os`` is empty nobody has promised one.
    """

    minimum_os: str
    device: bool = False


def prove(
    context: TargetContext,
    *,
    buckets: Sequence[int],
    precisions: Sequence[Precision],
    setting: Setting,
    texts: int | None = None,
    say: Say,
) -> list[dict[str, Any]]:
    """Measure every package of every graph of the encoder; see :func:`prove_graphs`.

    ``buckets`` are sequence lengths; with ``texts`` only so many of the reference texts are used.

    Raises
    ------
    ProofError
        When the wheel makes no session with CoreML, or a process dies.
    """
    chosen = load_texts(default_folder())[0][:texts]
    if not chosen:
        raise ProofError("There is no text to prove anything with.", hint="--texts 8, or more.")
    home = fresh_home(context)
    graphs = []
    for precision in precisions:
        for width in buckets:
            say(f"graph [1,{width}] {precision}")
            graphs.append(
                Graph(
                    label=f"static [1,{width}] {precision}{context.encoder.form}",
                    width=width,
                    path=context.graph(static=(1, width), precision=precision),
                    folder=home / f"{width}-{precision}",
                )
            )
    cases = Cases(
        names=tuple(entry.id for entry in chosen), texts=tuple(entry.text for entry in chosen)
    )
    return prove_graphs(context, graphs, cases, setting, say=say)


def fresh_home(context: TargetContext) -> Path:
    """Return the proof's folder below the context's, without what an earlier one left there."""
    home = context.work / "conversion"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    return home


def prove_graphs(
    context: TargetContext, graphs: Sequence[Graph], cases: Cases, setting: Setting, *, say: Say
) -> list[dict[str, Any]]:
    """Measure every package that the provider emits for these graphs.

    Returns
    -------
    list of dict
        An entry for each package; see :func:`verify.conversion.measure.measure`. An exact
        evaluation that departs has ``departure`` too: the operation, in a sentence.

    Raises
    ------
    ProofError
        When the wheel makes no session with CoreML, or a process dies.
    """
    say(f"{len(graphs)} sessions with CoreML")
    pairs = [{"graph": str(g.path), "folder": str(g.folder)} for g in graphs]
    said = _call(context, "emit", {"graphs": pairs, "profile": setting.device})
    if not setting.minimum_os:
        raise ProofError(
            "Nobody promises a macOS for these packages: the wheel is for another system, and its "
            "version has no build recipe.",
            hint="Name one: `python -m verify conversion WHEEL --minimum-os 13.3`.",
        )
    jobs = _jobs(context, graphs, cases, setting, say)
    try:
        found = [
            _located(context, job, answer, cases, say)
            for job, answer in zip(jobs, measure_all(context, jobs, say), strict=True)
        ]
    finally:
        for graph in graphs:
            graph.values.unlink(missing_ok=True)
    return _profiled(found, jobs, said) if setting.device else found


def check_names(context: TargetContext, graph: Graph, renamed: Path, *, say: Say) -> None:
    """Make sure that new names of a graph's values change the provider's packages in nothing else.

    Raises
    ------
    NamesAlike
        When they do, so that the renamed graph would prove nothing of the graph.
    """
    say("packages as the model is named")
    homes = [graph.folder, graph.folder.with_name("packages-compared")]
    pairs = zip((graph.path, renamed), homes, strict=True)
    asked = [{"graph": str(path), "folder": str(home)} for path, home in pairs]
    _call(context, "emit", {"graphs": asked, "profile": False})
    one, two = map(_programs, homes)
    if len(one) != len(two) or not all(map(_same, one, two)):
        raise NamesAlike(
            "The provider spells values of the graph alike, and writes another program where they "
            "have other names.",
            hint="Export the model with names that differ in letters and digits.",
        )


def _programs(folder: Path) -> list[Program | None]:
    """Load the programs in a folder; ``None`` for one that coremltools will refuse again."""
    found: list[Program | None] = []
    for each in find_packages(folder):
        try:
            found.append(load_program(read_package(each)))
        except Exception:  # whatever coremltools raises
            found.append(None)
    return found


def _same(one: Program | None, two: Program | None) -> bool:
    if one is None or two is None:
        return one is two
    return same_but_names(one, two)


def measure_all(
    context: TargetContext, jobs: Sequence[Mapping[str, Any]], say: Say
) -> list[dict[str, Any]]:
    """Share the jobs out to processes of one thread each; return the answers in the jobs' order."""
    shares: list[list[int]] = [[] for _ in range(min(WORKERS, len(jobs)))]
    for place in sorted(range(len(jobs)), key=lambda place: -int(jobs[place]["cost"])):
        min(shares, key=lambda share: sum(jobs[other]["cost"] for other in share)).append(place)
    workers = [
        Worker(
            Path(sys.executable),
            ".conversion.measure:measure_jobs",
            [{key: jobs[place][key] for key in jobs[place].keys() - {"graph"}} for place in share],
            work=context.work,
            context=context.to_job(),
            # Two processes with two threads each would fight for two cores.
            variables=dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"),
            say=lambda check, text: say(text),
        )
        for share in shares
    ]
    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            answers = list(pool.map(lambda worker: call(worker, MEASURE_SECONDS), workers))
        finally:
            for worker in workers:
                worker.kill()
    found: dict[int, dict[str, Any]] = {}
    for share, answer in zip(shares, answers, strict=True):
        if answer.failure:
            labels = ", ".join(str(jobs[place]["label"]) for place in share)
            raise ProofError(
                f"There is no result for {labels}: the evaluation's process {answer.failure}.",
                hint="Out of memory? Try one bucket at a time.",
                context={"last lines": answer.tail},
            )
        found.update(zip(share, answer.value, strict=True))
    return [found[place] for place in range(len(jobs))]


def spread(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` numbers below ``count``, evenly apart, the first one 0."""
    return sorted({int(place) for place in np.linspace(0, count - 1, min(count, wanted))})


def _jobs(
    context: TargetContext, graphs: Sequence[Graph], cases: Cases, setting: Setting, say: Say
) -> list[dict[str, Any]]:
    """Ask the CPU provider for the values at the packages' edges and return the workers' jobs."""
    jobs, wanted = [], []
    everything = list(range(len(cases.names)))
    for graph in graphs:
        there = graph_values(graph.path)
        keys: dict[str, str] = {}
        for number, folder in enumerate(find_packages(graph.folder)):
            package = read_package(folder)
            names = map_names([*package.inputs, *package.outputs], there)
            for value in names.values():
                keys.setdefault(value, f"v{len(keys)}")
            jobs.append(
                {
                    "label": f"{graph.label} #{number}" if number else graph.label,
                    "package": str(folder),
                    "values": str(graph.values),
                    "names": names,
                    "keys": keys,  # shared by the graph's packages, whole when all are read
                    "minimum_os": setting.minimum_os,
                    "device": setting.device,
                    "graph": graph,
                    "cost": _cost(package),
                    "cases": list(cases.names),
                    "what": cases.what,
                    "modes": {
                        "exact": everything,
                        "fp16": everything,
                        "fp16-accumulate": spread(len(everything), ACCUMULATE_TEXTS),
                    },
                }
            )
        if keys:
            wanted.append(graph.wanted(list(keys), graph.values))
    if wanted:
        say(f"{len(everything)} {cases.what} on the CPU provider, {len(wanted)} graphs")
        _call(context, "values", {"graphs": wanted, "texts": list(cases.texts)})
    return jobs


def edge_values(graph: Graph) -> dict[str, None]:
    """Return the ONNX values at the edges of a graph's packages, each once, in order."""
    there = graph_values(graph.path)
    edges: dict[str, None] = {}
    for folder in find_packages(graph.folder):
        package = read_package(folder)
        names = map_names([*package.inputs, *package.outputs], there)
        edges.update(dict.fromkeys(names.values()))
    return edges


def _cost(package: Package) -> int:
    """Return how many elements the outputs have times operations: to share work out evenly."""
    elements: int = sum(
        math.prod(part.constant.size for part in op.outputs[0].type.tensorType.dimensions)
        for op in package.block.operations
        if op.outputs and op.type != "const"
    )
    return max(1, elements)


def _call(context: TargetContext, name: str, payload: Mapping[str, Any]) -> str:
    """Run the target's part; return what it said on standard error."""
    call = context.call(f".conversion.emit_inside:{name}", payload, timeout=900.0)
    if call.value is not True:
        if "while running" in call.sentence and any("feeds" in each for each in payload["graphs"]):
            if never := never_runs(call.sentence):
                raise KernelRefused(f"The model runs on no inputs: {call.sentence}", hint=never)
            raise InputsRefused(
                f"The model does not run on these inputs: {call.sentence}",
                hint="Give some that it takes, with --range INPUT=LOW:HIGH or your own with "
                "--inputs FILE.",
            )
        raise ProofError(
            f"The wheel's onnxruntime {_DOING[name]}: {call.sentence}",
            hint=cure(call.sentence)
            or "`python -m verify run --only provider.registered` tells more of the wheel, "
            "`python -m verify coverage MODEL` of a model.",
        )
    return call.stderr


def _located(
    context: TargetContext,
    job: Mapping[str, Any],
    answer: dict[str, Any],
    cases: Cases,
    say: Say,
) -> dict[str, Any]:
    """Name the operation that departs, where the exact evaluation does."""
    exact = answer["modes"].get("exact")
    if exact is None or not too_far(exact):
        return answer
    say(f"{job['label']}: looking for the operation that departs")
    graph: Graph = job["graph"]
    package = read_package(Path(job["package"]))
    program = load_program(package)
    made = [name for operation in program.operations for name in operation.outputs]
    names = known_values([*program.inputs, *made], graph_values(graph.path))
    file = Path(job["package"]).parent / "inner.npz"
    values = list(dict.fromkeys(names.values()))
    worst = exact["worst_text"]
    entry = graph.wanted(values, file) | {"rows": [worst]}
    _call(context, "values", {"graphs": [entry], **cases.only(worst)})
    data, _ = stored_values(file, {value: f"v{place}" for place, value in enumerate(values)})
    file.unlink()
    known = {name: data[value][0] for name, value in names.items()}
    departure = first_departure(program, known)
    if departure and departure.nan_given:
        where = f"{names[departure.nan_given]}, before {departure.kind} {departure.name}"
        return {**answer, "modes": {}, "refused": models_own("NaN", where, worst)}
    if departure is None and (beyond := beyond_32_bits(data)):
        return {**answer, "departure": beyond}
    if departure is None and graph.feeds:
        # Every operation is right by itself: is the CPU provider as far from itself?
        edges = [names[name] for name in program.outputs if name in names]
        entry = graph.wanted(edges, file) | {"rows": exact["texts"]}
        call = context.call(".conversion.emit_inside:noise", entry, timeout=900.0)
        if isinstance(call.value, float):
            if 2 * call.value >= 1:  # twice as much is allowed, and an answer of zeros is off by 1
                return refused(answer, drowned(call.value))
            answer = {**answer, "noise": call.value}
    # What is left below the absolute tolerance is named too, by the share of its own value.
    departure = departure or first_departure(program, known, tolerance=1e-6, scale_least=1e-30)
    said = departure.sentence() if departure else f"no one of {len(program.operations)} operations"
    return {**answer, "departure": said}


def beyond_32_bits(data: Mapping[str, Any]) -> str:
    """Name the first value whose integers Core ML does not hold, as a clause; or nothing.

    The provider narrows them to 32 bits on the way in, so that every operation is right by itself.
    """
    info = np.iinfo(np.int32)
    for name, array in data.items():
        if array.dtype.kind in "iu" and array.size:
            low, high = int(array.min()), int(array.max())
            if low < info.min or high > info.max:
                return f"{name} in [{low}, {high}], and Core ML's integers have 32 bits"
    return ""


def _profiled(
    found: Sequence[dict[str, Any]], jobs: Sequence[Mapping[str, Any]], said: str
) -> list[dict[str, Any]]:
    """Add what the provider says of its own compute plan, and where the two plans differ."""
    parts = {
        head.strip(): read_profile(rest)
        for head, _, rest in (part.partition("\n") for part in said.split(GRAPH_LINE)[1:])
    }
    graphs = [str(job["graph"].path) for job in jobs]
    known = []
    for entry, graph in zip(found, graphs, strict=True):
        profile = parts.get(graph, ())
        device = entry.get("device", {})
        # The provider does not say which partition its lines are of.
        if device and profile and "error" not in device and graphs.count(graph) == 1:
            device = {**device, "provider": summary(profile)}
            if "plan" in device:
                plan = [Placed(**each) for each in device["plan"]]
                device["plans_differ"] = plans_differ(plan, profile)
        known.append({**entry, "device": device} if device else entry)
    return known
