"""Who is compared: an environment for each, and the encoder's files as the others look for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..encoder.model_recipe import EncoderSpec
from ..encoder.prepared.choice import Precision
from ..environment.context import Role, TargetContext
from ..environment.named import fetch_named
from ..environment.venv import fetch_official, make_locked, make_official
from ..environment.wheel_file import inspect_wheel
from ..errors import VerifyError
from ..files import made_folder, write_text
from ..sentence import Say

NEWEST = "onnxruntime==1.32.0"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One row: a library in its environment, and the form of the graph that it runs."""

    role: Role
    title: str
    precision: Precision = "fp32"


OURS = Side(role="candidate", title="ortmill")
OFFICIAL = Side(role="official", title="official, same version")
WHEELS = (OURS, OFFICIAL, Side(role="newest", title="official, newest"))
SIDES = (
    *WHEELS,
    Side(role="fastembed", title="fastembed"),
    Side(role="sentence-transformers", title="sentence-transformers"),
    Side(role="candidate", title="ortmill, int8", precision="int8"),
)


def environments(
    roles: Sequence[Role], wheel: str, work: Path, *, newest: str, say: Say
) -> tuple[dict[str, Path], dict[str, str]]:
    """Make an environment for each role; return the interpreters, and why there is no other.

    ``wheel`` is the name of ours, whose version the official one has; ``newest`` names another.
    """
    targets: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for role in dict.fromkeys(roles):
        try:
            if role == "official":
                targets[role] = make_official(fetch_official(wheel, work, say=say), work, say=say)
            elif role == "newest":
                file = inspect_wheel(fetch_named(newest, work, say=say), None)
                targets[role] = make_official(file, work, say=say)
            elif role != "candidate":
                targets[role] = make_locked(role, work, say=say)
        except VerifyError as error:
            missing[role] = " ".join(error.problem.split())
            say(f"going on without {role}: {missing[role]}")
    return targets, missing


def hub_folder(context: TargetContext) -> Path:
    """Lay the encoder's files out as a model hub does: links, and what the libraries read."""
    encoder, folder = context.encoder, made_folder(context.work / "hub")
    files = [context.model_dir / name for name in ("tokenizer.json", encoder.weights_file)]
    for name, path in (*((path.name, path) for path in files), ("model.onnx", context.graph())):
        (folder / name).symlink_to(path.resolve())
    for name, content in _settings(encoder).items():
        made_folder((folder / name).parent)
        write_text(folder / name, json.dumps(content, indent=1))
    return folder


def _settings(encoder: EncoderSpec) -> dict[str, Any]:
    """Return what transformers, sentence-transformers and fastembed read of a BERT, by file."""
    where = "sentence_transformers.models"
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    parts += [("2_Normalize", "Normalize")] if encoder.normalise else []
    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": encoder.hidden,
            "num_hidden_layers": encoder.layers,
            "num_attention_heads": encoder.heads,
            "intermediate_size": encoder.intermediate,
            "vocab_size": encoder.vocab,
            "max_position_embeddings": encoder.positions,
            "type_vocab_size": encoder.token_types,
            "hidden_act": encoder.activation,
            "layer_norm_eps": encoder.layer_norm_eps,
            "pad_token_id": encoder.pad_token_id,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": encoder.max_length,
            **{f"{name}_token": token for name, token in special.items()},
        },
        "sentence_bert_config.json": {"max_seq_length": encoder.max_length, "do_lower_case": False},
        "modules.json": [
            {"idx": row, "name": str(row), "path": path, "type": f"{where}.{kind}"}
            for row, (path, kind) in enumerate(parts)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": encoder.hidden,
            "pooling_mode_cls_token": encoder.pooling == "cls",
            "pooling_mode_mean_tokens": encoder.pooling == "mean",
        },
    }
