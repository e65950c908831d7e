"""Policies and model recipes: strict loading, every mistake told at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from verify.checks.policies import find_policy, load_policy, policy_names
from verify.checks.table import CHECKS, check_ids
from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.errors import PolicyError, VerifyError
from verify.policy.limits import Policy

ROOT = Path(__file__).resolve().parents[3]
GOOD = """
schema = 1
name = "mine"
summary = "s"
gate_provider = "cpu"
[required]
"latency.p95" = true
[limits]
latency_p95_ms = 12
"""


def problems(tmp_path: Path, text: str) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    assert caught.value.exit_code == 3
    return caught.value.problem


@pytest.mark.parametrize("name", policy_names())
def test_our_policies_name_every_check_and_survive_json(name: str) -> None:
    policy = find_policy(name)
    about_bytes = {check.id for check in CHECKS if check.place == "wheel"}
    # The checks of a wheel's bytes belong to the policies about its kind; our standards to ours.
    prefix = "macho." if "macos" in name else "elf."
    named = {
        check
        for check in about_bytes
        if check.startswith(prefix) and (policy.own or not check.endswith(".standards"))
    }
    assert policy.own != name.startswith("promise-")
    assert set(policy.required) == set(check_ids()) - about_bytes | named
    assert Policy.from_json(policy.to_json()) == policy


def test_linux_does_not_require_execution_and_macos_does() -> None:
    assert not find_policy("linux").requires("provider.executes")
    assert find_policy("macos-arm64").requires("provider.executes")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    policy = find_policy(str(path))
    assert policy.limits.latency_p95_ms == 12
    assert policy.requires("latency.p95")
    assert not policy.requires("memory.growth")


def test_misspelt_keys_are_all_told_with_the_nearest_right_one(tmp_path: Path) -> None:
    text = GOOD.replace("latency_p95_ms = 12", "latency_p95_msec = 12\nmin_cosin = 0.9")
    text = text.replace('"latency.p95"', '"latncy.p95"').replace("summary", "sumary")
    said = problems(tmp_path, text)
    for near in ("latency_p95_ms", "min_cosine", "latency.p95", "summary"):
        assert f'did you mean "{near}"?' in said
    assert "limits.latency_p95_msec" in said


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("latency_p95_ms = 12", 'latency_p95_ms = "12"', "limits.latency_p95_ms"),
        ("latency_p95_ms = 12", "latency_p95_ms = -1", "limits.latency_p95_ms"),
        ("latency_p95_ms = 12", "min_cosine = 1.5", "limits.min_cosine"),
        ('= "cpu"', '= "gpu"', "gate_provider"),
        ("schema = 1", "schema = 2", "schema"),
        ('"latency.p95" = true', '"latency.p95" = 1', "required.latency.p95"),
        ('name = "mine"', "", "name"),
    ],
)
def test_wrong_values_are_refused_with_their_path(
    tmp_path: Path, old: str, new: str, where: str
) -> None:
    assert f"{where}:" in problems(tmp_path, GOOD.replace(old, new))


def test_not_toml_and_not_there(tmp_path: Path) -> None:
    assert "not valid TOML" in problems(tmp_path, "schema = ")
    assert problems(tmp_path, f"\ufeff{GOOD}x = 1") == problems(tmp_path, f"{GOOD}x = 1")
    (tmp_path / "utf16.toml").write_bytes(GOOD.encode("utf-16"))
    with pytest.raises(PolicyError, match="it is no UTF-8 text"):
        load_policy(tmp_path / "utf16.toml")
    with pytest.raises(PolicyError, match="There is no policy at"):
        load_policy(tmp_path / "none.toml")


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(PolicyError, match='did you mean "linux"'):
        find_policy("linus")


def test_the_models_recipe_is_read(tmp_path: Path) -> None:
    recipe = load_model_recipe(ROOT / "recipes" / "models" / "all-minilm-l6-v2.toml")
    assert (recipe.encoder.layers, recipe.encoder.hidden, recipe.encoder.max_length) == (
        6,
        384,
        256,
    )
    assert {item.name for item in recipe.files} == {"model.safetensors", "tokenizer.json"}
    with pytest.raises(VerifyError, match="is missing") as caught:
        recipe.check_files(tmp_path)
    assert "python -m build fetch-model all-minilm-l6-v2" in caught.value.hint
    with pytest.raises(VerifyError) as caught:
        recipe.check_files(tmp_path / "w" / "models" / recipe.name)
    assert f"fetch-model all-minilm-l6-v2 --work {tmp_path / 'w'}`" in caught.value.hint
    with pytest.raises(VerifyError) as caught:
        recipe.check_files(Path(".work/models/nowhere"))
    assert "--work" not in caught.value.hint
    for item in recipe.files:
        (tmp_path / item.name).write_bytes(b"other bytes")
    with pytest.raises(VerifyError, match="is not the pinned one"):
        recipe.check_files(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("heads = 12", "heads = 7", "not a multiple"),
        ("max_length = 256", "max_length = 1024", "positions"),
        ("buckets = [32, 64, 128, 256]", "buckets = [32, 64]", "buckets"),
        ("layers = 6", "layer = 6", 'did you mean "layers"'),
        ("layers = 6", "layers = 0", "layers: missing, or below 1"),
        ("[encoder]", "[encode]", "no .encoder. table"),
    ],
)
def test_mistakes_in_the_encoder_table(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = recipe_path("all-minilm-l6-v2").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PolicyError, match=said):
        load_model_recipe(path)
