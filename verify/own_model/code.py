"""The code that uses a model: Python, and Rust with the ``ort`` crate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..conversion.own_model import Input
from ..encoder.sessions import COREML, CPU

ORT_CRATE = "=2.0.0-rc.15"
API = "api-21"
"""The crate's feature for ONNX Runtime 1.21 and newer; its default wants a newer library."""
_RUST = {
    "float16": ("half::f16", "half::f16::ZERO"),
    "float32": ("f32", "0f32"),
    "float64": ("f64", "0f64"),
    "bool": ("bool", "false"),
    **{f"{sign}int{bits}": (f"{kind}{bits}", f"0{kind}{bits}")
       for sign, kind in (("", "i"), ("u", "u")) for bits in (8, 16, 32, 64)},
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Use:
    """What the code is about: the file, its inputs, an output's name and type, the options."""

    file: str
    inputs: Sequence[Input]
    output: str
    output_type: str
    options: Mapping[str, str]


def python_code(use: Use) -> str:
    """Return a program that makes the session and runs it once."""
    lines = [
        "import numpy as np",
        "import onnxruntime as ort",
        "",
        "session = ort.InferenceSession(",
        f"    {use.file!r},",
        "    providers=[",
        f"        ({COREML!r}, {dict(use.options)!r}),",
        f"        {CPU!r},",
        "    ],",
        ")",
        "inputs = {  # yours in place of the zeros",
        *(
            f"    {entry.name!r}: np.zeros({entry.shape!r}, np.{_numpy(entry)}),"
            for entry in use.inputs
        ),
        "}",
        "for output, value in zip(session.get_outputs(), session.run(None, inputs)):",
        "    print(output.name, value.dtype, value.shape)",
    ]
    return "\n".join(lines) + "\n"


def cargo_lines(use: Use) -> str:
    """Return the dependencies of :func:`rust_code`."""
    half = "float16" in {use.output_type, *(str(entry.dtype) for entry in use.inputs)}
    features = ["std", API, "coreml", "load-dynamic", *(["half"] if half else [])]
    lines = [
        "[dependencies]",
        f"ort = {{ version = {_text(ORT_CRATE)}, default-features = false, "
        f"features = {json.dumps(features)} }}",
    ]
    return "\n".join([*lines, *(['half = "2"'] if half else [])]) + "\n"


def rust_code(use: Use) -> str:
    """Return the same program for the ``ort`` crate; ``ORT_DYLIB_PATH`` names the library."""
    kinds = [_RUST[str(entry.dtype)] for entry in use.inputs]
    lines = [
        "use ort::{ep, session::Session, value::Tensor};",
        "",
        "fn main() -> Result<(), Box<dyn std::error::Error>> {",
        "    let coreml = ep::CoreML::default()",
        f"        .with_model_format(ep::coreml::ModelFormat::{use.options['ModelFormat']})",
        *(
            ["        .with_static_input_shapes(true)"]
            if use.options.get("RequireStaticInputShapes") == "1"
            else []
        ),
        "        .build()",
        "        .error_on_failure();",
        "    let environment = ort::init().build()?;",
        "    let mut session = Session::builder(&environment)?",
        "        .with_execution_providers([coreml])?",
        f"        .commit_from_file({_text(use.file)})?;",
        "    let outputs = session.run(ort::inputs![ // yours in place of the zeros",
        *(
            f"        {_text(entry.name)} => "
            f"Tensor::from_array(({_sizes(entry)}, vec![{zero}; {math.prod(entry.shape)}]))?,"
            for entry, (_, zero) in zip(use.inputs, kinds, strict=True)
        ),
        "    ])?;",
        f"    let (shape, values) = outputs[{_text(use.output)}]"
        f".try_extract_tensor::<{_RUST.get(use.output_type, _RUST['float32'])[0]}>()?;",
        '    println!("{shape:?}, {} values", values.len());',
        "    Ok(())",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _numpy(entry: Input) -> str:
    return "bool_" if entry.dtype.kind == "b" else str(entry.dtype)


def _sizes(entry: Input) -> str:
    """Return a Rust array of usize."""
    return (
        f"[{', '.join(f'{size}usize' for size in entry.shape)}]" if entry.shape else "[0usize; 0]"
    )


def _text(value: str) -> str:
    """Return a Rust string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
