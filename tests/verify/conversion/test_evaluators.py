"""Our own semantics against ONNX's reference implementation, SciPy, and what torch made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from tests.kit.operator_cases import CONVOLUTIONS, STORED, draw, scale
from verify.conversion import evaluators as own
from verify.conversion import resizing as images
from verify.conversion.half_precision import PESSIMISTIC, half_matmul, half_sum, losses, rounded


def reference(op: str, inputs: list[np.ndarray], **attributes) -> np.ndarray:
    names = [f"i{place}" for place in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    return ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))[0]


def runtime(op: str, inputs: list[np.ndarray], **attributes) -> np.ndarray:
    """Run one operator on onnxruntime's CPU provider."""
    import onnxruntime

    names = [f"i{place}" for place in range(len(inputs))]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
            for name, value in zip(names, inputs, strict=True)
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(zip(names, inputs, strict=True)))[0]


def resized(x: np.ndarray, sizes: np.ndarray, **attributes) -> np.ndarray:
    """Resize with ONNX's reference implementation."""
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, None),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    return ReferenceEvaluator(model).run(None, {"x": x, "sizes": sizes})[0]


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_conv_agrees_with_onnx(case, bias):
    x, weight = draw(*case["x"]), draw(*case["weight"], seed=1)
    rank = x.ndim - 2
    inputs = [x, weight] + ([draw(weight.shape[0], seed=2)] if bias else [])
    pad = case.get("pad", [0] * 2 * rank)
    attributes = {
        "strides": case.get("strides", [1] * rank),
        "dilations": case.get("dilations", [1] * rank),
        "group": case.get("groups", 1),
        # ONNX: all begins, then all ends; Core ML: begin and end of each axis.
        "pads": [*pad[0::2], *pad[1::2]],
    }
    arguments = {
        "x": x,
        "weight": weight,
        "bias": inputs[2] if bias else None,
        "strides": case.get("strides"),
        "dilations": case.get("dilations"),
        "groups": case.get("groups"),
        "pad_type": "custom",
        "pad": pad,
    }
    wanted = reference("Conv", inputs, **attributes)
    np.testing.assert_allclose(own.conv(arguments), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("kind", "auto"), [("same", "SAME_UPPER"), ("same_lower", "SAME_LOWER")])
def test_same_padding_agrees_with_onnx(kind, auto, stride):
    x, weight = draw(1, 2, 7, 10), draw(3, 2, 4, 3, seed=1)
    wanted = reference("Conv", [x, weight], strides=[stride, stride], auto_pad=auto)
    given_ = {"x": x, "weight": weight, "strides": [stride, stride], "pad_type": kind}
    np.testing.assert_allclose(own.conv(given_), wanted, rtol=1e-4, atol=1e-5)


POOLS = [
    {"kernel": [3, 2], "strides": [1, 1], "pad": [0, 0, 0, 0]},
    {"kernel": [3, 3], "strides": [2, 2], "pad": [1, 1, 1, 1]},
    {"kernel": [2, 3], "strides": [3, 2], "pad": [1, 0, 0, 1]},
]


