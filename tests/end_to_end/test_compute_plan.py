"""The patch of ProfileComputePlan, compiled for macOS by the cross toolchain, and without it.

The SDK that a wheel is built for has no MLComputePlan, so the code is in no object of it. Here
it is compiled against declarations of the published interface, and the compiled handler is read:
every way through it must end with the one signal that its caller waits for. Nothing is run.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.kit.patches import compilations, is_configured, mending, taken_back, tree_of
from tests.kit.recipe_examples import ROOT, shipped

TREE = tree_of("macos-arm64")
MODEL = "onnxruntime/core/providers/coreml/model/model.mm"
DECLARATIONS = ROOT / "tests" / "data" / "apple"
SIGNAL = "@dispatch_semaphore_signal("
pytestmark = [
    pytest.mark.cross,
    pytest.mark.integration,
    pytest.mark.skipif(
        not is_configured(TREE),
        reason="NOT SHOWN: there is no tree of a cross build in the cache "
        "(`nox -s build -- --platform macos-arm64` on Linux lays it out)",
    ),
]


def handler(folder: Path, content: bytes) -> dict[str, str]:
    """Compile the provider's file; return the basic blocks of the completion handler, by label."""
    command = compilations(TREE)[TREE.source / MODEL]
    source, made = folder / "model.mm", folder / "model.ll"
    source.write_bytes(content)
    words = [*command.words, "-S", "-o", str(made), str(source)]
    words += ["-emit-llvm", "-O0", f"-I{DECLARATIONS}", "-include", "CoreML/MLComputePlan.h"]
    done = subprocess.run(words, cwd=command.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = made.read_text(encoding="utf-8")
    found = re.search(
        r'^define [^\n]*ProfileComputePlan\w*_block_invoke"?\(.*?^}', text, re.M | re.S
    )
    assert found, "the handler was not compiled"
    blocks = {"entry": ""}
    label = "entry"
    for line in found[0].splitlines()[1:]:
        if start := re.match(r"([\w.$-]+):", line):
            label = start[1]
        blocks[label] = blocks.get(label, "") + line + "\n"
    return blocks


def ways_without_a_signal(blocks: dict[str, str]) -> int:
    """Count the ends of the handler that are reached without the signal."""
    waiting, seen, ends = [next(iter(blocks))], set(), 0
    while waiting:
        label = waiting.pop()
        if label in seen or SIGNAL in blocks[label]:
            continue
        seen.add(label)
        ends += bool(re.search(r"^\s+ret ", blocks[label], re.M))
        waiting += re.findall(r"label %([\w.$-]+)", blocks[label])
    return ends


def test_every_way_through_the_compiled_handler_ends_with_one_signal(tmp_path: Path) -> None:
    blocks = handler(tmp_path, (TREE.source / MODEL).read_bytes())
    assert ways_without_a_signal(blocks) == 0
    assert "".join(blocks.values()).count(SIGNAL) == 1


def test_without_the_patch_there_are_ways_without_a_signal(tmp_path: Path) -> None:
    patch = mending(shipped())["coreml-compute-plan"]
    blocks = handler(tmp_path, taken_back(TREE.source, MODEL, [patch]))
    assert ways_without_a_signal(blocks) > 0
