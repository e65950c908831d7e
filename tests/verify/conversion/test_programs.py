"""Packages are read, checked and evaluated; the packages here are written by coremltools."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from verify.conversion.evaluate import apply, evaluate, first_departure, unknown_operations
from verify.conversion.package import (
    PackageError,
    allowed_spec_version,
    find_packages,
    integrity,
    quiet,
    read_package,
)
from verify.conversion.program import (
    NotEvaluated,
    Operation,
    Program,
    _as_the_provider_writes,
    from_function,
    load_program,
    same_but_names,
)

pytestmark = pytest.mark.filterwarnings("ignore")
TOKENS = HEADS = SIZE = 4
HIDDEN, WIDE = HEADS * SIZE, 64


def opset():
    quiet()
    import coremltools

    return coremltools.target.iOS17


def encoder_block(mask_value: float = -10000.0):
    """One BERT layer in the provider's form; tokens = heads, so that axes may be mixed up."""
    version = opset()
    from coremltools.converters.mil.mil import Builder as mb

    draw = np.random.default_rng(7)

    def weights(name, *shape, scale=0.3, shift=0.0):
        value = draw.normal(size=shape) * scale + shift
        return mb.const(val=value.astype(np.float32), name=name)

    def linear(x, name):
        product = mb.matmul(
            x=x,
            y=weights(f"{name}_weight", HIDDEN, HIDDEN),
            transpose_x=False,
            transpose_y=False,
            name=f"{name}_matmul",
        )
        return mb.add(x=product, y=weights(f"{name}_bias", HIDDEN), name=name)

    def heads(x, name, perm):
        split = mb.reshape(x=x, shape=[1, TOKENS, HEADS, SIZE], name=f"{name}_split")
        return mb.transpose(x=split, perm=perm, name=f"{name}_heads")

    def norm(x, name):
        return mb.layer_norm(
            x=x,
            axes=[-1],
            gamma=weights(f"{name}_gamma", HIDDEN, shift=1.0),
            beta=weights(f"{name}_beta", HIDDEN),
            epsilon=np.float32(1e-5),
            name=name,
        )

    specs = [mb.TensorSpec(shape=(1, TOKENS, HIDDEN)), mb.TensorSpec(shape=(1, 1, 1, TOKENS))]

    @mb.program(input_specs=specs, opset_version=version)
    def program(states, mask):
        query = heads(linear(states, "query"), "query", [0, 2, 1, 3])
        key = heads(linear(states, "key"), "key", [0, 2, 3, 1])
        value = heads(linear(states, "value"), "value", [0, 2, 1, 3])
        scores = mb.matmul(x=query, y=key, transpose_x=False, transpose_y=False, name="scores")
        scaled = mb.real_div(x=scores, y=np.float32(2.0), name="scaled")
        inverse = mb.sub(x=np.float32(1.0), y=mask, name="inverse")
        bias = mb.mul(x=inverse, y=np.float32(mask_value), name="mask_bias")
        masked = mb.add(x=scaled, y=bias, name="masked")
        shares = mb.softmax(x=masked, axis=-1, name="shares")
        mixed = mb.matmul(x=shares, y=value, transpose_x=False, transpose_y=False, name="mixed")
        turned = mb.transpose(x=mixed, perm=[0, 2, 1, 3], name="turned")
        joined = mb.reshape(x=turned, shape=[1, TOKENS, HIDDEN], name="joined")
        attention = norm(
            mb.add(x=linear(joined, "output"), y=states, name="attention_residual"), "attention"
        )
        wide = mb.linear(
            x=attention,
            weight=weights("wide_weight", WIDE, HIDDEN),
            bias=weights("wide_bias", WIDE),
            name="wide",
        )
        divided = mb.real_div(x=wide, y=np.float32(np.sqrt(2)), name="gelu_divided")
        half = mb.mul(x=wide, y=np.float32(0.5), name="gelu_half")
        rest = mb.add(x=mb.erf(x=divided, name="gelu_erf"), y=np.float32(1), name="gelu_shifted")
        gelu = mb.mul(x=half, y=rest, name="gelu")
        narrow = mb.linear(
            x=gelu,
            weight=weights("narrow_weight", HIDDEN, WIDE),
            bias=weights("narrow_bias", HIDDEN),
            name="narrow",
        )
        return norm(mb.add(x=narrow, y=attention, name="residual"), "last_hidden_state")

    return program


