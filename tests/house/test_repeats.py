"""The counter of repeated passages, on passages that are repeated and on some that are not."""

from __future__ import annotations

from pathlib import Path

from tests.house import repeats, rules
from tests.house.test_rules import house

PASSAGE = '''\
def {f}({a}, {b}):
    """Say {f}."""
    if {a} is None:
        return {b}
    with open({a}) as {b}:
        {b}.read()

    # why
    for each in {a}:
        {b} += each * {number}

    return [{a}, {b}]
'''
ONE = PASSAGE.format(f="one", a="a", b="b", number=1)
OTHER = PASSAGE.format(f="other", a="left", b="right", number=2)


def counts(root: Path, files: dict[str, str]) -> tuple[int, int]:
    tree = house(root, files)
    return len(repeats.same_lines(tree)), len(repeats.same_shape(tree))


def test_the_same_lines_count_as_both(tmp_path: Path) -> None:
    files = {"build/a.py": "import x\n\n" + ONE, "verify/b.py": ONE.replace("# why", "")}
    assert counts(tmp_path, files) == (1, 1)
    [found] = repeats.same_lines(house(tmp_path, {}))
    assert (str(found.first[0]), found.first[1]) == ("build/a.py", 3)
    assert (str(found.second[0]), found.second[1]) == ("verify/b.py", 1)
    assert found.code_lines == 8


def test_other_names_are_the_same_shape(tmp_path: Path) -> None:
    assert counts(tmp_path, {"build/a.py": ONE + "\n\n" + OTHER}) == (0, 1)


def test_of_four_copies_three_count(tmp_path: Path) -> None:
    files = {f"build/{name}.py": ONE + f"{name} = {{}}\n" for name in "abc"}
    assert counts(tmp_path, files | {"verify/d.py": OTHER}) == (2, 3)


def test_another_word_of_the_language_is_another_shape(tmp_path: Path) -> None:
    files = {"build/a.py": ONE, "build/b.py": ONE.replace("    for each in", "    while")}
    assert counts(tmp_path, files) == (0, 0)


def test_a_short_passage_is_none(tmp_path: Path) -> None:
    short = ONE.replace("\n\n    return", "\n    return")  # eleven lines from first to last
    assert counts(tmp_path, {"build/a.py": short, "build/b.py": short}) == (0, 0)


def test_imports_docstrings_and_lists_of_values_are_none(tmp_path: Path) -> None:
    text = "".join(f"from x import n{number}\n" for number in range(20))
    text += '"""\n' + "long\n" * 20 + '"""\n'
    text += "names = [\n" + "".join(f"    'n{number}',\n" for number in range(40)) + "]\n"
    assert counts(tmp_path, {"build/a.py": text, "build/b.py": text}) == (0, 0)


def test_the_rule_breaks_above_a_third(tmp_path: Path) -> None:
    limit = rules.REPEATS_AT_FIRST // 3
    for number in range(limit + 1):
        assert rules.few_repeats(house(tmp_path, {f"build/m{number}.py": ONE})) == []
    [problem] = rules.few_repeats(house(tmp_path, {"verify/last.py": ONE}))
    assert problem.startswith(f"{limit + 1} passages are repeated, more than {limit}")
