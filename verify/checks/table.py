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
    """One entry of the table.

    Parameters
    ----------
    id : str
        Dotted name, ``group.name``.
    title : str
        A few words for tables.
    run : str
        ``module:function``, imported only where the check runs.
    doc : str
        What the check catches, one or two sentences.
    place : {"target", "host", "wheel"}
        In the environment that holds the wheel; in the verification's own, which starts others
        in it; or on the bytes of the wheel alone, on any host, where nothing is executed.
    needs : tuple of {"official"}
        Environments needed beside the candidate's.
    quick : bool
        Whether ``--quick`` runs it.
    timeout : float
        Seconds after which the check is ended and counts as failed.
    """

    id: str
    title: str
    run: str
    doc: str
    place: Place = "target"
    needs: tuple[Role, ...] = ()
    quick: bool = True
    timeout: float = 900.0

    def function(self) -> CheckFunction:
        """Import and return the check's function."""
        return cast("CheckFunction", load_function(self.run))


_MACHO = (
    (
        "macho.load",
        "What macOS loads",
        True,
        "Architecture, platform, oldest macOS, libraries, install names, rpaths, flags and "
        "protections as in the official binaries, and no build path. Catches a dylib that is "
        "found, or loads, on the building machine alone.",
    ),
    (
        "macho.imports",
        "Imports exist on macOS",
        True,
        "Every imported symbol by library: frameworks and Python as the official binaries, libc++ "
        "and libSystem proven by published wheels. Catches a symbol that is missing on the oldest "
        "macOS, where dyld then refuses the whole file.",
    ),
    (
        "macho.objc",
        "Objective-C as declared by Apple",
        True,
        "Selectors, classes, blocks, strings, and each call read back from the code: which "
        "registers it sets, how wide, which numbers. Catches a declaration with a wrong type.",
    ),
    (
        "macho.exports",
        "Exports are the C API",
        True,
        "The export tries, name by name. Catches a dylib without OrtGetApiBase, and one that "
        "offers its insides to every other library in the process.",
    ),
    (
        "macho.layout",
        "Stripped and mappable",
        True,
        "Local and debugging symbols, UUID, segments, and section sizes beside the official "
        "ones. Catches a wheel that ships its symbols, or that the kernel cannot map.",
    ),
    (
        "macho.signature",
        "Code signature holds",
        False,
        "Every page hash recomputed, and nothing beyond the signed part. Catches a file that was "
        "changed after signing, which Apple silicon kills at load.",
    ),
    (
        "macho.wheel",
        "The macOS wheel is whole",
        False,
        "Name, tags, RECORD, the files inside and where libraries come from. Catches a tag that "
        "promises an older macOS than the binaries need.",
    ),
)

