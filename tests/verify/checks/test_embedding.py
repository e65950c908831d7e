"""Which forms are compared with fp32, by which limits, and CoreML out of its model cache."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit import tiny_model
from tests.kit.verify_examples import TINY, policy
from verify.checks import embedding_inside
from verify.checks.embedding_inside import (
    CACHED,
    Comparison,
    agreement_numbers,
    agreement_result,
    embedding_agreement,
    from_model_cache,
)
from verify.environment.context import TargetContext
from verify.errors import VerifyError
from verify.policy.limits import form_limit


def a_context(tmp_path: Path, host: str) -> TargetContext:
    return TargetContext(
        role="candidate", work=tmp_path, model_dir=tmp_path, encoder=TINY, policy=policy(),
        host=host,
    )  # fmt: skip


def test_the_cached_form_is_compared_where_it_can_run(tmp_path: Path) -> None:
    on_a_mac = dict(embedding_inside._variants(a_context(tmp_path, "macos-arm64")))
    elsewhere = dict(embedding_inside._variants(a_context(tmp_path, "linux-x86_64")))
    assert on_a_mac.keys() - elsewhere.keys() == {CACHED}


def test_one_cache_is_filled_by_every_model_and_then_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str, list[int]]] = []

    class Recorded:
        buckets = (32, 64)

        def __init__(self, precision: str, folder: str) -> None:
            self.widths: list[int] = []
            made.append((precision, folder, self.widths))

        def session(self, width: int) -> None:
            self.widths.append(width)

    @contextmanager
    def from_recipe(*_: Any, precision: str, session: Any, provider: str, **__: Any) -> Any:
        assert provider == "coreml"
        yield Recorded(precision, session.provider_options["ModelCacheDirectory"])

    monkeypatch.setattr(embedding_inside.Embedder, "from_recipe", from_recipe)
    with from_model_cache(a_context(tmp_path, "macos-arm64")):
        folder = Path(made[0][1])
        assert folder.is_dir()
    assert not folder.exists()
    assert [(precision, widths) for precision, _, widths in made] == [
        ("fp32", [32, 64]), ("fp16", [32, 64]), ("fp32", []),
    ]  # fmt: skip
    assert {place for _, place, _ in made} == {str(folder)}


def compared(way: str, cosine: float) -> tuple[Comparison, float]:
    found = Comparison(
        way=way, not_finite=0, zeros=0, cosine=cosine, max_abs=0.0, norm=0.0, worst_text="dots"
    )
    return found, 0.98


@pytest.mark.parametrize(
    ("form", "cosine", "status"),
    [
        ("int8", 0.9991, "passed"),
        ("int8", 0.9989, "failed"),
        ("int8-fast", 0.9911, "passed"),
        ("int8-fast", 0.9899, "failed"),
    ],
)
def test_a_form_is_held_to_its_own_limit(form: str, cosine: float, status: str) -> None:
    found = [compared("cpu fp16", 0.99999), compared(f"cpu {form}", cosine)]
    numbers = agreement_numbers(found, form)
    limits = policy().limits
    result = agreement_result(found, numbers, limits, broken=[], evidence={"not_run": {}})
    assert (result.status, result.measured) == (status, cosine)
    assert result.limit == getattr(limits, form_limit(form))
    assert f"cpu {form}" in result.summary


def test_no_form_loosens_what_the_others_must_keep() -> None:
    found = [compared("cpu fp16", 0.995), compared("cpu int8-fast", 0.9999)]
    numbers = agreement_numbers(found, "int8-fast")
    result = agreement_result(found, numbers, policy().limits, broken=[], evidence={"not_run": {}})
    assert result.status == "failed"
    assert "agreement_min_cosine = 0.999" in result.summary


def on_cpu(tmp_path: Path, form: Any) -> TargetContext:
    return TargetContext(
        role="candidate", work=tmp_path / "work", model_dir=tiny_model.write(tmp_path),
        encoder=TINY, policy=policy({}, agreement_int8_min=0.5).with_precision(form), quick=True,
        host="linux-x86_64",
    )  # fmt: skip


def test_the_policys_form_is_compared_and_its_record_is_evidence(tmp_path: Path) -> None:
    result = embedding_agreement(on_cpu(tmp_path, "int8"))
    forms = result.evidence["forms"]
    assert result.evidence["judged"]["agreement_int8_min"] == forms["cpu int8"]["cosine"]
    told = result.evidence["form"]
    assert (told["precision"], told["prepared_on"]["saturates"]["u8u8"]) == ("int8", False)


@pytest.mark.parametrize("fault", ["saturates", "refused"])
def test_a_form_that_saturates_or_cannot_be_made_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    context = on_cpu(tmp_path, "int8")
    if fault == "saturates":
        monkeypatch.setattr(embedding_inside, "saturating", lambda: {"u8s8": True, "u8u8": True})
        words = "products of unsigned bytes, of which int8 is made, saturate here"
    else:
        made = embedding_inside._variants

        def without_int8(context: TargetContext) -> Any:
            def broken() -> Any:
                raise VerifyError("it cannot be made.")

            return [(name, broken if name == "cpu int8" else make) for name, make in made(context)]

        monkeypatch.setattr(embedding_inside, "_variants", without_int8)
        words = "cpu int8 did not run: it cannot be made."
    result = embedding_agreement(context)
    assert result.status == "failed"
    assert words in result.summary
