"""The conversion proof as checks of a run: fewer packages and texts than the command's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..conversion.outcome import EXACT, HALF, PACKAGE, judge
from ..conversion.package import promised_macos
from ..conversion.proof import Setting, prove
from ..environment.context import TargetContext
from ..errors import CannotWrite, VerifyError
from ..policy.result import CheckResult

_TEXTS, _QUICK_TEXTS = 16, 4
_BUCKET = 128


def conversion(context: TargetContext) -> Sequence[CheckResult]:
    """Evaluate what the provider emits for one bucket, in both precisions.

    A run is to stay short: `python -m verify conversion` takes every bucket and every reference
    text. With ``--quick`` it is single precision and four texts. Where the provider emits
    nothing, or cannot be asked, the three checks are ``not-run`` with the reason.
    """
    precisions: tuple[Literal["fp32", "fp16"], ...] = (
        ("fp32",) if context.quick else ("fp32", "fp16")
    )
    try:
        measured = prove(
            context,
            buckets=(min(_BUCKET, context.encoder.buckets[-1]),),
            precisions=precisions,
            setting=Setting(minimum_os=promised_macos(context.wheels["candidate"].name)),
            texts=_QUICK_TEXTS if context.quick else _TEXTS,
            say=context.say,
        )
    except CannotWrite:
        raise  # which says nothing of the wheel
    except VerifyError as error:
        return [
            CheckResult(id=name, status="not-run", summary=error.problem, hint=error.hint)
            for name in (PACKAGE, EXACT, HALF)
        ]
    limits = context.policy.limits
    return judge(measured, exact=limits.conversion_exact_min, half=limits.conversion_half_min)