@pytest.mark.parametrize("case", POOLS)
def test_pools_agree_with_onnx(case):
    x, pad = draw(2, 3, 9, 8), case["pad"]
    arguments = {
        "x": x,
        "kernel_sizes": case["kernel"],
        "strides": case["strides"],
        "pad_type": "custom",
        "pad": pad,
        "ceil_mode": False,
    }
    attributes = {
        "kernel_shape": case["kernel"],
        "strides": case["strides"],
        "pads": [*pad[0::2], *pad[1::2]],
    }
    np.testing.assert_array_equal(own.max_pool(arguments), reference("MaxPool", [x], **attributes))
    for exclude in (False, True):
        wanted = reference("AveragePool", [x], count_include_pad=int(not exclude), **attributes)
        found = own.avg_pool({**arguments, "exclude_padding_from_average": exclude})
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_batch_norm_agrees_with_onnx():
    x = draw(2, 3, 4, 5)
    gamma, beta, mean = (draw(3, seed=seed) for seed in (1, 2, 3))
    variance = np.abs(draw(3, seed=4)) + 0.1
    wanted = reference("BatchNormalization", [x, gamma, beta, mean, variance], epsilon=1e-3)
    found = own.batch_norm(
        {
            "x": x,
            "gamma": gamma,
            "beta": beta,
            "mean": mean,
            "variance": variance,
            "epsilon": np.float32(1e-3),
        }
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_instance_norm_agrees_with_onnx():
    x, gamma, beta = draw(2, 3, 4, 5), draw(3, seed=1), draw(3, seed=2)
    wanted = reference("InstanceNormalization", [x, gamma, beta], epsilon=1e-3)
    found = own.instance_norm({"x": x, "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-3)})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "case",
    [
        {"weight": (4, 2, 3, 3)},
        {"weight": (4, 2, 3, 3), "strides": [2, 3], "pads": [1, 0, 2, 1]},
        {"weight": (4, 3, 2, 2), "group": 2, "strides": [2, 2]},
        {"weight": (4, 1, 3, 2), "group": 4, "dilations": [2, 1], "pads": [1, 1, 1, 1]},
    ],
)
def test_conv_transpose_agrees_with_onnx(case):
    x, weight = draw(2, 4, 5, 6), draw(*case["weight"], seed=1)
    bias = draw(weight.shape[1] * case.get("group", 1), seed=2)
    attributes = {key: value for key, value in case.items() if key != "weight"}
    wanted = runtime("ConvTranspose", [x, weight, bias], **attributes)
    pads = case.get("pads", [0] * 4)
    given_ = {
        "x": x,
        "weight": weight,
        "bias": bias,
        "strides": case.get("strides"),
        "dilations": case.get("dilations"),
        "groups": case.get("group"),
        "pad_type": "custom",
        "pad": [pads[0], pads[2], pads[1], pads[3]],
    }
    np.testing.assert_allclose(own.conv_transpose(given_), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "auto"), [("same", "SAME_UPPER"), ("same_lower", "SAME_LOWER")])
def test_conv_transpose_with_same_padding_multiplies_the_size(kind, auto):
    x, weight = draw(1, 2, 5, 4), draw(2, 3, 4, 3, seed=1)
    wanted = runtime("ConvTranspose", [x, weight], strides=[2, 2], auto_pad=auto)
    given_ = {"x": x, "weight": weight, "strides": [2, 2], "pad_type": kind}
    found = own.conv_transpose(given_)
    assert found.shape == (1, 3, 10, 8)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_conv_transpose_is_the_adjoint_of_conv():
    x, weight, y = draw(1, 3, 9, 7), draw(4, 3, 3, 3, seed=1), draw(1, 4, 4, 3, seed=2)
    strides = {"strides": [2, 2], "weight": weight}
    there = float((own.conv({"x": x, **strides}) * y).sum())
    back = own.conv_transpose({"x": y, **strides})
    assert there == pytest.approx(float((x * back).sum()), rel=1e-5)


@pytest.mark.parametrize("refused", [{"output_shape": [1, 1, 4, 4]}, {"pad_type": "same"}])
def test_conv_transpose_without_semantics_is_refused(refused):
    weight = draw(1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"output_shape|larger"):
        own.conv_transpose({"x": draw(1, 1, 2, 2), "weight": weight, "strides": [3, 3], **refused})


def test_depth_to_space_agrees_with_onnx():
    x = draw(2, 12, 3, 4)
    wanted = reference("DepthToSpace", [x], blocksize=2)
    np.testing.assert_array_equal(images.depth_to_space({"x": x, "block_size": 2}), wanted)


RESIZES = [
    ("half_pixel", "UNALIGN_CORNERS"),
    ("align_corners", "STRICT_ALIGN_CORNERS"),
    ("asymmetric", "DEFAULT"),
]


@pytest.mark.parametrize("size", [(10, 12), (4, 9), (1, 3)])
@pytest.mark.parametrize(("where", "mode"), RESIZES)
def test_resize_bilinear_agrees_with_onnx(where, mode, size):
    x = draw(1, 2, 5, 6)
    sizes = np.asarray([1, 2, *size], dtype=np.int64)
    wanted = resized(x, sizes, mode="linear", coordinate_transformation_mode=where)
    given_ = {"x": x, "target_size_height": size[0], "target_size_width": size[1]}
    found = images.resize_bilinear({**given_, "sampling_mode": mode})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("corners", "where"), [(True, "align_corners"), (False, "half_pixel")])
def test_upsample_bilinear_agrees_with_onnx(corners, where):
    x = draw(1, 2, 5, 6)
    sizes = np.asarray([1, 2, 15, 12], dtype=np.int64)
    wanted = resized(x, sizes, mode="linear", coordinate_transformation_mode=where)
    scales = {"scale_factor_height": 3.0, "scale_factor_width": 2.0}
    found = images.upsample_bilinear({"x": x, **scales, "align_corners": corners})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_nearest_neighbours_agree_with_onnx():
    x = draw(1, 2, 5, 6)
    options = {"mode": "nearest", "nearest_mode": "floor"}
    options["coordinate_transformation_mode"] = "asymmetric"
    wanted = resized(x, np.asarray([1, 2, 15, 12], dtype=np.int64), **options)
    scales = {"scale_factor_height": 3.0, "scale_factor_width": 2.0}
    np.testing.assert_array_equal(images.upsample_nearest_neighbor({"x": x, **scales}), wanted)
    sizes = {"target_size_height": 7, "target_size_width": 4}
    wanted = resized(x, np.asarray([1, 2, 7, 4], dtype=np.int64), **options)
    np.testing.assert_array_equal(images.resize_nearest_neighbor({"x": x, **sizes}), wanted)


