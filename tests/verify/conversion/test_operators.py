"""Every operator that the provider writes, emitted by the built wheel and evaluated here.

Each case is a graph of a few nodes. The CPU provider of the same wheel is the reference, so that
both our own semantics and coremltools' are put to the test, and the provider's converter as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.end_to_end.test_conversion import make_context, python
from verify.conversion import own_model as own
from verify.conversion.outcome import judge
from verify.conversion.proof import Cases, Graph, Setting, fresh_home, prove_graphs

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore")]

__all__ = ["python"]  # the fixture with the built wheel


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def whole(*values: int) -> np.ndarray:
    return np.asarray(values, dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One operator: its attributes, the shape of ``x``, its constants, and what it gives."""

    op: str
    x: tuple[int, ...] = (1, 4, 8, 8)
    constants: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    kind: int = TensorProto.FLOAT
    opset: int = 17
    low: float | None = None


def conv(**attributes: Any) -> dict[str, Any]:
    return {"constants": (draw(6, 4, 3, 3, seed=1), draw(6, seed=2)), "attributes": attributes}


def pool(**attributes: Any) -> dict[str, Any]:
    return {"attributes": {"kernel_shape": [3, 3], **attributes}}


def resize(mode: str, where: str, scale: float = 2.0, **more: Any) -> dict[str, Any]:
    scales = np.asarray([1, 1, scale, scale], dtype=np.float32)
    attributes = {"mode": mode, "coordinate_transformation_mode": where, **more}
    return {"constants": (None, scales), "attributes": attributes}


def resized(mode: str, where: str, size: int, **more: Any) -> dict[str, Any]:
    attributes = {"mode": mode, "coordinate_transformation_mode": where, **more}
    return {"constants": (None, None, whole(1, 4, size, size)), "attributes": attributes}


