"""What coremltools loads on a Mac as ``libcoremlpython``, with the names and answers of Apple's.

Compiling copies the package, predicting evaluates its program as the verification does, in half
precision, and the plan puts matrix products on the Neural Engine and the rest on the CPU.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rehearsal.hooks import scenario


class _MLCPUComputeDeviceProxy:
    pass


class _MLGPUComputeDeviceProxy:
    pass


class _MLNeuralEngineComputeDeviceProxy:
    pass


class _MLModelAssetProxy:
    pass


def _program(path: str) -> Any:
    from verify.conversion.package import read_package
    from verify.conversion.program import load_program

    return load_program(read_package(Path(path)))


class _MLComputePlanProxy:
    def __init__(self, path: str) -> None:
        from coremltools.models.compute_plan import (
            MLModelStructure,
            MLModelStructureProgram,
            MLModelStructureProgramBlock,
            MLModelStructureProgramFunction,
            MLModelStructureProgramNamedValueType,
            MLModelStructureProgramOperation,
            MLModelStructureProgramValueType,
        )

        operations = []
        for kind, name in _operations(path):
            output = MLModelStructureProgramNamedValueType(
                name=name, type=MLModelStructureProgramValueType()
            )
            operations.append(
                MLModelStructureProgramOperation(
                    inputs={}, operator_name=kind, outputs=[output], blocks=[], __proxy__=None
                )
            )
        block = MLModelStructureProgramBlock(inputs=[], operations=operations, output_names=[])
        function = MLModelStructureProgramFunction(inputs=[], block=block)
        self._share = 1.0 / max(1, len(operations))
        self.model_structure = MLModelStructure(
            neuralnetwork=None,
            program=MLModelStructureProgram(functions={"main": function}),
            pipeline=None,
        )

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        from coremltools.models.compute_device import (
            MLCPUComputeDevice,
            MLNeuralEngineComputeDevice,
        )
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        heavy = operation.operator_name.rpartition(".")[2] in ("matmul", "linear")
        device = (
            MLNeuralEngineComputeDevice(_MLNeuralEngineComputeDeviceProxy())
            if heavy
            else MLCPUComputeDevice(_MLCPUComputeDeviceProxy())
        )
        return MLComputePlanDeviceUsage(
            preferred_compute_device=device, supported_compute_devices=[device]
        )

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        from coremltools.models.compute_plan import MLComputePlanCost

        return MLComputePlanCost(weight=self._share)


def _operations(path: str) -> list[tuple[str, str]]:
    return [(f"ios15.{each.kind}", each.outputs[0]) for each in _program(path).operations]


class _MLModelProxy:
    def __init__(self, path: str, units: str, function: str, hints: Any, asset: Any) -> None:
        self._path = path

    @staticmethod
    def compileModel(path: str) -> str:
        into = os.path.join(tempfile.mkdtemp(prefix="rehearsal-"), "model.mlmodelc")
        shutil.copytree(path, into)
        return into

    @staticmethod
    def maximum_supported_specification_version() -> int:
        return 9

    @staticmethod
    def get_compute_plan(path: str, units: str) -> Any:
        from coremltools.models.compute_plan import MLComputePlan

        if scenario().get("fault") == "no plan":
            raise RuntimeError("MLComputePlan is only supported on macOS 14.4 and above.")
        return MLComputePlan(_MLComputePlanProxy(path))

    def predict(self, data: Mapping[str, Any], state: Any = None) -> dict[str, Any]:
        from verify.conversion.evaluate import evaluate

        program = _program(self._path)
        found = evaluate(program, dict(data), "fp16").outputs
        spoil = scenario().get("fault") == "predicts wrongly"
        return {
            name: np.roll(value, 7, axis=-1) if spoil else value for name, value in found.items()
        }
