"""Read a Core ML package and check that it holds together.

The layout is Apple's: ``Manifest.json`` names the items below ``Data``; the root item is the
model (protobuf ``CoreML.Specification.Model``), its weights lie in ``weights/weight.bin`` in
coremltools' MIL blob format, version 2.
"""

from __future__ import annotations

import json
import logging
import math
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from ..encoder.number_types import graphs_of
from ..environment.promise import read_promise
from ..errors import VerifyError
from ..policy import strict
from ..program import recipes_folder

_NUMBERED = re.compile(r"__\d+$")
"""What the provider appends to a name that is taken."""
_WRITTEN_SINCE = {"validate_indices": 8}
"""Inputs of an operation that the provider writes from a specification on
(``recipes/patches``, ``coreml-gather``)."""
SPEC_VERSIONS: dict[int, int] = {12: 6, 13: 7, 14: 8, 15: 9, 26: 10}
"""macOS to the newest specification it reads: coremltools' table of deployment targets."""

SENTINEL = 0xDEADBEEF
_RECORD = struct.Struct("<IIQQ")
# MIL data type (MIL.proto) -> blob storage type (coremltools' MILBlob), bits of an element.
_STORED: dict[int, tuple[int, int]] = {10: (1, 16), 11: (2, 32), 21: (4, 8), 23: (14, 32)}
_STORED[31] = (3, 8)


class PackageError(VerifyError):
    """A package that cannot be read at all."""

    title = "package"


