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


_BY_WORDS = (
    (
        "C of Gemm must be a constant",
        "Core ML's bias is constant: write MatMul and Add, and where the runtime has fused those, "
        'keep them apart with InferenceSession(…, disabled_optimizers=["MatMulAddFusion"]).',
    ),
    (
        "only allow static input shapes",
        "The shape of its input depends on the data: what follows it stays on the CPU; "
        "compute that after the model.",
    ),
    ("training mode", "Export the model for inference: in PyTorch call `model.eval()` first."),
    (
        "rank greater than 5",
        "Core ML holds five axes at most: merge some with a Reshape before it.",
    ),
    ("dimension values of 0", "One of its inputs has no elements: export the model without it."),
    (
        "has no shape",
        "The runtime does not know the shape of its input, as behind a Loop: put a "
        "Reshape to constant sizes before it.",
    ),
    (
        "Cast has no preceding nodes",
        "A Cast at the graph's entry stays on the CPU, at no second partition.",
    ),
    (
        "dim > 16384",
        "The provider takes no axis over 16384 here: a look-up table of this size "
        "stays on the CPU; keep it at the graph's entry.",
    ),
    (
        "COREML_LOOK_UP",
        "The model asks for that in its metadata, at no second partition; of the encoder's own "
        "graphs `--look-up inside` makes the others.",
    ),
)


def of_reason(reason: str) -> str:
    """Return a sentence that helps with what the provider said; empty where none is known."""
    return next((sentence for words, sentence in _BY_WORDS if words in reason), "")