FLOOR = {"nearest_mode": "floor"}
POSITIVE = 0.5
CASES = {
    "sigmoid": Case(op="Sigmoid"),
    "tanh": Case(op="Tanh"),
    "relu": Case(op="Relu"),
    "prelu": Case(op="PRelu", constants=(draw(4, 1, 1, seed=1),)),
    "leaky relu": Case(op="LeakyRelu", attributes={"alpha": 0.2}),
    "gelu": Case(op="Gelu", opset=20),
    "gelu by tanh": Case(op="Gelu", opset=20, attributes={"approximate": "tanh"}),
    "erf": Case(op="Erf"),
    "round": Case(op="Round"),
    "sqrt": Case(op="Sqrt", low=POSITIVE),
    "add": Case(op="Add", constants=(draw(4, 1, 1, seed=1),)),
    "sub": Case(op="Sub", constants=(draw(8, seed=1),)),
    "mul": Case(op="Mul", constants=(draw(1, seed=1),)),
    "div": Case(op="Div", constants=(draw(8, seed=1) + 9,)),
    "max": Case(op="Max", constants=(draw(8, seed=1), draw(8, 1, seed=2))),
    "pow": Case(op="Pow", constants=(np.asarray(3.0, dtype=np.float32),)),
    "average pool": Case(op="AveragePool", **pool(strides=[2, 2], pads=[1, 1, 1, 1])),
    "average pool with padding": Case(
        op="AveragePool", **pool(strides=[2, 2], pads=[1, 0, 1, 0], count_include_pad=1)
    ),
    "average pool, rounded up": Case(op="AveragePool", **pool(strides=[2, 2], ceil_mode=1)),
    "max pool": Case(op="MaxPool", **pool(strides=[2, 3], pads=[1, 1, 1, 1])),
    "max pool, rounded up": Case(
        op="MaxPool", **pool(strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    ),
    "max pool, same": Case(op="MaxPool", **pool(strides=[2, 2], auto_pad="SAME_UPPER")),
    "global average pool": Case(op="GlobalAveragePool"),
    "global max pool": Case(op="GlobalMaxPool"),
    "reduce mean": Case(op="ReduceMean", attributes={"axes": [1, -1]}),
    "reduce min": Case(op="ReduceMin", attributes={"axes": [2], "keepdims": 0}),
    "reduce max": Case(op="ReduceMax", attributes={"axes": [2]}),
    "reduce prod": Case(op="ReduceProd", attributes={"axes": [-1]}),
    "reduce sum": Case(op="ReduceSum", constants=(whole(1, 2),)),
    "batch normalisation": Case(
        op="BatchNormalization",
        constants=(*(draw(4, seed=n) for n in (1, 2, 3)), np.abs(draw(4, seed=4)) + 0.1),
    ),
    "instance normalisation": Case(
        op="InstanceNormalization", constants=(draw(4, seed=1), draw(4, seed=2))
    ),
    "layer normalisation": Case(
        op="LayerNormalization",
        constants=(draw(8, 8, seed=1), draw(8, 8, seed=2)),
        attributes={"axis": 2},
    ),
    "group normalisation": Case(
        op="GroupNormalization",
        opset=21,
        constants=(draw(4, seed=1), draw(4, seed=2)),
        attributes={"num_groups": 2},
    ),
    "argmax": Case(op="ArgMax", attributes={"axis": 1}, kind=TensorProto.INT64),
    "clip": Case(op="Clip", constants=(np.float32(-0.5), np.float32(0.7))),
    "clip to six": Case(op="Clip", constants=(np.float32(0), np.float32(6))),
    "concat": Case(op="Concat", constants=(draw(1, 2, 8, 8, seed=1),), attributes={"axis": 1}),
    "conv": Case(op="Conv", **conv()),
    "conv, all at once": Case(
        op="Conv",
        constants=(draw(6, 2, 3, 2, seed=1),),
        attributes={"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 1]},
    ),
    "conv, same": Case(op="Conv", **conv(auto_pad="SAME_UPPER", strides=[2, 2])),
    "conv, same below": Case(op="Conv", **conv(auto_pad="SAME_LOWER", strides=[2, 2])),
    "conv of one axis": Case(
        op="Conv", x=(1, 4, 12), constants=(draw(3, 4, 5, seed=1),), attributes={"pads": [2, 2]}
    ),
    "conv transposed": Case(
        op="ConvTranspose",
        constants=(draw(4, 3, 3, 3, seed=1), draw(6, seed=2)),
        attributes={"strides": [2, 2], "pads": [1, 1, 1, 1], "group": 2},
    ),
    "conv transposed, no pads": Case(
        op="ConvTranspose", constants=(draw(4, 3, 3, 3, seed=1),), attributes={"strides": [2, 1]}
    ),
    "depth to space": Case(op="DepthToSpace", attributes={"blocksize": 2}),
    "depth to space, columns": Case(op="DepthToSpace", attributes={"blocksize": 2, "mode": "CRD"}),
    "gemm": Case(
        op="Gemm",
        x=(3, 8),
        constants=(draw(8, 5, seed=1), draw(5, seed=2)),
    ),
    "gemm, transposed": Case(
        op="Gemm", x=(3, 8), constants=(draw(5, 8, seed=1),), attributes={"transB": 1}
    ),
    "matmul": Case(op="MatMul", constants=(draw(8, 5, seed=1),)),
    "resize, linear": Case(op="Resize", **resize("linear", "half_pixel")),
    "resize, corners": Case(op="Resize", **resize("linear", "align_corners")),
    "resize, down": Case(op="Resize", **resize("linear", "half_pixel", 0.5)),
    "resize, nearest": Case(op="Resize", **resize("nearest", "asymmetric", **FLOOR)),
    "resize to size": Case(op="Resize", **resized("linear", "half_pixel", 12)),
    "resize to size, corners": Case(op="Resize", **resized("linear", "align_corners", 13)),
    "resize to size, asymmetric": Case(op="Resize", **resized("linear", "asymmetric", 16)),
    "resize to size, nearest": Case(op="Resize", **resized("nearest", "asymmetric", 24, **FLOOR)),
    "slice": Case(op="Slice", constants=(whole(1, 7), whole(3, -9), whole(1, 2), whole(1, -2))),
    "split": Case(op="Split", constants=(whole(1, 3),), attributes={"axis": 1}, outputs=2),
    "softmax": Case(op="Softmax", attributes={"axis": 1}),
    "squeeze": Case(op="Squeeze", constants=(whole(0),)),
    "unsqueeze": Case(op="Unsqueeze", x=(4, 8), constants=(whole(0, 2),)),
    "transpose": Case(op="Transpose", attributes={"perm": [0, 3, 1, 2]}),
    "reshape": Case(op="Reshape", constants=(whole(0, -1, 16),)),
    "reciprocal": Case(op="Reciprocal", low=POSITIVE),
    "gather": Case(op="Gather", constants=(np.array([[2, 0], [-1, 5]]),), attributes={"axis": 2}),
    "gather, scalar": Case(op="Gather", constants=(np.array(-1),), attributes={"axis": -1}),
}
UNKNOWN = Case(
    op="GridSample", constants=(np.tanh(draw(1, 5, 5, 2, seed=1)),), attributes={"mode": "bilinear"}
)


def model(case: Case) -> onnx.ModelProto:
    names, constants = ["x"], []
    for place, value in enumerate(case.constants):
        names.append("" if value is None else f"c{place}")
        if value is not None:
            constants.append(numpy_helper.from_array(np.asarray(value), f"c{place}"))
    results = [f"y{place}" for place in range(case.outputs)]
    graph = helper.make_graph(
        [helper.make_node(case.op, names, results, name="node", **case.attributes)],
        "case",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, case.x)],
        [helper.make_tensor_value_info(name, case.kind, None) for name in results],
        constants,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=8
    )
    made = onnx.shape_inference.infer_shapes(made)
    for item in made.graph.output:
        if not item.type.tensor_type.HasField("shape"):  # a function, which keeps the shape
            item.CopyFrom(helper.make_tensor_value_info(item.name, case.kind, case.x))
    return made


