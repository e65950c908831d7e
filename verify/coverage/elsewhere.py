"""What helps with an operator whatever the reason, and with a reason whatever the operator."""

from __future__ import annotations

_FUSED = frozenset({
    "Attention", "BiasGelu", "ConvInteger", "DequantizeLinear", "DynamicQuantizeLSTM",
    "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "EmbedLayerNormalization", "FastGelu",
    "FusedConv", "FusedGemm", "FusedMatMul", "GroupQueryAttention", "MatMulInteger",
    "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "QAttention", "QuantizeLinear",
    "QuickGelu", "RotaryEmbedding", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    "SimplifiedLayerNormalization", "GatherBlockQuantized", "GroupNorm", "SkipGroupNorm",
})  # fmt: skip
_RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
})  # fmt: skip
_AFTERWARDS = frozenset({
    "Compress", "NonMaxSuppression", "NonZero", "TopK", "Unique",
})  # fmt: skip
_LISTS = frozenset({
    "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt",
    "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
    "SequenceMap", "SplitToSequence",
})  # fmt: skip
_TEXT = frozenset({
    "RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer",
})  # fmt: skip
_CLASSICAL = frozenset({
    "ArrayFeatureExtractor", "Binarizer", "CategoryMapper", "DictVectorizer", "FeatureVectorizer",
    "Imputer", "LabelEncoder", "LinearClassifier", "LinearRegressor", "Normalizer",
    "OneHotEncoder", "SVMClassifier", "SVMRegressor", "Scaler", "TreeEnsemble",
    "TreeEnsembleClassifier", "TreeEnsembleRegressor",
})  # fmt: skip
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_LOGIC = frozenset({
    "And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not",
    "Or", "Where", "Xor",
})  # fmt: skip
_SENTENCES = (
    (
        _FUSED,
        "{0} is written by tools that fuse or quantise for the CPU: take the float, unoptimised "
        "export.",
    ),
    (
        _RANDOM,
        "{0} draws its numbers on the CPU: make them an input of the model, which then gives the "
        "same for the same inputs.",
    ),
    (
        _AFTERWARDS,
        "{0} stays on the CPU: at the graph's end export the model without it, and compute it "
        "afterwards.",
    ),
    (
        _LISTS,
        "{0} makes or takes no tensor, and Core ML has nothing else: export the model without "
        "lists and optional values.",
    ),
    (_TEXT, "{0} works on text, which Core ML has not: do that before the model."),
    (
        _CLASSICAL,
        "{0} is of ai.onnx.ml, of which CoreML is given nothing: use the CPU provider for it.",
    ),
    (
        _RECURRENT,
        "{0} has no writer here and stays on the CPU: nothing is known to help but another model, "
        "for a short sequence the layer unrolled into MatMul, Sigmoid and Tanh.",
    ),
    (
        _LOGIC,
        "{0} gives or takes bool, and the provider writes none: keep masks as floats, made before "
        "the model, with Mul and Add in place of Where.",
    ),
    (
        ("Expand", "Tile"),
        "{0} to constant sizes: leave it out where Add or Mul follow, which broadcast by "
        "themselves, else write Concat.",
    ),
    (
        ("Upsample",),
        "{0} is of opset 9: onnx.version_converter.convert_version(model, 13) makes it a Resize.",
    ),
    (
        ("Einsum",),
        "{0} has no writer here: write Transpose, Reshape and MatMul.",
    ),
    (
        ("CumSum",),
        "{0} has no writer here: write MatMul with a constant triangle of ones.",
    ),
    (
        ("ReduceL1",),
        "{0} has no writer here: write ReduceSum of Max of x and -x.",
    ),
    (
        ("Size",),
        "{0} is not folded: write ReduceProd of a Shape, which goes away where the axes are fixed.",
    ),
    (
        ("ZipMap",),
        "{0} makes a list of maps: export with the option zipmap=False of skl2onnx, and the "
        "probabilities are a tensor.",
    ),
)


def of_operator(op: str) -> str:
    """Return a sentence that helps with an operator whatever the reason; empty for most."""
    if op.startswith(("QLinear", "QAttention", "QGemm")):
        return _SENTENCES[0][1].format(op)
    return next((said.format(op) for ops, said in _SENTENCES if op in ops), "")


