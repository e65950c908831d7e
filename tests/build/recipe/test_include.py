"""What versions share stands in a file of its own, and counts as if it stood in the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import RecipeError
from build.recipe.format import digest
from build.recipe.load import load_recipe
from tests.kit.recipe_examples import SMALL, small

TOOLS = SMALL[SMALL.index("[tools]") : SMALL.index("[platforms")]
HELPER = SMALL[SMALL.index('[[dependencies]]\nname = "helper"') :]


def split(folder: Path, *, shared: str = TOOLS, own: str = "", names: str = '"tools.toml"') -> Path:
    """Write the small recipe with a part of it in another file below ``shared``."""
    (folder / "tools.toml").write_text(shared, encoding="utf-8")
    text = SMALL.replace(TOOLS, own).replace("schema = 1", f"schema = 1\ninclude = [{names}]")
    file = folder / "split.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(file: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(file, recipes=file.parent)
    assert caught.value.hint
    return caught.value.problem


def test_an_included_table_counts_as_if_it_stood_in_the_recipe(tmp_path: Path) -> None:
    whole, parts = load_recipe(small(tmp_path)), load_recipe(split(tmp_path), recipes=tmp_path)
    assert replace(parts, include=()) == whole
    assert digest(parts) == digest(whole)


def test_another_value_in_the_shared_file_is_another_digest(tmp_path: Path) -> None:
    before = digest(load_recipe(split(tmp_path), recipes=tmp_path))
    other = TOOLS.replace("3.31.10", "3.31.11")
    assert digest(load_recipe(split(tmp_path, shared=other), recipes=tmp_path)) != before


def test_tables_are_merged_and_the_recipes_own_value_wins(tmp_path: Path) -> None:
    mine = '[tools]\ncmake = "3.31.99"\n'
    tools = load_recipe(split(tmp_path, own=mine), recipes=tmp_path).tools
    assert (tools.cmake, tools.ninja) == ("3.31.99", "1.13.2")


def test_dependencies_of_all_files_are_joined(tmp_path: Path) -> None:
    file = split(tmp_path, shared=TOOLS + HELPER, own="")
    file.write_text(file.read_text().replace(HELPER, ""), encoding="utf-8")
    found = load_recipe(file, recipes=tmp_path)
    assert [each.name for each in found.dependencies] == ["tiny", "helper"]
    twice = split(tmp_path, shared=TOOLS + HELPER)
    assert "`helper` stands twice" in refused(twice)


def test_two_shared_files_that_say_different_things_are_refused(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('[tools]\ncmake = "4.0.0"\n', encoding="utf-8")
    file = split(tmp_path, names='"tools.toml", "more.toml"')
    assert "tools.cmake: tools.toml says '3.31.10', more.toml '4.0.0'" in refused(file)


def test_a_fault_names_the_file_that_it_stands_in(tmp_path: Path) -> None:
    file = split(tmp_path, shared=TOOLS.replace("ninja", "nnja"))
    said = refused(file)
    assert "tools.nnja: unknown key; did you mean `ninja`? (in tools.toml)" in said
    own = split(tmp_path, own='[tools]\nnnja = "1"\n')
    assert "did you mean `ninja`?\n" in refused(own) + "\n"
    assert "tools.toml" not in refused(own).split("nnja", 1)[1].splitlines()[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ('"none.toml"', "cannot read the recipe"),
        ('"../x.toml"', "include.0: a relative path expected"),
        ("3", "include.0"),
    ],
)
def test_an_include_that_leads_nowhere(tmp_path: Path, names: str, said: str) -> None:
    assert said in refused(split(tmp_path, names=names))


def test_an_included_file_includes_nothing_itself(tmp_path: Path) -> None:
    file = split(tmp_path, shared='include = ["tools.toml"]\n' + TOOLS)
    assert "an included file includes no other" in refused(file)
