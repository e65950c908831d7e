"""Which instructions multiply bytes on this processor, and which products come out wrong."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

_INTEGER = {
    "amx_int8": "amx-int8",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx2": "avx2",
    "i8mm": "i8mm",
    "asimddp": "dotprod",
}
FAST = frozenset({"amx-int8", "avx512-vnni", "avx-vnni", "i8mm", "dotprod"})
"""Instructions that multiply bytes faster than floats; AVX2 alone does not."""


def described() -> dict[str, Any]:
    """Return what a prepared graph's record says of the machine that made it."""
    return {
        "machine": platform.machine(),
        "instructions": list(integer_instructions()),
        "saturates": saturating(),
    }


def integer_instructions(names: Collection[str] | None = None) -> tuple[str, ...]:
    """Return which instructions for products of bytes this processor has, best first.

    Those are amx-int8, avx512-vnni, avx-vnni, avx2, i8mm and dotprod. ``names`` are the processor's
    features as Linux calls them; read from this machine when left out.
    """
    found = _features() if names is None else set(names)
    return tuple(name for feature, name in _INTEGER.items() if feature in found)


def saturating() -> dict[str, bool] | None:
    """Say which products of bytes are wrong on this machine: ``{"u8s8": …, "u8u8": …}``.

    x86 kernels without VNNI add two products in 16 bits, where 255 times 127 twice does not fit.
    None where there is no onnxruntime to ask.
    """
    try:
        import onnxruntime
    except ImportError:
        return None
    from onnx import TensorProto, helper, numpy_helper

    found = {}
    for name, kind, value in (("u8s8", np.int8, 127), ("u8u8", np.uint8, 255)):
        weight = np.full((64, 16), value, dtype=kind)
        graph = helper.make_graph(
            [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
            name,
            [helper.make_tensor_value_info("a", TensorProto.UINT8, [16, 64])],
            [helper.make_tensor_value_info("c", TensorProto.INT32, [16, 16])],
            [numpy_helper.from_array(weight, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        given = np.full((16, 64), 255, dtype=np.uint8)
        product = session.run(None, {"a": given})[0]
        found[name] = bool((product != given.astype(np.int32) @ weight.astype(np.int32)).any())
    return found


def _features() -> set[str]:
    if sys.platform == "darwin":
        return {
            feature
            for feature, key in (
                ("i8mm", "hw.optional.arm.FEAT_I8MM"),
                ("asimddp", "hw.optional.arm.FEAT_DotProd"),
                ("avx2", "hw.optional.avx2_0"),
            )
            if _sysctl(key) == "1"
        }
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    key = "flags" if platform.machine().lower() in ("x86_64", "amd64") else "Features"
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return set(value.split())
    return set()


def _sysctl(key: str) -> str:
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
