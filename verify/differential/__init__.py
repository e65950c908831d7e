"""Compare the answers of two ONNX Runtime wheels of one upstream version, bit by bit.

The wheel under test is built with dependencies that can differ from the ones that upstream pins.
It must still compute what the official wheel computes: the same node tests pass, and inputs with
NaN, infinities, signed zeros, denormals, empty and broadcast shapes give the same results.

``cases`` and ``families`` make the inputs (they need ``onnx``), ``cases_inside`` runs them in the
environment of one wheel (it needs numpy and onnxruntime), ``compare`` compares two runs.
"""
