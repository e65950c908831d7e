"""Which form of the encoder a precision means, and what ``auto`` means here."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from ...errors import VerifyError
from ..graph import Output, ensure_graph
from ..graph import Precision as Exact
from ..model_recipe import EncoderSpec, file_sha256
from .prepare import ensure_prepared
from .variants import PREPARED, Prepared

Precision = Literal[Exact, Prepared, "auto"]

AUTO_LEAST = 0.999
"""What ``auto`` may cost where nothing else is said: the shipped policies' agreement."""

FASTEST: tuple[Prepared, ...] = ("int8-fast", "int8")
"""Fastest first."""

WORST: dict[str, dict[str, float]] = {
    # sentence-transformers/all-MiniLM-L6-v2
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db": {
        "int8": 0.999,
        "int8-fast": 0.99,
    },
}
"""Worst cosine over the reference texts that is proven, by the weights' sha256. The check
``embedding.agreement`` measures it again; other weights have none, and auto is fp32 there."""

_INTEGER = {
    "amx_int8": "amx-int8",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx2": "avx2",
    "i8mm": "i8mm",
    "asimddp": "dotprod",
}
_FAST = {"amx-int8", "avx512-vnni", "avx-vnni", "i8mm", "dotprod"}


def ensure_form(
    model_dir: Path,
    encoder: EncoderSpec,
    directory: Path,
    *,
    static: tuple[int, int] | None = None,
    precision: Precision = "fp32",
    output: Output = "last_hidden_state",
) -> Path:
    """Return the path of the graph in a precision, made when it is not there.

    Raises
    ------
    VerifyError
        When the weights do not fit, the static shape is impossible, or ``auto`` was not resolved.
    """
    if precision == "fp32" or precision == "fp16":  # noqa: PLR1714 - mypy follows these two
        return ensure_graph(
            model_dir, encoder, directory, static=static, precision=precision, output=output
        )
    if precision == "auto":
        raise VerifyError('"auto" names no graph.', hint="Name a precision.")
    return ensure_prepared(
        model_dir, encoder, directory, variant=precision, static=static, output=output
    )


def chosen(precision: Precision, provider: str, weights: Path, least: float) -> Precision:
    """Return the precision, ``auto`` resolved.

    Auto is the fastest prepared form whose proven worst cosine is at least ``least``, on the CPU
    provider and on a processor that multiplies bytes faster than floats; fp32 everywhere else.

    Raises
    ------
    VerifyError
        When a form for the CPU provider is asked of another one.
    """
    if provider != "cpu" and precision in PREPARED:
        raise VerifyError(
            f'The precision "{precision}" is a form for the CPU provider.',
            hint='Use precision="fp32" or "fp16" with CoreML.',
        )
    if precision != "auto":
        return precision
    if provider != "cpu" or not _FAST & set(integer_instructions()) or not weights.is_file():
        return "fp32"
    proven = WORST.get(file_sha256(weights), {})
    return next((form for form in FASTEST if proven.get(form, -1.0) >= least), "fp32")


def integer_instructions(names: Collection[str] | None = None) -> tuple[str, ...]:
    """Return which instructions for products of bytes this processor has.

    Parameters
    ----------
    names : collection of str, optional
        The processor's features as Linux calls them; read from this machine when left out.

    Returns
    -------
    tuple of str
        Of amx-int8, avx512-vnni, avx-vnni, avx2, i8mm and dotprod, best first.
    """
    found = _features() if names is None else set(names)
    return tuple(name for feature, name in _INTEGER.items() if feature in found)


def _features() -> set[str]:
    if sys.platform == "darwin":
        return {
            feature
            for feature, key in (
                ("i8mm", "hw.optional.arm.FEAT_I8MM"),
                ("asimddp", "hw.optional.arm.FEAT_DotProd"),
                ("avx2", "hw.optional.avx2_0"),
            )
            if _sysctl(key) == "1"
        }
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    key = "flags" if platform.machine().lower() in ("x86_64", "amd64") else "Features"
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return set(value.split())
    return set()


def _sysctl(key: str) -> str:
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
