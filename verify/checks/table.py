"""The one table of checks: what each is called, where it runs and what it catches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from ..environment.channel import load_function
from ..policy.result import CheckResult

if TYPE_CHECKING:
    from ..environment.context import TargetContext

Role = Literal["candidate", "official"]
Place = Literal["target", "host", "wheel"]
CheckFunction = Callable[["TargetContext"], CheckResult | Sequence[CheckResult]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One entry of the table: everything that a run, a verdict and the documents say of a check.

    Parameters
    ----------
    id : str
        Dotted name, ``group.name``.
    title : str
        A few words for tables.
    catches : str
        What is measured and which faults that finds, one or two sentences.
    proves : str
        What the verdict may say once the check has passed; a clause without a full stop.
    run : str
        The function, see :func:`~verify.environment.channel.load_function`; imported only where
        the check runs. Checks with the same one are answered by one call of it.
    place : {"target", "host", "wheel"}
        In the environment that holds the wheel; in the verification's own, which starts others
        in it; or on the bytes of the wheel alone, on any host, where nothing is executed.
    needs : tuple of {"official"}
        Environments needed beside the candidate's.
    limits : tuple of str
        Names of the policy's limits that decide; the first is the result's ``limit``. Whether a
        number must reach a limit or not exceed it is the limit's own (`verify.policy.limits`).
    judged_by : {"numbers", "samples"}
        What ``judge`` decides by when it judges a run again: the numbers in
        ``CheckResult.evidence["judged"]``, or the raw latency samples. A check without limits
        stays as it was.
    advice : str
        What the verdict advises once a number of the check is over its limit; or empty.
    quick : bool
        Whether ``--quick`` runs it.
    timeout : float
        Seconds after which the check is ended and counts as failed.
    """

    id: str
    title: str
    catches: str
    proves: str
    run: str
    place: Place = "target"
    needs: tuple[Role, ...] = ()
    limits: tuple[str, ...] = ()
    judged_by: Literal["numbers", "samples"] = "numbers"
    advice: str = ""
    quick: bool = True
    timeout: float = 900.0

    def function(self) -> CheckFunction:
        """Import and return the check's function."""
        return cast("CheckFunction", load_function(self.run))


