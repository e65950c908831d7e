"""Every reason that 1.21.0's provider prints of an MLProgram has advice, or says that none helps.

The reasons are the words of its builders (``core/providers/coreml/builders``), with their numbers.
"""

from __future__ import annotations

import pytest

from verify.coverage.advice import advise

SENTENCES = {
    "PRelu": [
        ("PRelu 'X' input must have 3 or 4 dimensions, it has 2 dimensions", "Relu of -x"),
        ("PRelu 'slope' input must be a constant initializer tensor", "Relu of -x"),
        ("PRelu 'slope' input must either have shape [C, 1, 1] or have a single", "Relu of -x"),
        ("PRelu single 'slope' value in CoreML weight is not supported", "Relu of -x"),
        ("PRelu 'X' input must have a known third from last dimension.", "depends on the data"),
    ],
    "ArgMax": [("select_last_index for ArgMax is not supported", "select_last_index=0")],
    "BatchNormalization": [
        ("BN only support 4d shape for now, input is 3d shape", "Mul and Add of constants"),
        ("Non-spatial BN is not supported", "Mul and Add of constants"),
        ("Var of BN must be a constant initializer", "constant ones and zeros"),
        ("Your onnx model may be in training mode, please export", "model.eval()"),
    ],
    "Conv": [
        ("Conv [c] is 3D. Only 1D and 2D Conv are supported currently.", "one and two dimensions"),
        ("The bias of Conv [c] must be a constant initializer", "an Add behind it"),
        ("Pad type of SAME_LOWER  [c] is not supported until CoreML 6.", "numbers of `pads`"),
        ("Conv [c] kernel_shape attribute does not match the weight shape", "export it again"),
    ],
    "ConvTranspose": [
        ("ConvTranspose: weight must be constant", "as constants"),
        ("ConvTranspose: bias must be constant", "an Add behind it"),
        ("ConvTranspose: support for SAME_LOWER/SAME_UPPER is not implemented", "of `pads`"),
        ("ConvTranspose: all pad values must be the same for CoreML to return", "with a Slice"),
        ("ConvTranspose: output_shape is not supported as the CoreML output", "with a Slice"),
        ("ConvTranspose: output_padding is not supported", "with a Slice"),
        ("ConvTranspose: kernel_shape attribute does not match the weight", "export it again"),
    ],
    "Cast": [
        ("[Cast] Input type: [1] is not supported.", "keep masks as floats"),
        ("[Cast] Input type: [7] is not supported.", "neither float, half nor an integer"),
        ("[Cast] Input type: [9] is not supported.", "It works on bool"),
        ("Cast has no preceding nodes.", "at no second partition"),
    ],
    "Concat": [("Concat only support 2+ inputs, actual number of inputs: 1", "without it")],
    "DepthToSpace": [
        ("DepthToSpace: CRD mode requires static shape", "depends on the data"),
        ("DepthToSpace: DCR mode with float16 input requires at least CoreML version 7.", "14 or"),
    ],
    "Gather": [
        ("Gather does not support output with rank greater than 5", "five axes at most"),
        ("Gather does not support integers that do not fit 32 bits, or may be", "32 bits"),
        ("Gather does not support 'indices' that may be negative into an axis of", "negative"),
        ("Gather is a look-up, which the model's COREML_LOOK_UP leaves to the", "its metadata"),
        ("[Gather] Input type: [8] is not supported for now", "works on text"),
        ("Failed to get 'data' shape", "does not know the shape"),
    ],
    "Gemm": [
        ("Gemm B input must be a constant initializer", "MatMulAddFusion"),
        ("C of Gemm must be a constant initializer", "MatMulAddFusion"),
        ("Only support for transA == 0, alpha == 1.0 and beta == 1.0 is", "alpha and beta into"),
        ("Shape of C Gemm input must be {}, {1}, {N}, or {1, N}. N:4", "an Add behind it"),
    ],
    "MatMul": [
        ("Skipping due to bug in CoreML ML Program when one of the inputs is 1D.", "Squeeze")
    ],
    "GridSample": [
        ("GridSample only supports 4D input. Got:5D", "four axes, bilinear"),
        ("GridSample does not support mode of nearest", "four axes, bilinear"),
    ],
    "InstanceNormalization": [
        ("Scale must be a constant initializer", "constant ones and zeros"),
        ("Bias must be a constant initializer", "constant ones and zeros"),
    ],
    "LayerNormalization": [
        ("stash_type != 1 is not supported", "stash_type=1"),
        ("Input types of LayerNorm must be the same", "one type, float or half"),
        ("Your onnx model (with LayerNormalization) may be in training mode,", "model.eval()"),
    ],
    "Pad": [("Operator [Pad] does not support MLProgram", "Concat with zeros")],
    "LRN": [("Operator [LRN] does not support MLProgram", "with other operators")],
    "MaxPool": [
        ("MaxPool only supports rank-4 tensor, input [x] has actual dim count 3", "axis of 1"),
        ("Only pooling 2d is supported", "axis of 1"),
        ("storage_order == 1 is not supported", "gives no indices"),
        ("Argmax in maxpooling is not supported", "gives no indices"),
        ("Dilations of pooling is not supported", "Slices and Max"),
    ],
    "ReduceMean": [("Axes of reduction must be a constant initializer", "as constants")],
    "Reshape": [
        ("New shape of reshape must be a constant initializer", "as constants"),
        ("New shape of reshape cannot be empty", "make it [1]"),
        ("Reshape does not support empty input shape", "make it [1]"),
        ("Reshape does not support new shape with rank greater than 5. Input", "five axes"),
        ("Reshape does not support new shape with 0 as dimension when allowzero", "no elements"),
    ],
    "Resize": [
        ("Resize with 'scales' requires the H and W dimensions to have fixed", "on the data"),
        ("Resize 'scales' input must be a constant initializer", "as constants"),
        ("Resize only supports resizing the last two axes. Scale of axis 1 is 2", "come last"),
        ("Resize only supports 3D to 5D input. Got: 2D", "four axes with a Reshape"),
        ("Resize does not support antialias", "linear and nearest"),
        ("Resize unsupported input mode: cubic", "linear and nearest"),
        ("Resize does not support 'exclude_outside'", "linear and nearest"),
        ("Resize only supports keep_aspect_ratio_policy of 'stretch'. Got", "linear and nearest"),
        ("Resize only supports 'floor' nearest_mode. Got: ceil", "asymmetric with floor"),
        ("Resize with 'mode' of 'nearest' requires 'coordinate_transformation", "asymmetric with"),
        ("Resize with 'mode' of 'linear' requires 'coordinate_transformation", "half_pixel or"),
        ("Resize requires 'scales' or 'sizes' input", "constant `sizes`"),
        ("Resize: scale_h: 1.5 is not a whole number", "constant `sizes`"),
        ("Resize: downsampling scale 0.3 is not a factor of input width: 4", "constant `sizes`"),
        ("Resize: scale_h: 2 and scale_w: 0.5 must both be >= 1 or <= 1", "constant `sizes`"),
        ("Resize input shape has with dimension values of 0 which is not", "no elements"),
    ],
    "Shape": [
        ("Shape does not support slicing when size is 0", "no elements"),
        ("Shape does not support slicing when tensor_shape is not available", "not know the shape"),
    ],
    "Slice": [
        ("'starts' (NodeArg name: 's') is not a constant initializer tensor", "as constants"),
        ("Empty range is not supported: [3, 3) with step 1", "no elements"),
        ("PrepareSliceComputeMetadata failed:bad", "export the model again"),
    ],
    "Softmax": [("Empty input data is not supported.", "no elements")],
    "Split": [
        ("CoreML 'splits' input must be a constant initializer.", "as constants"),
        ("CoreML Split must produce at least 2 outputs.", "without it"),
        ("Mismatch between the sum of 'split'. Expected: 4Actual: 3", "add up to the axis"),
        ("Invalid value in 'splits' input.", "no elements"),
        ("Dim at the splitting axis is not allowed to be dynamic.", "depends on the data"),
        ("No 'num_outputs' provided. For split 18+, num_outputs is a required", "all parts"),
        ("Invalid num_outputs. The value cannot be lower than 2.", "without it"),
        ("Invalid num_outputs provided.", "no elements"),
    ],
    "Squeeze": [("Input axes must be known", "as constants")],
    "Unsqueeze": [("Unsqueeze to output shape with > 5 dimensions is not supported", "five axes")],
    "Add": [
        ("CoreML EP doesn't allow input shapes with rank greater than 5. Input: x", "five axes"),
        ("CoreML EP is set to only allow static input shapes. Input has a dynamic", "on the data"),
        ("CoreML does not support input dim > 16384. Input:x", "over 16384"),
        ("Input [x] of Node [add] type [Add] has no shape", "not know the shape"),
        ("[add] Input shape is missing", "not know the shape"),
        ("Input index [1] is out of range", "export the model again"),
        ("[Add] Get Input type failed", "export the model again"),
    ],
    # Nothing writes these, and what helps is the operator's own.
    "LSTM": [("", "unrolled")],
    "Where": [("", "keep masks as floats")],
    "GreaterOrEqual": [("", "keep masks as floats")],
    "Expand": [("", "broadcast by themselves")],
    "Upsample": [("", "coordinate_transformation_mode to asymmetric")],
    "Einsum": [("", "Transpose, Reshape and MatMul")],
}
CASES = [(op, *pair) for op, pairs in SENTENCES.items() for pair in pairs]


