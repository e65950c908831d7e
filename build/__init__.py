"""Build an ONNX Runtime wheel with the CoreML execution provider from pinned sources."""

__version__ = "0.1.0"
