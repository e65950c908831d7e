"""The conversion proof: what the CoreML provider emitted, read and evaluated without a Mac.

Each partition's package is loaded with coremltools and evaluated operation by operation with
coremltools' own semantics, on the values that the CPU provider has at the partition's inputs.
Only :mod:`verify.conversion.emit_inside` imports onnxruntime, in its own environment.
"""
