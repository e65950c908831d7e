"""Which form of the encoder a precision means, and what ``auto`` means here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import VerifyError
from ..graph import Output, ensure_graph
from ..graph import Precision as Exact
from ..model_recipe import EncoderSpec, file_sha256
from .prepare import ensure_prepared
from .processor import FAST, integer_instructions, saturating
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
    }
}
"""Worst cosine over the reference texts that is proven, by the weights' sha256. The check
``embedding.agreement`` measures it again; other weights have none, and auto is fp32 there."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A precision, and in a few words why it is this one."""

    precision: Precision
    why: str


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


def chosen(precision: Precision, provider: str, weights: Path, least: float) -> Choice:
    """Return the precision, ``auto`` resolved, and why.

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
        return Choice(precision=precision, why="asked for")
    here = integer_instructions()
    fast = [name for name in here if name in FAST]
    proven = WORST.get(file_sha256(weights), {}) if fast and weights.is_file() else {}
    form = next((form for form in FASTEST if proven.get(form, -1.0) >= least), None)
    if provider != "cpu":
        why = "the forms in eight bits are for the CPU provider"
    elif not fast:
        why = f"no fast products of bytes on this processor ({', '.join(here) or 'none at all'})"
    elif form is None:
        why = f"of these weights no form is proven to keep {least:g}"
    elif (saturating() or {}).get("u8u8"):
        why = "products of unsigned bytes saturate on this processor"
    else:
        why = f"the fastest that is proven to keep {least:g}, by {fast[0]}"
        return Choice(precision=form, why=why)
    return Choice(precision="fp32", why=why)
