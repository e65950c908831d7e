"""Which ONNX value is which name of a package.

The provider renames values in a program (``ModelBuilder::GetSafeName`` of 1.21.0): what is not a
letter, a digit or an underscore becomes an underscore, a digit in front gets one before it, and a
name that is taken gets a number behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .package import PackageError


def safe_name(name: str) -> str:
    """Return a name as the provider spells it in a program, before it is made unique."""
    spelt = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"_{spelt}" if spelt[:1].isdigit() else spelt


def map_names(wanted: Sequence[str], onnx_values: Iterable[str]) -> dict[str, str]:
    """Map a package's inputs or outputs to ONNX values, in the order given.

    Raises
    ------
    PackageError
        When a name belongs to no ONNX value, or to several: a guess could compare the wrong ones.
    """
    found = known_values(wanted, onnx_values)
    lost = [name for name in wanted if name not in found]
    if lost:
        raise PackageError(
            f"No single value of the graph belongs to {', '.join(lost)} of the package.",
            hint="Rename the graph's values so that they differ in letters and digits.",
        )
    return {name: found[name] for name in wanted}


def known_values(wanted: Iterable[str], onnx_values: Iterable[str]) -> dict[str, str]:
    """Map those names that belong to exactly one ONNX value."""
    spelt: dict[str, list[str]] = {}
    for value in onnx_values:
        spelt.setdefault(safe_name(value), []).append(value)
    return {name: spelt[name][0] for name in wanted if len(spelt.get(name, ())) == 1}


def graph_values(path: Path) -> list[str]:
    """Return the names of a graph's inputs and of everything that its nodes compute."""
    import onnx

    model: Any = onnx.load(str(path), load_external_data=False)
    names = [entry.name for entry in model.graph.input]
    names += [name for node in model.graph.node for name in node.output if name]
    return list(dict.fromkeys(names))
