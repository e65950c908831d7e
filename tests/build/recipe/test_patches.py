"""Our own patches: the reason, that any one can be left out, and what cannot be run here."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from build.errors import UsageError
from build.recipe.format import Patch, digest
from build.recipe.patches import patch_name, without_patches
from build.tree.patch import apply_patch, parse_patch
from tests.kit.patches import FOLDER, mending
from tests.kit.recipe_examples import ROOT, shipped

PATCHES = shipped().source.patches
MENDING = list(mending(shipped()).values())
TESTS = ROOT / "tests" / "end_to_end" / "test_provider_patches.py"
MODEL = "onnxruntime/core/providers/coreml/model/model.mm"


def named(name: str) -> Patch:
    return next(patch for patch in PATCHES if patch_name(patch) == name)


def sides(name: str, file: str) -> tuple[str, str]:
    """Return what a patch's hunks of one file hold before and after."""
    parts = [p for p in parse_patch((FOLDER / named(name).file).read_bytes()) if p.old == file]
    hunks = [hunk for part in parts for hunk in part.hunks]
    before = b"".join(line for hunk in hunks for line in hunk.old)
    after = b"".join(line for hunk in hunks for line in hunk.new)
    return before.decode(), after.decode()


def untouched(folder: Path) -> Path:
    """Make a tree of the files that the patches touch: the lines that they name, the rest empty."""
    lines: dict[str, dict[int, bytes]] = defaultdict(dict)
    shifts: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for patch in PATCHES:
        for part in parse_patch((FOLDER / patch.file).read_bytes()):
            assert part.old is not None
            for hunk in part.hunks:
                moved = sum(by for place, by in shifts[part.old] if place < hunk.start)
                for place, line in enumerate(hunk.old, start=hunk.start - moved):
                    lines[part.old].setdefault(place, line)
            shifts[part.old] += [(h.start, len(h.new) - len(h.old)) for h in part.hunks]
    for file, known in lines.items():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(known.get(at, b"\n") for at in range(1, max(known) + 1)))
    return folder


@pytest.mark.parametrize("left_out", [None, *MENDING], ids=lambda p: patch_name(p) if p else "none")
def test_every_patch_fits_whichever_one_is_left_out(tmp_path: Path, left_out: Patch | None) -> None:
    tree = untouched(tmp_path / "tree")
    for patch in PATCHES:
        if patch != left_out:
            apply_patch(FOLDER / patch.file, tree, sha256=patch.sha256)


@pytest.mark.parametrize("patch", MENDING, ids=patch_name)
def test_a_patch_says_why_what_upstream_did_and_has_a_test(patch: Patch) -> None:
    text = (FOLDER / patch.file).read_text(encoding="utf-8")
    reason = text.partition("\n--- ")[0]
    assert len(reason.splitlines()) > 3
    assert re.search(r"[Uu]pstream.*(#\d+|1\.\d+)", reason, re.DOTALL)
    tests = TESTS.read_text(encoding="utf-8") + Path(__file__).read_text(encoding="utf-8")
    assert f"def test_{patch_name(patch).replace('-', '_')}" in tests


def test_a_build_without_a_patch_is_another_build() -> None:
    recipe = shipped()
    without = without_patches(recipe, ["coreml-gather"])
    names = [patch_name(patch) for patch in without.source.patches]
    assert len(names) == len(PATCHES) - 1
    assert "coreml-gather" not in names
    assert digest(without) != digest(recipe)
    assert without_patches(recipe, []) == recipe
    with pytest.raises(UsageError) as caught:
        without_patches(recipe, ["coreml-gahter"])
    assert "`coreml-gather`" in caught.value.hint


def handler(text: str) -> str:
    return text.partition("completionHandler:^(")[2].partition("\n                 }];\n")[0]


def test_coreml_compute_plan_ends_every_way_with_one_signal() -> None:
    before, after = (handler(text) for text in sides("coreml-compute-plan", MODEL))
    assert before.count("return;") == 2, "two ways out without a signal"
    assert "return" not in after
    assert after.count("dispatch_semaphore_signal(fd_sema);") == 1
    # The last statement of the handler itself, inside of no block.
    assert after.rstrip().endswith("\n                   dispatch_semaphore_signal(fd_sema);")
    assert after.count("{") - after.count("}") == 1


def test_coreml_model_cache_takes_a_path_for_a_path() -> None:
    before, after = sides("coreml-model-cache", MODEL)
    assert "[NSURL URLWithString:coreml_model_path_]" in before
    assert "URLWithString" not in after
    assert "NSURL* modelUrl = [NSURL fileURLWithPath:coreml_model_path_];" in after


def test_coreml_model_cache_puts_a_compiled_model_aside_first() -> None:
    before, after = sides("coreml-model-cache", MODEL)
    assert "moveItemAtURL:compiled_model_url toURL:cached_model_url" in before
    moves = re.findall(r"moveItemAtURL:(\w+) toURL:(\w+)", after)
    assert moves == [("compiled_model_url", "aside_url"), ("aside_url", "cached_model_url")]
