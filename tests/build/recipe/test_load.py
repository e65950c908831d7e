"""Recipes are read strictly: every fault at once, where it stands, and what was meant."""

from __future__ import annotations

import json
import re
import string
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from build.errors import RecipeError
from build.recipe.format import PLATFORMS, digest
from build.recipe.load import load_model_recipe, load_recipe
from build.recipe.schema import SCHEMAS, schema_text
from build.recipe.words import nearest
from tests.kit.recipe_examples import ROOT, SHA1, SHA256, SHIPPED, small

RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
MODELS = sorted((ROOT / "recipes" / "models").glob("*.toml"))


def faults(folder: Path, *edits: tuple[str, str]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(small(folder, *edits))
    first, *rest = caught.value.problem.splitlines()
    count = "1 fault" if len(rest) == 1 else f"{len(rest)} faults"
    assert first.endswith(f"has {count}:")
    assert caught.value.hint
    return [line.removeprefix("  - ") for line in rest]


def test_the_small_recipe_is_right(tmp_path: Path) -> None:
    recipe = load_recipe(small(tmp_path))
    assert [each.name for each in recipe.dependencies] == ["tiny", "helper"]
    assert recipe.defines == {"SWITCH": True, "COUNT": 3}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_shipped_recipe_loads_and_fits_the_schema(file: Path) -> None:
    recipe = load_recipe(file)
    assert file.stem == f"{recipe.name}-{recipe.version}"
    schema = json.loads((ROOT / "recipes" / "recipe.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(tomllib.loads(file.read_text(encoding="utf-8")), schema)
    for name in recipe.include:
        shared = (ROOT / "recipes" / name).read_text(encoding="utf-8")
        jsonschema.validate(tomllib.loads(shared), schema)


def test_every_shared_file_is_of_some_use() -> None:
    used = {name for file in RECIPES for name in load_recipe(file).include}
    assert {f"shared/{each.name}" for each in (ROOT / "recipes" / "shared").iterdir()} == used


@pytest.mark.parametrize("file", MODELS, ids=lambda file: file.stem)
def test_a_shipped_model_recipe_loads_and_fits_the_schema(file: Path) -> None:
    recipe = load_model_recipe(file)
    assert file.stem == recipe.name
    schema = json.loads((ROOT / "recipes" / "models" / "model.schema.json").read_text("utf-8"))
    jsonschema.validate(tomllib.loads(file.read_text(encoding="utf-8")), schema)


def test_there_are_shipped_recipes() -> None:
    assert SHIPPED in RECIPES
    assert len(RECIPES) >= 2
    assert MODELS


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_written_schema_is_fresh(name: str) -> None:
    written = (ROOT / "recipes" / name).read_text(encoding="utf-8")
    assert written == schema_text(name), "write it again with `python -m build schema`"
    jsonschema.Draft202012Validator.check_schema(json.loads(written))


def test_the_schema_refuses_what_the_loader_refuses(tmp_path: Path) -> None:
    schema = json.loads(schema_text("recipe.schema.json"))
    for edit in (("SWITCH", "[x]\nSWITCH"), ('kind = "git"', 'kind = "gti"'), ("= 10", '= "10"')):
        data = tomllib.loads(small(tmp_path, edit).read_text(encoding="utf-8"))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, schema)


def test_every_fault_is_told_at_once_with_its_path(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        ("summary =", "sumary ="),
        ('kind = "debian"\npath = "pool/main/o', 'kind = "debain"\npath = "pool/main/o'),
        (f'lock_sha256 = "{SHA256}"', 'lock_sha256 = "ABC"'),
        ("size = 11", 'size = "11"'),
        ('name = "helper"', 'name = "tiny"'),
        ("required = false", 'required = "no"'),
    )
    assert "sumary: unknown key; did you mean `summary`?" in found
    assert "summary: this key is missing" in found
    assert "source.origins.1.kind: unknown kind 'debain'; did you mean 'debian'?" in found
    assert "tools.lock_sha256: 64 lower-case hex digits expected (it is 'ABC')" in found
    assert "dependencies.1.origins.0.size: input should be a valid integer (it is '11')" in found
    assert "dependencies.1.name: `tiny` stands twice, first as dependencies.0" in found
    assert any(each.startswith("dependencies.1.required: ") for each in found)
    assert len(found) == 7, found


@pytest.mark.parametrize(
    ("edit", "fault"),
    [
        (("licence_files =", "license_files ="), "source.license_files: unknown key; did you mean"),
        (('kind = "git"\n', ""), "source.origins.0.kind: this key is missing"),
        (('kind = "git"', 'knd = "git"'), "source.origins.0.knd: unknown key; did you mean `kind`"),
        (('kind = "git"', 'kind = "svn"'), "unknown kind 'svn'; known kinds: git, archive"),
        (("[platforms.linux-x86_64]", "[platforms.linux-x86-64]"), "did you mean 'linux-x86_64'"),
        (('repair = "auditwheel"', 'repair = "auditwhel"'), "did you mean 'auditwheel'"),
        (("gcc =", "gc ="), "platforms.linux-x86_64.compiler_minimum.gc: unknown value 'gc'"),
        (("schema = 1", "schema = 2"), "schema: input should be 1 (it is 2)"),
        (('"9.9.9"', '"9.9"'), "version: a version like 1.21.0 expected (it is '9.9')"),
        (('"2025-03-08"', '"8 March"'), "source.date: a day like 2025-03-08 expected"),
        (('"tools/requirements.txt"', '"../x"'), "tools.lock: a relative path expected"),
        (('"tools/requirements.txt"', '"/x"'), "tools.lock: a relative path expected"),
        (("https://forge.invalid/tiny.zip", "tiny"), "an address like https://HOST/PATH expected"),
        (('name = "tiny"', 'name = "ti ny"'), "dependencies.0.name: letters, digits"),
        (("size = 10", "size = 0"), "source.origins.1.size: input should be greater than 0"),
        (("size = 10", "size = 1.5"), "source.origins.1.size: input should be a valid integer"),
        (("COUNT = 3", "COUNT = [3]"), "defines.COUNT"),
        (('"--config", "Release"', "1"), "build_args.1: input should be a valid string (it is 1)"),
        (
            (f'sha1 = "{SHA1}"', ""),
            "dependencies.0.origins.0: an archive needs sha256, or at least",
        ),
        (
            (f'.git"\ncommit = "{SHA1}"', f'.git"\ncommit = "{SHA1[::-1]}"'),
            f"source.origins.0.commit: differs from source.commit {SHA1}",
        ),
        (
            ('name = "tiny"', 'name = "tiny"\npatches = [{ file = "a.patch" }]'),
            "dependencies.0.patches.0: a patch of our own needs sha256",
        ),
        (('gcc = "11.1"', 'gcc = "new"'), "compiler_minimum.gcc: a version like 14.0.3 expected"),
        (
            ('repair = "auditwheel"', 'repair = "auditwheel"\nsdk_minimum = "x"'),
            "platforms.linux-x86_64.sdk_minimum: a version like 13.3 expected (it is 'x')",
        ),
        (("2025-03-08", "2025-02-29"), "source.date: 2025-02-29 is no day from 1980 to 2107"),
        (("2025-03-08", "1979-12-31"), "source.date: 1979-12-31 is no day from 1980 to 2107"),
        (
            (
                "[defines]",
                2 * f'[[source.patches]]\nfile = "a.patch"\nsha256 = "{SHA256}"\n' + "[defines]",
            ),
            "source.patches.1.file: `a.patch` stands twice, first as source.patches.0",
        ),
    ],
)
def test_one_fault(tmp_path: Path, edit: tuple[str, str], fault: str) -> None:
    found = faults(tmp_path, edit)
    assert any(fault in each for each in found), found
    # A regular expression is no message.
    assert not any("pattern" in each for each in found)


def test_a_name_twice_is_told_where_it_is_the_only_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, ('name = "helper"', 'name = "tiny"')) == [
        "dependencies.1.name: `tiny` stands twice, first as dependencies.0"
    ]


def test_model_files_twice_and_paths_that_miss_one(tmp_path: Path) -> None:
    text = MODELS[0].read_text(encoding="utf-8")
    twice = tmp_path / "twice.toml"
    twice.write_text(text.replace('name = "tokenizer.json"', 'name = "model.safetensors"'))
    with pytest.raises(RecipeError, match=r"`model\.safetensors` stands twice"):
        load_model_recipe(twice)
    other = tmp_path / "other.toml"
    other.write_text(text.replace('"tokenizer.json" = "tokenizer.json"', ""))
    with pytest.raises(RecipeError, match=r"origins\.0\.paths: names model\.safetensors"):
        load_model_recipe(other)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"schema = \n", "is no valid TOML"),
        (b"schema = 1\nschema = 1\n", "is no valid TOML"),
        (b"\xff\xfe", "is no valid TOML: it is no UTF-8 text"),
        ("\ufeffschema = 1\n".encode(), "name: this key is missing"),  # a byte order mark
        (b"", "name: this key is missing"),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match=problem):
        load_recipe(file)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for place in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(RecipeError, match=re.escape(f"cannot read the recipe {place}")):
            load_recipe(place)


