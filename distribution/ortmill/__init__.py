"""Build an ONNX Runtime wheel with CoreML from pinned sources, and prove what it can do.

``from ortmill import Embedder`` gives the pipeline that the latency gate measures; the command
``ortmill`` (or ``python -m ortmill``) builds and verifies.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Embedder", "__version__"]


def __getattr__(name: str) -> Any:
    """Load what is asked for and no more: the commands need no Embedder."""
    if name == "Embedder":
        return import_module(".embedding", __name__).Embedder
    if name == "__version__":
        return import_module(".build", __name__).__version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