def write_package(program, folder: Path) -> Path:
    """Write a program as a package in the provider's layout, the weights by Apple's writer."""
    from coremltools.converters.mil.backend.mil.load import load as export

    root = folder / "Data" / "com.microsoft.OnnxRuntime"
    (root / "weights").mkdir(parents=True)
    model = export(program, str(root / "weights"), specification_version=8)
    (root / "model.mlmodel").write_bytes(model.SerializeToString())
    items = {
        "one": {"path": "com.microsoft.OnnxRuntime/model.mlmodel"},
        "two": {"path": "com.microsoft.OnnxRuntime/weights"},
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": items,
        "rootModelIdentifier": "one",
    }
    (folder / "Manifest.json").write_text(json.dumps(manifest))
    return folder


def example_inputs(seed: int = 1) -> dict[str, np.ndarray]:
    states = np.random.default_rng(seed).normal(size=(1, TOKENS, HIDDEN)).astype(np.float32)
    return {"states": states, "mask": np.array([[[[1, 1, 1, 0]]]], dtype=np.float32)}


def every_value(program: Program) -> dict[str, np.ndarray]:
    """Return all values of a program for the example's inputs, inner ones and constants too."""
    values = {**program.constants, **example_inputs()}
    for operation in program.operations:
        results = apply(operation, values, "exact")
        values.update(zip(operation.outputs, results, strict=True))
    return values


def small(build) -> Program:
    """Return a program of a function of the builder and one input ``x`` of shape [1, 2, 3]."""
    version = opset()
    from coremltools.converters.mil.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 2, 3))], opset_version=version)
    def program(x):
        return build(mb, x)

    return from_function(program.functions["main"])


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package(encoder_block(), tmp_path_factory.mktemp("package") / "model")