@pytest.mark.parametrize(("op", "reason", "wanted"), CASES)
def test_every_reason_has_advice(op: str, reason: str, wanted: str) -> None:
    said = f"{reason}; Operator [{op}] is not supported by the impl" if reason else ""
    found = advise(op, said, shapes=[(1, 2)], axes=(), model_format="MLProgram")
    assert wanted in found


@pytest.mark.parametrize(
    "reason",
    [
        "Dim at the splitting axis is not allowed to be dynamic.",
        "Mismatch between the sum of 'split'. Expected: -1Actual: 3",
        "CoreML 'splits' input must be a constant initializer.",
        "Input [x] of Node [split] type [Split] has no shape",
    ],
)
def test_what_a_fixed_axis_mends_is_told_to_be_fixed(reason: str) -> None:
    found = advise("Split", reason, shapes=[(1, "n")], axes=("n",), model_format="MLProgram")
    assert "--fix n=N" in found


@pytest.mark.parametrize(
    "reason",
    ["Concat only support axis to be -3, actual axis: 2", "ceil_mode == 1 is not supported"],
)
def test_what_the_older_format_lacks_the_newer_may_have(reason: str) -> None:
    found = advise("Concat", reason, shapes=[(1, 2)], axes=(), model_format="NeuralNetwork")
    assert "use ModelFormat=MLProgram" in found