def test_the_digest_counts_content_and_nothing_else(tmp_path: Path) -> None:
    plain = digest(load_recipe(small(tmp_path)))
    shuffled = small(tmp_path, ("SWITCH = true\nCOUNT = 3", "# why\nCOUNT   = 3\n\nSWITCH = true"))
    assert digest(load_recipe(shuffled)) == plain
    for edit in (("COUNT = 3", "COUNT = 4"), ("COUNT = 3", 'COUNT = "3"'), ("= 11", "= 12")):
        assert digest(load_recipe(small(tmp_path, edit))) != plain


def _known_keys() -> list[tuple[int, str]]:
    """Return line numbers and keys of the shipped recipe whose names the format decides."""
    free = re.compile(r"^\[(defines|.*\.(defines|environment|members|paths))\]")
    found, inside_free = [], False
    for number, line in enumerate(SHIPPED.read_text(encoding="utf-8").splitlines()):
        if line.startswith("["):
            inside_free = bool(free.match(line))
        elif (match := re.match(r"([a-z][a-z0-9_]*) =", line)) and not inside_free:
            found.append((number, match[1]))
    return found


KEYS = _known_keys()
LETTERS = string.ascii_lowercase + string.digits + "_-"


@given(data=st.data())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_single_typo_in_a_key_is_named_with_the_right_key(
    tmp_path: Path, data: st.DataObject
) -> None:
    number, key = data.draw(st.sampled_from(KEYS))
    place = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from(LETTERS))
    wrong = data.draw(
        st.sampled_from(
            [
                key[:place] + key[place + 1 :],
                key[:place] + letter + key[place + 1 :],
                key[:place] + letter + key[place:],
            ]
        )
    )
    if wrong in {"", key}:
        return
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    lines[number] = wrong + lines[number].removeprefix(key)
    file = tmp_path / "typo.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(file)
    told = [line for line in caught.value.problem.splitlines() if f"{wrong}: unknown key" in line]
    assert len(told) == 1, caught.value.problem
    if len(key) == 1 and "did you mean" not in told[0]:
        # Another single letter looks like nothing: then all that there are is listed.
        assert key in told[0].split("known keys: ")[1].split(", ")
    else:
        assert f"`{key}`" in told[0].split("did you mean")[1]


@given(word=st.text("abc", max_size=6), known=st.lists(st.text("abc", max_size=6), unique=True))
@example(word="", known=[])
def test_nearest_gives_known_words_and_a_known_word_itself(word: str, known: list[str]) -> None:
    found = nearest(word, known)
    assert set(found) <= set(known)
    if word in known:
        assert found == [word]


def test_every_platform_of_the_code_is_in_the_shipped_recipe() -> None:
    assert set(load_recipe(SHIPPED).platforms) == set(PLATFORMS)