def reference_block(program: Program, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Compute the layer again in float64, by the formulas and not through the program."""
    from scipy.special import erf, softmax

    c = {name: np.asarray(v, np.float64) for name, v in program.constants.items() if len(name) > 9}
    c |= {n: np.asarray(program.constants[n], np.float64) for n in ("key_bias", "wide_bias")}

    def norm(x, name):
        apart = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(apart.var(-1, keepdims=True) + 1e-5)
        return apart / scale * c[f"{name}_gamma"] + c[f"{name}_beta"]

    def linear(x, name):
        return x @ c[f"{name}_weight"] + c[f"{name}_bias"]

    def split(x):
        return x.reshape(TOKENS, HEADS, SIZE).transpose(1, 0, 2)

    x = inputs["states"][0].astype(np.float64)
    q, k, v = (split(linear(x, name)) for name in ("query", "key", "value"))
    bias = (1 - inputs["mask"][0, 0]) * -10000.0
    shares = softmax(q @ k.transpose(0, 2, 1) / 2 + bias, axis=-1)
    joined = (shares @ v).transpose(1, 0, 2).reshape(TOKENS, HIDDEN)
    attention = norm(linear(joined, "output") + x, "attention")
    wide = attention @ c["wide_weight"].T + c["wide_bias"]
    gelu = wide * 0.5 * (1 + erf(wide / np.sqrt(2)))
    return norm(gelu @ c["narrow_weight"].T + c["narrow_bias"] + attention, "last_hidden_state")


def test_evaluation_agrees_with_the_formulas_in_float64(package):
    program = load_program(read_package(package))
    inputs = example_inputs()
    found = evaluate(program, inputs).outputs["last_hidden_state"][0]
    np.testing.assert_allclose(found, reference_block(program, inputs), atol=5e-6)


def test_half_drifts_and_accumulating_in_half_drifts_more(package):
    program = load_program(read_package(package))
    gaps = {}
    for mode in ("fp16", "fp16-accumulate"):
        worst = 0.0
        for seed in range(4):
            inputs = example_inputs(seed)
            exact = evaluate(program, inputs).outputs["last_hidden_state"]
            found = evaluate(program, inputs, mode).outputs["last_hidden_state"]
            assert np.array_equal(found, found.astype(np.float16).astype(np.float32))
            worst = max(worst, float(np.abs(found - exact).max()))
        gaps[mode] = worst
    assert 1e-5 < gaps["fp16"] < gaps["fp16-accumulate"] < 0.1


@pytest.mark.parametrize("value", [-1e9, float(np.finfo(np.float32).min)])
def test_a_mask_bias_that_half_cannot_hold_is_named_with_what_it_does(tmp_path, value):
    program = load_program(read_package(write_package(encoder_block(value), tmp_path / "model")))
    result = evaluate(program, example_inputs(), "fp16")
    overflow = [entry for entry in result.lost if entry.kind == "overflow"]
    assert [(entry.operation, entry.lowest) for entry in overflow] == [
        ("constant", pytest.approx(value))
    ]
    assert "overflows to infinity" in overflow[0].sentence()
    assert result.first_nan == "mul mask_bias"
    assert np.isfinite(evaluate(program, example_inputs()).outputs["last_hidden_state"]).all()


def test_a_mask_bias_that_half_holds_overflows_nowhere(package):
    result = evaluate(load_program(read_package(package)), example_inputs(), "fp16")
    assert [entry for entry in result.lost if entry.kind == "overflow"] == []
    assert result.first_nan == ""


def test_an_overflow_inside_the_program_names_the_operation():
    program = small(lambda mb, x: mb.mul(x=mb.square(x=x, name="squared"), y=1e-4, name="y"))
    x = np.full((1, 2, 3), 300.0, np.float32)
    result = evaluate(program, {"x": x}, "fp16")
    found = [(entry.kind, entry.operation, entry.value, entry.highest) for entry in result.lost]
    assert ("overflow", "square", "squared", 90000.0) in found


def test_a_value_that_vanishes_is_named():
    program = small(lambda mb, x: mb.mul(x=x, y=np.float32(1e-3), name="tiny"))
    result = evaluate(program, {"x": np.full((1, 2, 3), 1e-5, np.float32)}, "fp16")
    [lost] = [entry for entry in result.lost if entry.value == "tiny"]
    assert (lost.kind, lost.share) == ("underflow", 1.0)
    assert "underflows to zero" in lost.sentence()


def test_an_operation_without_semantics_is_listed_and_not_evaluated():
    program = small(lambda mb, x: mb.local_response_norm(x=x, size=3, name="y"))
    assert unknown_operations(program) == {"local_response_norm": 1}
    with pytest.raises(NotEvaluated, match="local_response_norm"):
        evaluate(program, {"x": np.zeros((1, 2, 3), np.float32)})


def test_a_reduction_that_is_declared_in_half_is_not_rounded_in_the_exact_mode():
    def build(mb, x):
        return mb.reduce_mean(x=mb.cast(x=x, dtype="fp16"), axes=[2], keep_dims=False, name="y")

    x = np.random.default_rng(0).normal(size=(1, 2, 3)).astype(np.float32)
    found = evaluate(small(build), {"x": x}).outputs["y"]
    np.testing.assert_allclose(found, x.mean(2), rtol=1e-6)
    half = evaluate(small(build), {"x": x}, "fp16").outputs["y"]
    assert np.array_equal(half, half.astype(np.float16).astype(np.float32))
    assert not np.array_equal(half, found)


def test_a_missing_input_is_no_result(package):
    with pytest.raises(NotEvaluated, match="mask"):
        evaluate(load_program(read_package(package)), {"states": example_inputs()["states"]})


def test_nothing_departs_from_itself(package):
    program = load_program(read_package(package))
    assert first_departure(program, every_value(program)) is None


def test_operations_without_a_value_between_them_are_all_suspects(package):
    program = load_program(read_package(package))
    values = every_value(program)
    reference = {name: v for name, v in values.items() if name not in program.constants}
    for inner in ("query", "query_split"):
        del reference[inner]
    reference["query_heads"] = reference["query_heads"] + 1
    departure = first_departure(program, reference)
    assert departure.name == "query"
    assert departure.suspects == ("add query", "reshape query_split", "transpose query_heads")
    assert "not told apart" in departure.sentence()


@pytest.mark.parametrize("broken", [False, True])
def test_a_departure_after_the_references_own_nan_names_it(broken):
    def build(mb, x):
        return mb.reduce_max(x=mb.pow(x=x, y=np.float32(0.5), name="root"), axes=[2], name="y")

    program = small(build)
    x = np.full((1, 2, 3), 4.0, np.float32)
    root = np.full((1, 2, 3), 2.0, np.float32)
    if not broken:
        x[0, 0, 0], root[0, 0, 0] = -1.0, np.nan  # a maximum that passes NaN over is the CPU's
    reference = {"x": x, "root": root, "y": np.full((1, 2, 1), 3.0 if broken else 2.0, np.float32)}
    departure = first_departure(program, reference)
    assert departure.kind == "reduce_max"
    assert departure.nan_given == ("" if broken else "root")


def test_an_intact_package_has_no_problem(package):
    read = read_package(package)
    problems, facts = integrity(read, "13.3")
    assert problems == []
    assert facts["specification"] == 8
    assert facts["allowed"] == 7
    assert facts["operations_exist_for_minimum_os"] is True
    assert facts["constants_in_file"] == 16
    assert facts["weight_bytes"] == 4 * (4 * (256 + 16) + 4 * 16 + 2 * 1024 + 64 + 16)
    assert (read.inputs, read.outputs) == (("states", "mask"), ("last_hidden_state",))


def test_a_reduction_of_constants_is_read(tmp_path):
    version = opset()
    from coremltools.converters.mil.mil import Builder as mb

    with _as_the_provider_writes():

        @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))], opset_version=version)
        def program(x):
            known = mb.const(val=np.float32([[1, 5, 2]]), name="known")
            largest = mb.reduce_max(x=known, axes=[1], keep_dims=True, name="largest")
            return mb.add(x=x, y=largest, name="y")

        read = read_package(write_package(program, tmp_path / "model"))
    assert integrity(read, "13.3")[0] == []
    result = evaluate(load_program(read), {"x": np.zeros((2, 3), np.float32)})
    assert result.outputs["y"].tolist() == [[5.0] * 3] * 2


def test_a_scalar_that_is_declared_with_one_axis_is_read(tmp_path):
    version = opset()
    from coremltools.converters.mil.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))], opset_version=version)
    def program(x):
        return mb.add(x=x, y=mb.reduce_sum(x=x, keep_dims=False, name="total"), name="y")

    read = read_package(write_package(program, tmp_path / "model"))
    total = next(op for op in read.block.operations if op.outputs[0].name == "total")
    for size, wrong in ((1, False), (2, True)):
        del total.outputs[0].type.tensorType.dimensions[:]
        total.outputs[0].type.tensorType.rank = 1
        total.outputs[0].type.tensorType.dimensions.add().constant.size = size
        if wrong:
            with pytest.raises(AssertionError, match="Mismatch"):
                load_program(read)
            continue
        result = evaluate(load_program(read), {"x": np.ones((2, 3), np.float32)})
        assert result.outputs["y"].tolist() == [[7.0] * 3] * 2
        assert integrity(read, "13.3")[0] == []


def test_an_operation_newer_than_the_promised_system_is_a_problem(tmp_path):
    version = opset()
    from coremltools.converters.mil.mil import Builder as mb

    # reshape_like came with specification 7 and a package for macOS 12 may not hold it.
    @mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))], opset_version=version)
    def program(x):
        return mb.pixel_unshuffle(
            x=mb.reshape(x=x, shape=[1, 1, 2, 3], name="r"), downscale_factor=np.uint32(1), name="y"
        )

    read = read_package(write_package(program, tmp_path / "model"))
    assert integrity(read, "14.0")[0] == []
    [problem] = integrity(read, "12.0")[0]
    assert "newer than macOS 12.0 reads (6)" in problem


@pytest.mark.parametrize(("system", "version"), [("12.3", 6), ("13.3", 7), ("14", 8), ("15.1", 9)])
def test_specifications_by_system(system, version):
    assert allowed_spec_version(system) == version


def test_an_unknown_system_is_refused():
    with pytest.raises(PackageError, match=r"10\.4"):
        allowed_spec_version("10.4")


def damaged(package: Path, folder: Path, change) -> Path:
    import shutil

    copy = folder / "copy"
    shutil.copytree(package, copy)
    path = copy / "Data" / "com.microsoft.OnnxRuntime" / "weights" / "weight.bin"
    content = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(content)))
    return copy


def _sentinel(content):
    content[64:68] = struct.pack("<I", 1)
    return content


def _type(content):
    content[68:72] = struct.pack("<I", 1)
    return content


def _size(content):
    content[72:80] = struct.pack("<Q", 4)
    return content


def _far(content):
    content[80:88] = struct.pack("<Q", 1 << 40)
    return content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_sentinel, "no record begins there"),
        (_type, "the file holds type 1"),
        (_size, "the file holds 4 bytes"),
        (_far, "its data end at"),
        (lambda content: content[:-10], "its data end at"),
        (lambda content: content[:200], "inside the file of 200 bytes"),
    ],
)
def test_damaged_weights_are_found(package, tmp_path, change, words):
    problems, _ = integrity(read_package(damaged(package, tmp_path, change)), "14.0")
    assert any(words in problem for problem in problems), problems


def test_missing_weights_are_found(package, tmp_path):
    copy = damaged(package, tmp_path, lambda content: content)
    next(copy.rglob("weight.bin")).unlink()
    assert integrity(read_package(copy), "14.0")[0] == [
        "16 constants name weight.bin, and there is none"
    ]


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"itemInfoEntries": {"a": {"path": "x"}}, "rootModelIdentifier": "b"}', "cannot be read"),
        (
            '{"itemInfoEntries": {"a": {"path": "../.."}}, "rootModelIdentifier": "a"}',
            "not below Data",
        ),
        ('{"itemInfoEntries": {"a": {"path": "x"}}, "rootModelIdentifier": "a"}', "not below Data"),
    ],
)
def test_a_broken_manifest_is_told_in_a_sentence(tmp_path, manifest, words):
    (tmp_path / "Data").mkdir()
    (tmp_path / "Manifest.json").write_text(manifest)
    assert find_packages(tmp_path) == [tmp_path]
    with pytest.raises(PackageError, match=words):
        read_package(tmp_path)


def difference(*, names="abyz", kind="sub", order=(0, 1), weight=2.0, last=3):
    """(a - b) * weight, in names of one's own choice."""
    reads = [names[place] for place in order]
    pair = {"x": (reads[0],), "y": (reads[1],)}
    first = Operation(kind=kind, name="f", inputs=pair, outputs=(names[2],), source=None)
    product = {"x": (names[2],), "y": ("w",)}
    second = Operation(kind="mul", name="s", inputs=product, outputs=(names[3],), source=None)
    return Program(
        inputs=tuple(names[:2]),
        outputs=(names[last],),
        operations=(first, second),
        constants={"w": np.float32(weight)},
    )


def test_programs_that_differ_in_names_alone_are_known():
    assert same_but_names(difference(), difference(names="badc"))
    others = [{"kind": "add"}, {"order": (1, 0)}, {"order": (0, 0)}, {"weight": 2.5}, {"last": 2}]
    for other in others:
        assert not same_but_names(difference(), difference(**other))