def prove_cases(context: Any, cases: dict[str, Case]) -> dict[str, dict[str, Any]]:
    home = fresh_home(context)
    graphs = []
    for place, (name, case) in enumerate(cases.items()):
        path, feeds = home / f"{place}.onnx", home / f"{place}.npz"
        made = model(case)
        path.write_bytes(made.SerializeToString())
        ranges = {} if case.low is None else {"x": (case.low, 4.0)}
        drawn = own.draw_inputs(own.model_inputs(made), count=3, seed=place, ranges=ranges)
        own.write_feeds(feeds, drawn)
        graphs.append(Graph(label=name, path=path, folder=home / f"p{place}", feeds=feeds))
    inputs = Cases(names=("one", "two", "three"))
    setting = Setting(minimum_os="13.3")
    measured = prove_graphs(context, graphs, inputs, setting, say=lambda _: None)
    return {entry["label"]: entry for entry in measured}


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory, python: Path) -> dict[str, dict[str, Any]]:
    context = make_context(tmp_path_factory.mktemp("operators"), python)
    return prove_cases(context, {**CASES, "grid sample": UNKNOWN})


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_the_cpu_provider_computes(
    proven: dict[str, dict[str, Any]], name: str
) -> None:
    assert name in proven, "the provider wrote nothing"
    entry = proven[name]
    assert not entry["problems"], entry["problems"]
    assert not entry["unknown"]
    assert not entry["refused"]
    package, exact, _ = judge([entry])
    assert (package.status, exact.status) == ("passed", "passed"), (package, exact)
    assert entry["modes"]["exact"]["max_abs_vector"] < 1e-5
    assert entry["modes"]["fp16"]["worst_cosine"] > 0.999


def test_what_nobody_can_evaluate_is_listed_and_not_passed(
    proven: dict[str, dict[str, Any]],
) -> None:
    entry = proven["grid sample"]
    assert entry["unknown"] == {"resample": 1}
    assert [result.status for result in judge([entry])] == ["passed", "not-run", "not-run"]