@pytest.mark.parametrize("mode", ["DEFAULT", "STRICT_ALIGN_CORNERS", "UNALIGN_CORNERS"])
@settings(deadline=None)
@given(size=st.integers(1, 30))
def test_a_grid_of_the_same_size_is_the_identity(mode, size):
    np.testing.assert_allclose(images.grid(mode, size, size), np.arange(size), atol=1e-12)


def test_the_documented_grids_and_no_other():
    found = images.grid("OFFSET_CORNERS", 2, 5)
    np.testing.assert_allclose(found, [0.1, 0.3, 0.5, 0.7, 0.9])
    assert images.grid("ALIGN_CORNERS", 5, 1).tolist() == [2.0]
    with pytest.raises(ValueError, match="FANCY"):
        images.grid("FANCY", 2, 3)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize(
    ("size", "pad", "stride"), [((8, 9), 0, 2), ((6, 7), 1, 2), ((7, 7), 1, 3)]
)
def test_pools_rounded_up_agree_with_the_runtime(size, pad, stride, bare):
    x = draw(1, 2, *size)
    attributes = {"kernel_shape": [3, 3], "strides": [stride] * 2, "pads": [pad] * 4}
    given_ = {
        "x": x,
        "kernel_sizes": [3, 3],
        "strides": [stride] * 2,
        "pad_type": "custom",
        "pad": [pad] * 4,
        "ceil_mode": True,
    }
    wanted = runtime("MaxPool", [x], ceil_mode=1, **attributes)
    np.testing.assert_array_equal(own.max_pool(given_), wanted)
    wanted = runtime("AveragePool", [x], ceil_mode=1, count_include_pad=int(not bare), **attributes)
    found = own.avg_pool({**given_, "exclude_padding_from_average": bare})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_silu_neither_overflows_nor_loses_sign():
    x = np.array([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4], dtype=np.float32)
    with np.errstate(over="ignore"):
        wanted = x / (1 + np.exp(-x.astype(np.float64)))
    np.testing.assert_allclose(own.silu({"x": x}), wanted, rtol=1e-5, atol=1e-30)


def test_erf_agrees_with_coremltools_own():
    import math

    x = np.linspace(-5, 5, 1001, dtype=np.float32)
    wanted = [math.erf(float(value)) for value in x]
    np.testing.assert_allclose(own.erf({"x": x}), wanted, rtol=1e-14, atol=1e-16)


def test_a_cast_to_half_is_left_to_the_mode():
    third = np.array([1 / 3, -70000.0], dtype=np.float32)
    assert np.array_equal(own.cast({"x": third, "dtype": "fp16"}), third)
    assert own.cast({"x": third, "dtype": "int32"}).tolist() == [0, -70000]


@pytest.fixture(scope="module")
def torch_made():
    with np.load(STORED) as stored:
        return dict(stored)