_OF_THE_DATA = (
    "The shape of its input depends on the data: what follows it stays on the CPU; "
    "compute that after the model."
)
_CAST = (
    "It makes what is neither float, half nor an integer of 32 or 64 bits, as bool: keep masks as "
    "floats, with Mul and Add in place of Where."
)
_BY_WORDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("C of Gemm must be a constant", "B input must be a constant"),
        "Core ML's linear layer has constant weights: write MatMul and Add, and where the runtime "
        "has fused those, keep them apart with "
        'InferenceSession(…, disabled_optimizers=["MatMulAddFusion"]).',
    ),
    (
        ("Shape of C Gemm input",),
        "Take C out of the Gemm and put it into an Add behind it.",
    ),
    (
        ("Only support for transA",),
        "Multiply alpha and beta into the weights and the bias, and put transA into a Transpose.",
    ),
    (
        ("one of the inputs is 1D",),
        "Give the vector a second axis: Unsqueeze, MatMul, then Squeeze of the result.",
    ),
    (
        ("only allow static input shapes", "with dynamic dimension", "a known third from last",
         "requires static shape", "to have fixed", "allowed to be dynamic"),
        _OF_THE_DATA,
    ),
    (("training mode",), "Export the model for inference: in PyTorch call `model.eval()` first."),
    (
        ("rank greater than 5", "with > 5 dimensions"),
        "Core ML holds five axes at most: merge some with a Reshape before it.",
    ),
    (
        ("dimension values of 0", "dimension with value of 0", "Empty input data", "Empty range",
         "with 0 as dimension", "Invalid value in 'splits'", "slicing when size is 0",
         "Invalid num_outputs provided"),
        "One of its inputs or results has no elements: export the model without it.",
    ),
    (
        ("has no shape", "input shape was not known", "get input shape", "'data' shape",
         "'indices' shape", "no input shape", "Input shape is missing", "has no shape info",
         "tensor_shape is not available", "get weight shape"),
        "The runtime does not know the shape of its input, as behind a Loop: put a "
        "Reshape to constant sizes before it.",
    ),
    (
        ("empty input shape", "New shape of reshape cannot be empty"),
        "It takes or makes one number without axes: make it [1], as with `keepdims` or an index "
        "of [0] in place of 0.",
    ),
    (
        ("Cast has no preceding nodes",),
        "A Cast at the graph's entry stays on the CPU, at no second partition.",
    ),
    (
        ("dim > 16384",),
        "The provider takes no axis over 16384 here: a look-up table of this size "
        "stays on the CPU; keep it at the graph's entry.",
    ),
    (
        ("COREML_LOOK_UP",),
        "The model asks for that in its metadata, at no second partition; of the encoder's own "
        "graphs `--look-up inside` makes the others.",
    ),
    (
        ("do not fit 32 bits", "may be negative into"),
        "Core ML's integers have 32 bits and its look-up counts from the start: make the indices "
        "constants or an input, none of them negative, and the axis they point into fixed.",
    ),
    (
        ("PRelu 'slope'", "PRelu single 'slope'", "PRelu 'X' input must have 3 or 4"),
        "Write it as Relu of x, less slope times Relu of -x.",
    ),
    (
        ("select_last_index",),
        "Export it with select_last_index=0: the two differ only where the largest number comes "
        "twice.",
    ),
    (
        ("Only 1D and 2D Conv",),
        "The provider takes convolutions of one and two dimensions. Where a kernel is 1 along the "
        "third, move that axis to the batch (Transpose, Reshape); nothing is known to help others.",
    ),
    (
        ("bias of Conv", "ConvTranspose: bias must"),
        "Leave the bias out and put it into an Add behind it.",
    ),
    (
        ("SAME_LOWER",),
        "Write the numbers of `pads` in place of auto_pad.",
    ),
    (
        ("kernel_shape attribute does not match",),
        "The model's kernel_shape is not that of its weight: export it again.",
    ),
    (
        ("all pad values must be the same", "output_shape is not supported",
         "output_padding is not supported"),
        "Write it with pads of zero and neither output_shape nor output_padding, and cut the "
        "wanted part out with a Slice: the same where output_padding is at most the pads at the "
        "end.",
    ),
    (
        ("BN only support 4d", "Non-spatial BN"),
        "Write it as Mul and Add of constants, which any number of axes takes.",
    ),
    (
        ("of BN must be", "Scale must be a constant", "Bias must be a constant"),
        "Give it constant ones and zeros, and put what is computed into a Mul and an Add behind "
        "it; weights that are also inputs of the graph are no constants.",
    ),
    (
        ("stash_type",),
        "Export it with stash_type=1, ONNX's own default.",
    ),
    (
        ("Input types of LayerNorm",),
        "Make the input, the scale and the bias one type, float or half.",
    ),
    (
        ("Concat only support 2+", "Split must produce at least 2", "cannot be lower than 2"),
        "With one part it does nothing: export the model without it.",
    ),
    (
        ("No 'num_outputs'", "Mismatch between the sum of 'split'"),
        "Write the sizes of all parts as a constant, which add up to the axis.",
    ),
    (
        ("GridSample only supports 4D", "GridSample does not support mode"),
        "The provider takes GridSample of four axes, bilinear, and with reflection only with "
        "align_corners=1.",
    ),
    (
        ("LRN only supports",),
        "Make its input three or four axes with a Reshape.",
    ),
    (
        ("Pad requires input shape",),
        "Give it a second axis with a Reshape before it, and take it away behind it.",
    ),
    (
        ("Only `constant` mode Pad",),
        "Write the border with Slice and Concat, or pad the input before the model.",
    ),
    (
        ("`constant_value` input is required", "constant_value must be"),
        "Give it the third input, a constant 0.",
    ),
    (
        ("Negative pad value",),
        "Cut with a Slice in place of a negative pad.",
    ),
    (
        ("padding on last two dimensions",),
        "Transpose the axis to the end and back, or write a Concat with zeros.",
    ),
    (
        ("only supports rank-4 tensor", "Only pooling 2d"),
        "The provider pools two dimensions. For one, put an axis of 1 in with a Reshape; for "
        "three, pool two of them, then the third; a global pool is a ReduceMean or ReduceMax.",
    ),
    (
        ("storage_order", "Argmax in maxpooling"),
        "Core ML's pool gives no indices: export the model without that output.",
    ),
    (
        ("Resize only supports 3D to 5D",),
        "Make its input four axes with a Reshape.",
    ),
    (
        ("[Cast] Input type: [1]", "[Cast] Input type: [10]"),
        _CAST,
    ),
    (
        ("Dilations of pooling",),
        "Write it with Slices and Max, or without dilations; Core ML's pools have none.",
    ),
    (
        ("resizing the last two axes",),
        "Transpose so that the axes to resize come last.",
    ),
    (
        ("does not support antialias", "unsupported input mode", "exclude_outside",
         "keep_aspect_ratio_policy"),
        "Core ML resizes linear and nearest, without more: export it so, or resize before the "
        "model.",
    ),
    (
        ("nearest_mode", "'mode' of 'nearest' requires"),
        "Core ML's nearest is asymmetric with floor: export it so. For whole factors PyTorch's "
        "Upsample is that.",
    ),
    (
        ("'mode' of 'linear' requires",),
        "Export it with half_pixel or align_corners, or give `sizes` in place of `scales`.",
    ),
    (
        ("is not a whole number", "is not a factor of", "must both be >= 1",
         "Resize requires 'scales'"),
        "Give constant `sizes` in place of `scales`, which may be any.",
    ),
    (
        ("requires at least CoreML version",),
        "A newer macOS takes it, 14 or later.",
    ),
    (
        ("PrepareSliceComputeMetadata failed", "out of range", "Get Input type failed"),
        "The node is not as ONNX has it: export the model again.",
    ),
)  # fmt: skip
_CONSTANT = ("constant", "must be known")


def of_reason(reason: str) -> str:
    """Return a sentence that helps with what the provider said; empty where none is known."""
    return next((said for words, said in _BY_WORDS if any(each in reason for each in words)), "")


def otherwise(op: str, reason: str, model_format: str, *, dynamic: bool) -> str:
    """Return what is said where neither a sentence of its own nor a fixed axis helps."""
    if model_format == "NeuralNetwork":
        return f"The NeuralNetwork writer does not take this {op}: use ModelFormat=MLProgram."
    if any(words in reason for words in _CONSTANT):
        return (
            f"{op} wants its numbers as constants: write them into the model; where they are "
            "computed from the data it stays on the CPU."
        )
    if dynamic:
        return _OF_THE_DATA
    return f"No other way to write this {op} is known: it stays on the CPU."
