"""Inputs for our own operators, and what torch makes of them; tests run without torch.

``python -m tests.kit.operator_cases`` (in an environment with torch 2.13.0 and numpy) writes
``tests/data/torch-operators.npz`` again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

STORED = Path(__file__).parents[1] / "data" / "torch-operators.npz"
CONVOLUTIONS: list[dict[str, Any]] = [
    {"x": (1, 3, 9, 8), "weight": (4, 3, 3, 3)},
    {"x": (2, 3, 9, 8), "weight": (4, 3, 3, 2), "strides": [2, 3], "pad": [1, 2, 0, 1]},
    {"x": (1, 4, 11, 9), "weight": (6, 2, 3, 3), "groups": 2, "dilations": [2, 1]},
    {"x": (1, 4, 7, 7), "weight": (4, 1, 3, 3), "groups": 4, "pad": [1, 1, 1, 1]},
    {"x": (1, 3, 12), "weight": (2, 3, 5), "strides": [3], "pad": [2, 1]},
    {"x": (1, 2, 5, 6, 7), "weight": (3, 2, 2, 3, 2)},
]


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scale() -> dict[str, np.ndarray]:
    values = {name: draw(3, seed=seed) for seed, name in enumerate(("gamma", "beta", "mean"), 1)}
    return values | {"variance": np.abs(draw(3, seed=4)) + np.float32(0.1)}


def torch_results() -> dict[str, np.ndarray]:
    import torch
    from torch.nn import functional

    found = {}
    run = (functional.conv1d, functional.conv2d, functional.conv3d)
    for number, case in enumerate(CONVOLUTIONS):
        x, weight = draw(*case["x"]), draw(*case["weight"], seed=1)
        pad = case.get("pad", [0] * 2 * (x.ndim - 2))
        padded = np.pad(x, [(0, 0), (0, 0), *zip(pad[0::2], pad[1::2], strict=True)])
        found[f"conv{number}"] = run[x.ndim - 3](
            torch.from_numpy(padded),
            torch.from_numpy(weight),
            stride=case.get("strides", 1),
            dilation=case.get("dilations", 1),
            groups=case.get("groups", 1),
        ).numpy()
    tensor = torch.from_numpy(draw(2, 3, 9, 8))
    for flag in (False, True):
        found[f"max_pool-{flag}"] = functional.max_pool2d(tensor, 3, 2, 1, ceil_mode=flag).numpy()
        found[f"avg_pool-{flag}"] = functional.avg_pool2d(
            tensor, 3, 2, 1, count_include_pad=not flag
        ).numpy()
    values = {name: torch.from_numpy(value) for name, value in scale().items()}
    order = [values[name] for name in ("mean", "variance", "gamma", "beta")]
    found["batch_norm"] = functional.batch_norm(tensor, *order, eps=1e-3).numpy()
    found["silu"] = functional.silu(tensor).numpy()
    found["torch"] = np.asarray(torch.__version__)
    return found


if __name__ == "__main__":
    np.savez_compressed(STORED, **torch_results())