@pytest.mark.parametrize("number", range(len(CONVOLUTIONS)))
def test_conv_agrees_with_torch(number, torch_made):
    case = CONVOLUTIONS[number]
    x, weight = draw(*case["x"]), draw(*case["weight"], seed=1)
    pad = case.get("pad", [0] * 2 * (x.ndim - 2))
    found = own.conv({**case, "x": x, "weight": weight, "pad_type": "custom", "pad": pad})
    np.testing.assert_allclose(found, torch_made[f"conv{number}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flag", [False, True])
def test_pools_agree_with_torch(flag, torch_made):
    arguments = {
        "x": draw(2, 3, 9, 8),
        "kernel_sizes": [3, 3],
        "strides": [2, 2],
        "pad_type": "custom",
        "pad": [1, 1, 1, 1],
        "ceil_mode": False,
    }
    largest = own.max_pool({**arguments, "ceil_mode": flag})
    np.testing.assert_array_equal(largest, torch_made[f"max_pool-{flag}"])
    mean = own.avg_pool({**arguments, "exclude_padding_from_average": flag})
    np.testing.assert_allclose(mean, torch_made[f"avg_pool-{flag}"], rtol=1e-5, atol=1e-6)


def test_batch_norm_and_silu_agree_with_torch(torch_made):
    x = draw(2, 3, 9, 8)
    found = own.batch_norm({"x": x, **scale(), "epsilon": np.float32(1e-3)})
    np.testing.assert_allclose(found, torch_made["batch_norm"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own.silu({"x": x}), torch_made["silu"], rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_rounding_is_idempotent_and_loses_only_what_it_says(values):
    full = np.array(values, dtype=np.float32)
    half = rounded(full)
    assert np.array_equal(rounded(half), half)
    kinds = {entry.kind: entry for entry in losses(full, half, operation="op", value="v")}
    overflow = (np.abs(full) >= 65520) & np.isfinite(full)
    assert ("overflow" in kinds) == bool(overflow.any())
    assert ("underflow" in kinds) == bool(((full != 0) & (np.abs(full) <= 2.0**-25)).any())
    if overflow.any():
        assert kinds["overflow"].share == pytest.approx(overflow.mean())


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=50))
def test_rounding_is_numpys_own_for_every_pattern_of_bits(patterns):
    full = np.array(patterns, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        wanted = full.astype(np.float16).astype(np.float32)
    found = rounded(full)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    real = ~np.isnan(wanted)
    assert np.array_equal(found[real].view(np.uint32), wanted[real].view(np.uint32))


def test_rounding_is_numpys_own_around_every_half():
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = halves[np.isfinite(halves)]
    between = (finite + np.abs(finite) * np.float32(2.0**-11)).astype(np.float32)
    for full in (finite, between, np.nextafter(between, np.float32(9e9)), finite * 1.0001):
        single = full.astype(np.float32)
        with np.errstate(all="ignore"):
            wanted = single.astype(np.float16).astype(np.float32)
        assert np.array_equal(rounded(single).view(np.uint32), wanted.view(np.uint32))
    assert rounded(np.float32(1 / 3)).shape == ()


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 100), st.integers(1, 40))
def test_sums_in_half_stay_within_the_error_bound(count, chunk):
    x = rounded(np.abs(draw(count, seed=count)))
    total = float(half_sum(x, 0, chunk=chunk)[0])
    exact = float(x.astype(np.float64).sum())
    steps = 2 * (count // chunk + 2)
    assert abs(total - exact) <= steps * 2.0**-11 * exact + 1e-6


def test_a_chunk_that_holds_everything_is_one_rounded_product():
    x, y = rounded(draw(3, 5)), rounded(draw(5, 4, seed=1))
    assert np.array_equal(half_matmul(x, y, chunk=5), rounded(x @ y))


@pytest.mark.parametrize("kind", sorted(PESSIMISTIC))
def test_pessimistic_forms_compute_the_same_thing(kind):
    x = draw(2, 3, 8)
    arguments = {
        "matmul": {"x": x, "y": draw(2, 5, 8, seed=1), "transpose_y": True},
        "linear": {"x": x, "weight": draw(5, 8, seed=1), "bias": draw(5, seed=2)},
        "softmax": {"x": x, "axis": -1},
        "layer_norm": {
            "x": x,
            "axes": [-1],
            "gamma": draw(8, seed=1),
            "beta": draw(8, seed=2),
            "epsilon": np.float32(1e-5),
        },
        "reduce_sum": {"x": x, "axes": [1], "keep_dims": True},
        "reduce_mean": {"x": x, "axes": [-1, 1], "keep_dims": False},
        "conv": {"x": x, "weight": draw(4, 3, 5, seed=1), "bias": draw(4, seed=2)},
        "conv_transpose": {"x": x, "weight": draw(3, 4, 5, seed=1)},
        "avg_pool": {"x": x, "kernel_sizes": [3], "strides": [1], "pad_type": "valid"},
    }[kind]
    if kind == "matmul":
        wanted = x @ arguments["y"].swapaxes(-1, -2)
    elif kind == "linear":
        wanted = x @ arguments["weight"].T + arguments["bias"]
    elif kind == "softmax":
        powers = np.exp(x)
        wanted = powers / powers.sum(-1, keepdims=True)
    elif kind == "layer_norm":
        apart = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        wanted = apart / scale * arguments["gamma"] + arguments["beta"]
    elif kind in ("conv", "conv_transpose", "avg_pool"):
        wanted = getattr(own, kind)(arguments)
    elif kind == "reduce_sum":
        wanted = x.sum(1, keepdims=True)
    else:
        wanted = x.mean((1, 2))
    found = PESSIMISTIC[kind](arguments)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=2e-2, atol=2e-2)
    assert not np.array_equal(found, wanted)
