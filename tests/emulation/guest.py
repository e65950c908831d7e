"""What runs inside the emulated Python; it holds numpy and onnxruntime and nothing of ours.

``python guest.py about OUT.json`` and ``python guest.py embed JOB.npz GRAPH OUT.npz``.
"""

from __future__ import annotations

import json
import platform
import struct
import sys
import time
from pathlib import Path

_AT_HWCAP, _AT_HWCAP2 = 16, 26
# linux/arch/arm64/include/uapi/asm/hwcap.h
_FEATURES = {
    _AT_HWCAP: {"asimd": 1, "fphp": 9, "asimdhp": 10, "asimddp": 20, "sve": 22},
    _AT_HWCAP2: {"i8mm": 13, "bf16": 14, "sme": 23},
}


def features() -> list[str]:
    """Return the processor's features that kernels are picked by, as the kernel tells them."""
    pairs = struct.iter_unpack("=QQ", Path("/proc/self/auxv").read_bytes())
    values = dict(pairs)
    return [
        name
        for entry, bits in _FEATURES.items()
        for name, bit in bits.items()
        if values.get(entry, 0) >> bit & 1
    ]


def about(out: Path) -> None:
    """Import the wheel and write down what it says of itself."""
    facts: dict[str, object] = {"machine": platform.machine(), "python": platform.python_version()}
    print(f"features {' '.join(features())}", flush=True)
    began = time.perf_counter()
    import numpy
    import onnxruntime

    facts |= {
        "features": features(),
        "seconds": time.perf_counter() - began,
        "numpy": numpy.__version__,
        "version": onnxruntime.__version__,
        "file": onnxruntime.__file__,
        "build_info": onnxruntime.get_build_info(),
        "providers": onnxruntime.get_available_providers(),
    }
    out.write_text(json.dumps(facts), encoding="utf-8")


def embed(job: Path, graph: Path, out: Path) -> None:
    """Run every batch of a job: ``ids_N`` and ``mask_N``, int64 ``[batch, tokens]``.

    Writes ``states_N``, float32 ``[batch, tokens, hidden]``.
    """
    import numpy as np
    import onnxruntime

    began = time.perf_counter()
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    print(f"session in {time.perf_counter() - began:.1f} s", flush=True)
    states = {}
    with np.load(job) as data:
        count = sum(name.startswith("ids_") for name in data)
        for number in range(count):
            ids, mask = data[f"ids_{number}"], data[f"mask_{number}"]
            feeds = {
                "input_ids": ids,
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(ids),
            }
            began = time.perf_counter()
            states[f"states_{number}"] = session.run(["last_hidden_state"], feeds)[0]
            print(
                f"batch {number + 1} of {count}: {ids.shape[0]} x {ids.shape[1]} tokens in "
                f"{time.perf_counter() - began:.1f} s",
                flush=True,
            )
    np.savez(out, **states)


if __name__ == "__main__":
    kind, *paths = map(Path, sys.argv[1:])
    if str(kind) == "about":
        about(*paths)
    else:
        embed(*paths)
