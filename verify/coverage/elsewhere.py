"""Operators that stay on the CPU whatever the reason, and what helps with each."""

from __future__ import annotations

_FUSED = frozenset({
    "Attention", "BiasGelu", "ConvInteger", "DequantizeLinear", "DynamicQuantizeLSTM",
    "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "EmbedLayerNormalization", "FastGelu",
    "FusedConv", "FusedGemm", "FusedMatMul", "GroupQueryAttention", "MatMulInteger",
    "MatMulIntegerToFloat", "MatMulNBits", "MultiHeadAttention", "QAttention", "QuantizeLinear",
    "QuickGelu", "RotaryEmbedding", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
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
