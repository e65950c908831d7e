"""The form that a restarted service runs: CoreML's models out of the provider's cache."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kit.verify_examples import TINY, policy
from verify.checks import embedding_inside
from verify.checks.embedding_inside import CACHED, from_model_cache
from verify.environment.context import TargetContext


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
