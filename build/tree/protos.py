"""Recover coremltools' ``.proto`` files from the descriptors in its wheel.

A module that protoc generated for Python holds the serialised ``FileDescriptorProto`` of its file
as one literal. It is read from the syntax tree: nothing of the wheel is imported or run. Two
generations occur in coremltools: ``serialized_pb=_b('...')``, text that stands for latin-1 bytes,
and ``AddSerializedFile(b'...')``.
"""

from __future__ import annotations

import ast
import warnings
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError

from ..errors import SourceError
from .proto_text import UnprintableError, print_proto

_FOLDER = PurePosixPath("coremltools/proto")


def recover_protos(wheel: Path) -> dict[str, str]:
    """Return the source text of ``Model.proto`` and of all that it imports, by file name in order.

    What that does not reach is left out: the 7.1 and 9.0 wheels carry one such module,
    ``NamedParameters_pb2``, a leftover of a file that the sources no longer have.

    Raises
    ------
    SourceError
        If the wheel cannot be read, has no such descriptors, misses an imported file, or describes
        something that cannot be written down in full.
    """
    descriptors = read_descriptors(wheel)
    texts = {}
    for name in sorted(_reachable(descriptors, wheel)):
        try:
            texts[name] = print_proto(descriptors[name])
        except UnprintableError as error:
            problem = f"the descriptor of {name} in {wheel.name} cannot be written as text: {error}"
            raise _refused(wheel, problem, file=name) from error
    return texts


def _refused(wheel: Path, problem: str, **context: str) -> SourceError:
    return SourceError(
        problem,
        hint="use the coremltools wheel that the recipe pins, and fetch it again if it is damaged",
        context={"wheel": str(wheel), **context},
    )


def read_descriptors(wheel: Path) -> dict[str, FileDescriptorProto]:
    """Return every file descriptor in a coremltools wheel by file name, in alphabetical order.

    There is one for each ``coremltools/proto/*_pb2.py``.

    Raises
    ------
    SourceError
        If the wheel is not a readable zip archive, holds no such module, or one of them has no
        readable descriptor.
    """
    found: dict[str, FileDescriptorProto] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in sorted(archive.namelist()):
                path = PurePosixPath(member)
                if path.parent == _FOLDER and path.name.endswith("_pb2.py"):
                    descriptor = _parse_module(archive.read(member), wheel, member)
                    found[descriptor.name] = descriptor
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"the coremltools wheel {wheel.name} cannot be read: {error}"
        raise _refused(wheel, problem) from error
    if not found:
        raise _refused(wheel, f"the wheel {wheel.name} holds no protobuf modules under {_FOLDER}")
    return dict(sorted(found.items()))


def _parse_module(source: bytes, wheel: Path, member: str) -> FileDescriptorProto:
    where = f"the module {member} in {wheel.name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old generated code is not ours to judge
            literals = [
                data
                for node in ast.walk(ast.parse(source))
                if (data := _serialized(node)) is not None
            ]
    except (SyntaxError, ValueError) as error:
        problem = f"{where} is not Python source as protoc generates it"
        raise _refused(wheel, problem, module=member) from error
    if len(literals) != 1:
        problem = f"{where} holds {len(literals)} serialised descriptors where one is expected"
        raise _refused(wheel, problem, module=member)
    try:
        descriptor = FileDescriptorProto.FromString(literals[0])
    except DecodeError as error:
        problem = f"{where} holds a descriptor that cannot be parsed"
        raise _refused(wheel, problem, module=member) from error
    # The name becomes a file name, so it must be one and must be the module's.
    if f"{descriptor.name.removesuffix('.proto')}_pb2.py" != PurePosixPath(member).name:
        problem = f"{where} describes another file, {descriptor.name!r}"
        raise _refused(wheel, problem, module=member)
    return descriptor


def _serialized(node: ast.AST) -> bytes | None:
    """Return the descriptor that this node of the syntax tree carries, if any."""
    match node:
        case (
            ast.keyword(
                arg="serialized_pb",
                value=ast.Constant(value=data)
                | ast.Call(func=ast.Name(id="_b"), args=[ast.Constant(value=data)]),
            )
            | ast.Call(
                func=ast.Attribute(attr="AddSerializedFile"), args=[ast.Constant(value=data)]
            )
        ):
            if isinstance(data, str):
                return data.encode("latin-1")
            return data if isinstance(data, bytes) else None
    return None


def _reachable(files: dict[str, FileDescriptorProto], wheel: Path) -> set[str]:
    """Return the names of ``Model.proto`` and of every file that it imports, directly or not."""
    reached: set[str] = set()
    waiting = [("Model.proto", "the build")]
    while waiting:
        name, needed_by = waiting.pop()
        if name in reached:
            continue
        if name not in files:
            problem = f"the wheel {wheel.name} has no descriptor of {name}, which {needed_by} needs"
            raise _refused(wheel, problem, file=name)
        reached.add(name)
        waiting += [(dependency, name) for dependency in files[name].dependency]
    return reached