class NamesAlike(PackageError):
    """Values of a graph that the provider's spelling leaves hard to tell apart."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package on disk with its parsed model, a ``coremltools.proto.Model_pb2.Model``.

    ``folder`` holds ``Manifest.json``; ``weights``, where there are any, ``weight.bin``.
    """

    folder: Path
    model: Any
    weights: Path | None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in the program's order."""
        return tuple(entry.name for entry in self.function.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the program's order."""
        return tuple(self.block.outputs)

    @property
    def function(self) -> Any:
        """The program's function ``main``."""
        return self.model.mlProgram.functions["main"]

    @property
    def block(self) -> Any:
        """The block of ``main`` for the opset that it names."""
        return self.function.block_specializations[self.function.opset]


def quiet() -> None:
    """Keep coremltools from saying on import, for each of Apple's frameworks, that it is absent."""
    logging.getLogger("coremltools").addFilter(_about_this_host)


def _about_this_host(record: logging.LogRecord) -> bool:
    return "Failed to load" not in record.getMessage()


def find_packages(folder: Path) -> list[Path]:
    """Return the packages below ``folder``: the parents of every ``Manifest.json``, sorted."""
    return sorted(path.parent for path in folder.rglob("Manifest.json"))


def read_package(folder: Path) -> Package:
    """Read manifest and model.

    Raises
    ------
    PackageError
        When the manifest or the model is missing, damaged, or no ML program.
    """
    quiet()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    path = folder / "Manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        items = manifest["itemInfoEntries"]
        root = items[manifest["rootModelIdentifier"]]["path"]
        places = [str(entry["path"]) for entry in items.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackageError(
            f"The manifest of the package {folder} cannot be read: {error!r}.",
            hint="The provider writes it last: was the session made to the end?",
        ) from None
    data = folder / "Data"
    inside = data.resolve()
    for place in places:
        target = (data / place).resolve()
        if not target.is_relative_to(inside) or not target.exists():
            raise PackageError(f"The manifest of {folder} names {place}, which is not below Data.")
    model = Model_pb2.Model()
    try:
        model.ParseFromString((data / root).read_bytes())
    except (DecodeError, OSError) as error:
        raise PackageError(f"The model of {folder} cannot be read: {error}.") from None
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise PackageError(
            f"The package {folder} holds a model of type {kind}, not an ML program.",
            hint="Make the session with ModelFormat=MLProgram.",
        )
    function = model.mlProgram.functions.get("main")
    if function is None or function.opset not in function.block_specializations:
        raise PackageError(f"The program of {folder} has no function main for its opset.")
    weights = next((data / place for place in places if place.endswith("weights")), None)
    return Package(folder=folder, model=model, weights=weights)


def safe_name(name: str) -> str:
    """Return a name as the provider spells it in a program, before it is made unique.

    That is ``ModelBuilder::GetSafeName`` of 1.21.0: what is not a letter, a digit or an underscore
    becomes an underscore, byte by byte of UTF-8; a digit in front gets one before it. A name that
    is taken then gets a number behind.
    """
    spelt = re.sub(rb"[^A-Za-z0-9_]", b"_", name.encode()).decode()
    return f"_{spelt}" if spelt[:1].isdigit() else spelt


def map_names(wanted: Sequence[str], onnx_values: Iterable[str]) -> dict[str, str]:
    """Map a package's inputs or outputs to ONNX values, in the order given.

    Raises
    ------
    NamesAlike
        When a name belongs to no ONNX value, or to several: a guess could compare the wrong ones.
    """
    values = list(onnx_values)
    found = known_values(wanted, values)
    for name in wanted:
        if name not in found:
            base = _NUMBERED.sub("", name)
            alike = [repr(value) for value in values if safe_name(value) in (name, base)]
            said = f"it may be {' or '.join(alike)}" if alike else "none is spelt so"
            raise NamesAlike(
                f"No single value of the graph belongs to {name} of the package: {said}.",
                hint="The provider keeps letters, digits and underscores alone of a name: export "
                "the model with names that differ in those.",
            )
    return {name: found[name] for name in wanted}


def told_apart(model: Any) -> tuple[Any, dict[str, str]]:
    """Return a copy of a model whose values the provider spells each in its own way.

    A value that it would spell as another, a weight or a node gets a new name, in every graph
    inside too; the second result holds the new names by the old, and is empty for most models.
    """
    made = type(model)()
    made.CopyFrom(model)
    weights = {item.name for item in made.graph.initializer}
    values = [item.name for item in made.graph.input]
    values += [name for node in made.graph.node for name in node.output if name]
    values = [name for name in dict.fromkeys(values) if name not in weights]
    # A name that needs no other spelling is kept, whoever else would like to have it.
    taken = {name for name in values if safe_name(name) == name}
    taken |= {safe_name(name) for name in weights} | {node.name for node in made.graph.node}
    free = taken | {safe_name(name) for name in values}
    new: dict[str, str] = {}
    for name in values:
        spelt = safe_name(name)
        if spelt != name and spelt in taken:
            new[name] = next(
                other
                for other in (f"{name}~{number}" for number in count(2))
                if safe_name(other) not in free
            )
            spelt = safe_name(new[name])
            free.add(spelt)
        taken.add(spelt)
    for graph in graphs_of(made.graph) if new else ():
        for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            item.name = new.get(item.name, item.name)
        for node in graph.node:
            node.input[:] = [new.get(name, name) for name in node.input]
            node.output[:] = [new.get(name, name) for name in node.output]
    return made, new


def known_values(wanted: Iterable[str], onnx_values: Iterable[str]) -> dict[str, str]:
    """Map those names that belong to exactly one ONNX value."""
    spelt: dict[str, list[str]] = {}
    for value in onnx_values:
        spelt.setdefault(safe_name(value), []).append(value)
    return {name: spelt[name][0] for name in wanted if len(spelt.get(name, ())) == 1}


def graph_values(path: Path) -> list[str]:
    """Return the names of a graph's inputs and of everything that its nodes compute."""
    import onnx

    model: Any = onnx.load(str(path), load_external_data=False)
    names = [entry.name for entry in model.graph.input]
    names += [name for node in model.graph.node for name in node.output if name]
    return list(dict.fromkeys(names))


def promised_macos(wheel: str) -> str:
    """Return the oldest macOS that a wheel promises: by its own tag, or its build recipe's.

    Empty for a wheel of another system whose version has no recipe.
    """
    promise = read_promise(wheel)
    if promise.system == "macos" and promise.oldest:
        return promise.to_macos()
    path = recipes_folder() / f"onnxruntime-{promise.version}.toml"
    if not path.is_file():
        return ""
    data = strict.read_toml(path, what="build recipe")
    return str(data["platforms"]["macos-arm64"]["minimum_os"])


def allowed_spec_version(minimum_os: str) -> int:
    """Return the newest specification that a macOS version reads.

    Raises
    ------
    PackageError
        When the table does not know that macOS.
    """
    major = minimum_os.split(".", maxsplit=1)[0]
    if not major.isdigit() or int(major) not in SPEC_VERSIONS:
        raise PackageError(
            f'No Core ML specification is known for macOS "{minimum_os}".',
            hint=f"Known are {', '.join(map(str, SPEC_VERSIONS))}.",
        )
    return SPEC_VERSIONS[int(major)]


def integrity(package: Package, minimum_os: str) -> tuple[list[str], dict[str, Any]]:
    """Check a package; return what is wrong with it, and facts worth keeping.

    A program for a newer specification than ``minimum_os`` reads is accepted when coremltools can
    build each of its operations for the older one too: the provider takes the version from the
    system that it runs on (host_utils.mm), and on Linux from a constant (host_utils_stub.cc).
    """
    problems: list[str] = []
    found = package.model.specificationVersion
    allowed = allowed_spec_version(minimum_os)
    opset = package.function.opset
    if opset != f"CoreML{found - 1}":
        problems.append(f"the program's opset {opset} does not belong to specification {found}")
    wrong, used = _weights(package)
    problems += wrong
    older = True
    if found > allowed and not problems:
        refused = _refused_by(package, allowed)
        older = not refused
        if refused and _refused_by(package, found):
            problems.append(f"coremltools refuses the program: {refused}")
        elif refused:
            problems.append(
                f"specification {found} is newer than macOS {minimum_os} reads ({allowed}), and "
                f"the program cannot be told in the older one: {refused}"
            )
    files = [path for path in (package.folder / "Data").rglob("*") if path.is_file()]
    facts = {
        "specification": found,
        "allowed": allowed,
        "minimum_os": minimum_os,
        "operations_exist_for_minimum_os": older,
        "constants_in_file": used["constants"],
        "weight_bytes": used["bytes"],
        "file_bytes": sum(path.stat().st_size for path in files),
        "operations": sum(1 for op in package.block.operations if op.type != "const"),
    }
    return problems, facts


def _refused_by(package: Package, version: int) -> str:
    from .program import load_program

    try:
        load_program(_told_for(package, version), version)
    except Exception as error:
        # coremltools raises ValueError, AssertionError, KeyError … for what an opset lacks.
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""


def _told_for(package: Package, version: int) -> Package:
    """Return the package without what the provider would not have written for that version."""
    model = type(package.model)()
    model.CopyFrom(package.model)
    told = replace(package, model=model)
    for op in told.block.operations:
        for name, since in _WRITTEN_SINCE.items():
            if version < since:
                op.inputs.pop(name, None)
    return told


def _file_values(package: Package) -> Iterator[tuple[str, Any]]:
    for op in package.block.operations:
        for value in op.attributes.values():
            if value.WhichOneof("value") == "blobFileValue":
                yield op.outputs[0].name, value


def _weights(package: Package) -> tuple[list[str], dict[str, int]]:
    """Check each constant's record by the format and read it back with Apple's reader."""
    from coremltools.libmilstoragepython import _BlobStorageReader

    used = {"constants": 0, "bytes": 0}
    values = list(_file_values(package))
    if not values:
        return [], used
    path = (package.weights or package.folder) / "weight.bin"
    if not path.is_file():
        return [f"{len(values)} constants name weight.bin, and there is none"], used
    content = path.read_bytes()
    problems: list[str] = []
    reader = _BlobStorageReader(str(path))
    read = {
        10: reader.read_fp16_data,
        11: reader.read_float_data,
        21: reader.read_int8_data,
        23: reader.read_int32_data,
        31: reader.read_uint8_data,
    }
    for name, value in values:
        tensor = value.type.tensorType
        count = math.prod(part.constant.size for part in tensor.dimensions)
        offset = value.blobFileValue.offset
        wrong = _record(content, offset, tensor.dataType, count)
        if not wrong:
            try:
                size = int(read[tensor.dataType](offset).size)
            except (RuntimeError, ValueError) as error:
                wrong = f"Apple's reader refuses it: {error}"
            else:
                if size != count:
                    wrong = f"Apple's reader finds {size} elements, the program says {count}"
        if wrong:
            problems.append(f"constant {name} at offset {offset}: {wrong}")
            continue
        used["constants"] += 1
        used["bytes"] += count * _STORED[tensor.dataType][1] // 8
    return problems, used


def _record(content: bytes, offset: int, data_type: int, count: int) -> str:
    """Return what is wrong with a blob's record, or nothing."""
    if data_type not in _STORED:
        return f"its type {data_type} is not one that is known in a file"
    if offset % 64 or offset < 64 or offset + 64 > len(content):
        return f"the offset is not a multiple of 64 inside the file of {len(content)} bytes"
    sentinel, stored, size, start = _RECORD.unpack_from(content, offset)
    kind, bits = _STORED[data_type]
    if sentinel != SENTINEL:
        return f"no record begins there (0x{sentinel:08x} in place of 0x{SENTINEL:08x})"
    if stored != kind:
        return f"the file holds type {stored}, the program says {kind}"
    if size != count * bits // 8:
        return f"the file holds {size} bytes, the program needs {count * bits // 8}"
    if start + size > len(content):
        return f"its data end at {start + size}, the file at {len(content)}"
    return ""