CHECKS: tuple[Check, ...] = (
    Check(
        id="wheel.identity",
        title="Wheel is the built one",
        run=".checks.wheel_identity_inside:wheel_identity",
        doc=(
            "Version, commit and the hash of every installed file equal the manifest. Catches a "
            "wheel that was swapped or edited, and a second onnxruntime that shadows it."
        ),
    ),
    Check(
        id="provider.registered",
        title="CoreML is listed",
        run=".checks.providers_inside:provider_registered",
        doc=(
            "CoreMLExecutionProvider is among the available providers and a session takes it. "
            "Catches a wheel built without CoreML."
        ),
    ),
    Check(
        id="provider.executes",
        title="CoreML executes",
        run=".checks.providers_inside:provider_executes",
        doc=(
            "A graph runs with CPU fallback disabled, and the profile of the encoder shows which "
            "provider ran each node. Catches a provider that is listed and does nothing, and "
            "silent fallback to the CPU."
        ),
    ),
    Check(
        id="coverage.partitions",
        title="One CoreML partition",
        run=".coverage.provider_inside:coverage",
        doc=(
            "The provider's own count of partitions for every static graph. Catches the encoder "
            "being cut into pieces that run slower than the CPU."
        ),
    ),
    Check(
        id="coverage.nodes",
        title="Nodes taken by CoreML",
        run=".coverage.provider_inside:coverage",
        doc=(
            "The share of nodes that the provider takes, with the reason for each node left "
            "behind. Catches operators that the converter does not know."
        ),
    ),
    Check(
        id="conversion.package",
        title="CoreML packages are whole",
        run=".checks.conversion_proof:conversion",
        place="host",
        doc=(
            "Manifest, specification version and weights of the packages that the provider "
            "emits. Catches a package that Core ML would refuse, or read wrongly."
        ),
    ),
    Check(
        id="conversion.exact",
        title="Conversion computes the same",
        run=".checks.conversion_proof:conversion",
        place="host",
        doc=(
            "The emitted programs, evaluated operation by operation, against the CPU provider. "
            "Catches a converter that changes what the model computes, and names the operation."
        ),
    ),
    Check(
        id="conversion.half",
        title="Half precision holds",
        run=".checks.conversion_proof:conversion",
        place="host",
        doc=(
            "The same with every intermediate value rounded to half precision. Catches overflow "
            "and values that vanish before anyone meets them as NaN or zero vectors."
        ),
    ),
    Check(
        id="embedding.reference",
        title="Embeddings are right",
        run=".checks.embedding_inside:embedding_reference",
        doc=(
            "Embeddings of the reference texts against torch float64, in several batch sizes and "
            "orders, and before normalising. Catches swapped or damaged weights, NaN, zero "
            "vectors and padding that leaks into results."
        ),
    ),
    Check(
        id="embedding.agreement",
        title="Precisions agree",
        run=".checks.embedding_inside:embedding_agreement",
        doc=(
            "Every executable provider, graph form and precision against the fp32 CPU result, and "
            "the order of neighbours in a similarity set. Catches half precision that is finite "
            "but wrong."
        ),
    ),
    Check(
        id="latency.p95",
        title="P95 of one query",
        run=".checks.latency_p95:latency_p95",
        place="host",
        doc=(
            "Upper confidence bound of the 95th percentile, text in to vector out. Catches slow "
            "tails that a mean or a median hides."
        ),
        timeout=1800.0,
    ),
    Check(
        id="latency.cold",
        title="Cold start",
        run=".checks.latency_cold:latency_cold",
        place="host",
        doc="Import, session creation and first run in fresh processes. Catches slow restarts.",
        quick=False,
    ),
    Check(
        id="latency.speedup",
        title="Speed against others",
        run=".checks.latency_speedup:latency_speedup",
        place="host",
        doc=(
            "Ratio of times against the same wheel's CPU provider and the official wheel, with a "
            "confidence interval. Catches an accelerator that slows things down."
        ),
        needs=("official",),
        quick=False,
    ),
    Check(
        id="concurrency.threads",
        title="Threads share a session",
        run=".checks.load_inside:concurrency_threads",
        doc="Several threads on one session: equal results, throughput and P95 under load.",
    ),
    Check(
        id="memory.growth",
        title="Memory does not grow",
        run=".checks.load_inside:memory_growth",
        doc="Resident memory over thousands of runs. Catches leaks.",
        quick=False,
    ),
    Check(
        id="robustness.inputs",
        title="Bad inputs are refused",
        run=".checks.robustness_inside:robustness_inputs",
        doc=(
            "Wrong type, rank, token id, length and an empty batch: a clean exception each time, "
            "and the session works afterwards."
        ),
    ),
    *(
        Check(
            id=name,
            title=title,
            run=".checks.macho_reading:macho",
            place="wheel",
            needs=("official",) if beside else (),
            doc=doc,
        )
        for name, title, beside, doc in _MACHO
    ),
)


def check_ids() -> list[str]:
    """Return every check's id in the order of the table."""
    return [check.id for check in CHECKS]