CHECKS: tuple[Check, ...] = (
    Check(
        id="wheel.identity",
        title="Wheel is the built one",
        catches=(
            "Version, commit and the hash of every installed file equal the manifest. Catches a "
            "wheel that was swapped or edited, and a second onnxruntime that shadows it."
        ),
        proves="the installed wheel is, file by file, the one that the build wrote down",
        run=".checks.wheel_identity_inside:wheel_identity",
    ),
    Check(
        id="provider.registered",
        title="CoreML is listed",
        catches=(
            "CoreMLExecutionProvider is among the available providers and a session takes it. "
            "Catches a wheel built without CoreML."
        ),
        proves="the CoreML provider is in the wheel and a session takes it",
        run=".checks.providers_inside:provider_registered",
    ),
    Check(
        id="provider.executes",
        title="CoreML executes",
        catches=(
            "A graph runs with CPU fallback disabled, and the profile of the encoder shows which "
            "provider ran each node. Catches a provider that is listed and does nothing, and "
            "silent fallback to the CPU."
        ),
        proves="CoreML executed the encoder on this host, without silent fallback",
        run=".checks.providers_inside:provider_executes",
    ),
    Check(
        id="coverage.partitions",
        title="One CoreML partition",
        catches=(
            "The provider's own count of partitions for every static graph. Catches the encoder "
            "being cut into pieces that run slower than the CPU."
        ),
        proves="the CoreML converter takes the encoder without cutting it into pieces",
        run=".coverage.provider_inside:coverage",
        limits=("coverage_partitions_max",),
    ),
    Check(
        id="coverage.nodes",
        title="Nodes taken by CoreML",
        catches=(
            "The share of nodes that the provider takes, with the reason for each node left "
            "behind. Catches operators that the converter does not know."
        ),
        proves="the CoreML converter takes nearly all of the encoder's nodes",
        run=".coverage.provider_inside:coverage",
        limits=("coverage_nodes_min",),
    ),
    Check(
        id="conversion.package",
        title="CoreML packages are whole",
        catches=(
            "Manifest, specification version and weights of the packages that the provider emits. "
            "Catches a package that Core ML would refuse, or read wrongly."
        ),
        proves="the emitted Core ML packages are whole",
        run=".checks.conversion_proof:conversion",
        place="host",
    ),
    Check(
        id="conversion.exact",
        title="Conversion computes the same",
        catches=(
            "The emitted programs, evaluated operation by operation, against the CPU provider. "
            "Catches a converter that changes what the model computes, and names the operation."
        ),
        proves="the emitted Core ML programs compute what the CPU computes",
        run=".checks.conversion_proof:conversion",
        place="host",
        limits=("conversion_exact_min",),
    ),
    Check(
        id="conversion.half",
        title="Half precision holds",
        catches=(
            "The same with every intermediate value rounded to half precision. Catches overflow "
            "and values that vanish before anyone meets them as NaN or zero vectors."
        ),
        proves="they do so in half precision as well",
        run=".checks.conversion_proof:conversion",
        place="host",
        limits=("conversion_half_min",),
    ),
    Check(
        id="embedding.reference",
        title="Embeddings are right",
        catches=(
            "Embeddings of the reference texts against torch float64, in several batch sizes and "
            "orders, and before normalising. Catches swapped or damaged weights, NaN, zero "
            "vectors and padding that leaks into results."
        ),
        proves="the embeddings equal torch float64 within the limits",
        run=".checks.embedding_inside:embedding_reference",
        limits=("min_cosine", "max_abs", "norm_tolerance"),
    ),
    Check(
        id="embedding.agreement",
        title="Precisions agree",
        catches=(
            "Every executable provider, graph form and precision against the fp32 CPU result, and "
            "the order of neighbours in a similarity set. Catches half precision that is finite "
            "but wrong."
        ),
        proves="the graph forms and precisions that run here agree",
        run=".checks.embedding_inside:embedding_agreement",
        limits=("agreement_min_cosine", "agreement_rank_min"),
    ),
    Check(
        id="latency.p95",
        title="P95 of one query",
        catches=(
            "Upper confidence bound of the 95th percentile, text in to vector out. Catches slow "
            "tails that a mean or a median hides."
        ),
        proves="the P95 of one query is within the budget",
        run=".checks.latency_p95:latency_p95",
        place="host",
        limits=("latency_p95_ms",),
        judged_by="samples",
        advice=(
            "No provider here holds the latency budget: the plan's fallback is the bridge, a "
            "Python process that serves the vectors from a runtime that holds it; shorter texts "
            "or a smaller model are the other ways out."
        ),
        timeout=1800.0,
    ),
    Check(
        id="latency.cold",
        title="Cold start",
        catches="Import, session creation and first run in fresh processes. Catches slow restarts.",
        proves="a cold start is within its limit",
        run=".checks.latency_cold:latency_cold",
        place="host",
        limits=("cold_session_ms_max",),
        quick=False,
    ),
    Check(
        id="latency.speedup",
        title="Speed against others",
        catches=(
            "Ratio of times against the same wheel's CPU provider and the official wheel, with a "
            "confidence interval. Catches an accelerator that slows things down."
        ),
        proves="it is not slower than what it is compared with",
        run=".checks.latency_speedup:latency_speedup",
        place="host",
        needs=("official",),
        limits=("speedup_over_cpu_min", "speedup_over_official_min"),
        quick=False,
    ),
    Check(
        id="concurrency.threads",
        title="Threads share a session",
        catches="Several threads on one session: equal results, throughput and P95 under load.",
        proves="threads may share one session",
        run=".checks.load_inside:concurrency_threads",
    ),
    Check(
        id="memory.growth",
        title="Memory does not grow",
        catches="Resident memory over thousands of runs. Catches leaks.",
        proves="memory does not grow",
        run=".checks.load_inside:memory_growth",
        limits=("memory_growth_mb_max",),
        quick=False,
    ),
    Check(
        id="robustness.inputs",
        title="Bad inputs are refused",
        catches=(
            "Wrong type, rank, token id, length and an empty batch: a clean exception each time, "
            "and the session works afterwards."
        ),
        proves="bad inputs are refused and do no harm",
        run=".checks.robustness_inside:robustness_inputs",
    ),
    Check(
        id="macho.load",
        title="What macOS loads",
        catches=(
            "Architecture, platform, oldest macOS, libraries, install names, rpaths, flags and "
            "protections as in the official binaries, and no build path. Catches a dylib that is "
            "found, or loads, on the building machine alone."
        ),
        proves="macOS finds in the binaries what it must load, as in the official ones",
        run=".checks.macho_reading:macho",
        place="wheel",
        needs=("official",),
    ),
    Check(
        id="macho.imports",
        title="Imports exist on macOS",
        catches=(
            "Every imported symbol by library: frameworks and Python as the official binaries, "
            "libc++ and libSystem proven by published wheels. Catches a symbol that is missing on "
            "the oldest macOS, where dyld then refuses the whole file."
        ),
        proves="every imported symbol exists on the oldest macOS",
        run=".checks.macho_reading:macho",
        place="wheel",
        needs=("official",),
    ),
    Check(
        id="macho.objc",
        title="Objective-C as declared by Apple",
        catches=(
            "Selectors, classes, blocks, strings, and each call read back from the code: which "
            "registers it sets, how wide, which numbers. Catches a declaration with a wrong type."
        ),
        proves="the code calls Objective-C as the official binaries do",
        run=".checks.macho_reading:macho",
        place="wheel",
        needs=("official",),
    ),
    Check(
        id="macho.exports",
        title="Exports are the C API",
        catches=(
            "The export tries, name by name. Catches a dylib without OrtGetApiBase, and one that "
            "offers its insides to every other library in the process."
        ),
        proves="the binaries export the C API and nothing else",
        run=".checks.macho_reading:macho",
        place="wheel",
        needs=("official",),
    ),
    Check(
        id="macho.layout",
        title="Stripped and mappable",
        catches=(
            "Local and debugging symbols, UUID, segments, and section sizes beside the official "
            "ones. Catches a wheel that ships its symbols, or that the kernel cannot map."
        ),
        proves="the binaries are stripped and can be mapped",
        run=".checks.macho_reading:macho",
        place="wheel",
        needs=("official",),
    ),
    Check(
        id="macho.signature",
        title="Code signature holds",
        catches=(
            "Every page hash recomputed, and nothing beyond the signed part. Catches a file that "
            "was changed after signing, which Apple silicon kills at load."
        ),
        proves="the code signatures hold",
        run=".checks.macho_reading:macho",
        place="wheel",
    ),
    Check(
        id="macho.wheel",
        title="The macOS wheel is whole",
        catches=(
            "Name, tags, RECORD, the files inside and where libraries come from. Catches a tag "
            "that promises an older macOS than the binaries need."
        ),
        proves="the wheel's tags and RECORD are honest",
        run=".checks.macho_reading:macho",
        place="wheel",
    ),
)


def check_ids() -> list[str]:
    """Return every check's id in the order of the table."""
    return [check.id for check in CHECKS]


def find_check(check_id: str) -> Check:
    """Return the check of that id; there is one."""
    return next(check for check in CHECKS if check.id == check_id)
