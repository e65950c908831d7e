"""Prove what an ONNX Runtime wheel with the CoreML execution provider can do on this host.

``from verify import Embedder`` gives the pipeline that the latency gate measures.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["Embedder", "__version__"]


def __getattr__(name: str) -> Any:
    """Load :class:`Embedder` when it is first asked for (it needs numpy)."""
    if name == "Embedder":
        from .encoder.embedder import Embedder

        return Embedder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
