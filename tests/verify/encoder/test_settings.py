"""Session settings, and the profile of a machine: used where it fits, passed over where not."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.fetch.cache import default_cache_root
from tests.kit import tiny_model
from tests.kit.verify_examples import TINY, policy
from verify import Embedder
from verify.encoder.embedder import EmbedderError, SessionSettings
from verify.encoder.settings import Profile, Tuning, profile_path, read_profile
from verify.environment.context import TargetContext
from verify.errors import VerifyError
from verify.hardware import fingerprint, hardware

FLAG = st.none() | st.booleans()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTMILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return tiny_model.write(folder)


def profile(**changes: Any) -> Profile:
    here = hardware()
    made = Profile(
        machine={**here, "fingerprint": fingerprint(here)},
        wheel=onnxruntime.__version__,
        model=TINY.name,
        precision="fp32",
        tuning=Tuning(threads=1, spinning=False),
        measured={},
    )
    return replace(made, **changes)


def write(path: Path, found: Profile) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.to_json()), encoding="utf-8")
    return path


def threads(embedder: Embedder) -> int:
    return int(embedder.session().get_session_options().intra_op_num_threads)


@pytest.mark.parametrize(
    "variables",
    [{}, {"XDG_CACHE_HOME": "/somewhere"}, {"ORTMILL_CACHE": "~/mine"}, {"XDG_CACHE_HOME": ""}],
)
def test_profiles_lie_in_the_cache_of_the_build(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ORTMILL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
        if name in variables:
            monkeypatch.setenv(name, variables[name])
    folder = default_cache_root(os.environ) / "tuned"
    assert profile_path("m", "int8") == folder / "m-int8.json"


def test_no_settings_are_onnxruntimes_own() -> None:
    own, ours = onnxruntime.SessionOptions(), Tuning().options()
    for name in (
        "intra_op_num_threads", "graph_optimization_level", "enable_cpu_mem_arena",
        "enable_mem_pattern", "execution_mode",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(own, name), name


def test_every_setting_reaches_the_session() -> None:
    made = Tuning(
        threads=3, spinning=False, graph="basic", arena=False, memory_pattern=False,
        flush_denormals=True,
    ).options()  # fmt: skip
    assert made.intra_op_num_threads == 3
    assert made.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert not made.enable_cpu_mem_arena
    assert not made.enable_mem_pattern
    assert made.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert made.get_session_config_entry("session.set_denormal_as_zero") == "1"


@given(
    st.builds(
        Tuning,
        threads=st.none() | st.integers(1, 4096),
        spinning=FLAG,
        graph=st.sampled_from([None, "none", "basic", "extended"]),
        arena=FLAG,
        memory_pattern=FLAG,
        flush_denormals=FLAG,
    )
)
def test_a_profile_is_read_as_it_was_written(tuning: Tuning) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "p.json", profile(tuning=tuning))
        assert read_profile(path) == profile(tuning=tuning)
    assert tuning.describe()


def test_a_profile_in_the_cache_is_used_and_its_vectors_are_the_same(model: Path) -> None:
    with Embedder.from_recipe(model, TINY) as plain:
        assert plain.profile is None
        wanted = plain.embed(["a b c"])
        assert threads(plain) == 0
    write(profile_path(TINY.name, "fp32"), profile())
    with Embedder.from_recipe(model, TINY) as tuned:
        assert tuned.profile == profile()
        assert threads(tuned) == 1
        assert abs(tuned.embed(["a b c"]) - wanted).max() < 1e-6


def test_a_file_may_be_named_and_the_profile_left_out(model: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.json", profile())
    with Embedder.from_recipe(model, TINY, session=SessionSettings(profile=path)) as named:
        assert threads(named) == 1
    write(profile_path(TINY.name, "fp32"), profile())
    with Embedder.from_recipe(model, TINY, session=SessionSettings(profile=False)) as without:
        assert without.profile is None
        assert threads(without) == 0


def test_a_service_without_a_home_has_no_profile(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("~nobody-of-that-name/x", "x" * 5000, "/dev/null"):
        monkeypatch.setenv("ORTMILL_CACHE", place)
        with Embedder.from_recipe(model, TINY) as made:
            assert made.profile is None


def test_what_the_caller_says_comes_first(model: Path, tmp_path: Path) -> None:
    path = write(profile_path(TINY.name, "fp32"), profile())
    with Embedder.from_recipe(model, TINY, threads=2) as asked:
        assert threads(asked) == 2
    options = SessionSettings(options=onnxruntime.SessionOptions())
    with Embedder.from_recipe(model, TINY, session=options) as asked:
        assert threads(asked) == 0
    named = SessionSettings(profile=path)
    for more in ({"threads": 2}, {"provider": "coreml"}):
        with pytest.raises(EmbedderError, match="neither threads nor session options"):
            Embedder.from_recipe(model, TINY, session=named, **more)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wheel": "0.9"}, "for the onnxruntime 0.9, and this is"),
        ({"model": "other"}, "for the model other, and this is tiny"),
        ({"precision": "int8"}, "for the precision int8, and this is fp32"),
        ({"machine": {"cpu": "Another", "fingerprint": "0"}}, "another machine.*cpu Another, here"),
    ],
)
def test_another_profile_is_passed_over_and_that_is_said(
    model: Path, changes: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(profile_path(TINY.name, "fp32"), profile(**changes))
    for asked in (True, path):
        caplog.clear()
        with (
            caplog.at_level(logging.WARNING),
            Embedder.from_recipe(model, TINY, session=SessionSettings(profile=asked)) as made,
        ):
            assert made.profile is None
            assert threads(made) == 0
        (line,) = caplog.messages
        assert "passed over" in line
        assert re.search(said, line)


BROKEN: dict[str, Callable[[Path], object]] = {
    "no file": lambda path: path.unlink(missing_ok=True),
    "no JSON": lambda path: path.write_text("{", encoding="utf-8"),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "no object": lambda path: path.write_text("[]", encoding="utf-8"),
    "no machine": lambda path: path.write_text('{"wheel": "1"}', encoding="utf-8"),
    "another schema": lambda path: write(path, profile(schema=2)),
    "no threads": lambda path: write(path, profile(tuning=Tuning(threads=0))),
    "unknown": lambda path: path.write_text(
        json.dumps({**profile().to_json(), "tuning": {"spin": 1}}), encoding="utf-8"
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_profile_is_an_error_when_named_and_passed_over_when_found(
    model: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(profile_path(TINY.name, "fp32"), profile())
    BROKEN[how](path)
    with pytest.raises(VerifyError, match="profile"):
        Embedder.from_recipe(model, TINY, session=SessionSettings(profile=path))
    with Embedder.from_recipe(model, TINY) as made:
        assert made.profile is None
        assert threads(made) == 0
    assert ("passed over" in caplog.text) == (how != "no file")


def test_the_verification_uses_no_profile(model: Path, tmp_path: Path) -> None:
    context = TargetContext(
        role="candidate", work=tmp_path, model_dir=model, encoder=TINY, policy=policy()
    )
    write(profile_path(TINY.name, "fp32"), profile())
    with context.embedder() as plain, context.embedder(tuning=Tuning(threads=2)) as tuned:
        assert plain.profile is tuned.profile is None
        assert (threads(plain), threads(tuned)) == (0, 2)
