"""Descriptors out of a wheel, and their text; the way back through protoc is tested elsewhere."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2 as pb
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from build.errors import SourceError
from build.tree.proto_text import UnprintableError, default_json_name, print_proto
from build.tree.protos import read_descriptors, recover_protos

PROTO3 = """
name: "Model.proto" package: "Made.Up" syntax: "proto3"
dependency: ["Base.proto", "Other.proto"] public_dependency: 0
options { optimize_for: LITE_RUNTIME java_package: "a\\"b\\\\c" }
enum_type {
  name: "Colour"
  value { name: "NONE" number: 0 }
  value { name: "RED" number: 1 options { deprecated: true } }
  value { name: "ROUGE" number: 1 }
  value { name: "BELOW" number: -5 }
  options { allow_alias: true }
  reserved_range { start: 7 end: 7 } reserved_range { start: 9 end: 2147483647 }
  reserved_name: "BLUE"
}
message_type {
  name: "Thing"
  field { name: "first_name" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING
          json_name: "firstName" }
  field { name: "renamed" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES json_name: "other" }
  field { name: "sizes" number: 3 label: LABEL_REPEATED type: TYPE_INT64 options { packed: true } }
  field { name: "by_name" number: 4 label: LABEL_REPEATED type: TYPE_MESSAGE
          type_name: ".Made.Up.Thing.ByNameEntry" }
  field { name: "maybe" number: 5 label: LABEL_OPTIONAL type: TYPE_DOUBLE proto3_optional: true
          oneof_index: 1 }
  field { name: "inner" number: 6 label: LABEL_OPTIONAL type: TYPE_MESSAGE oneof_index: 0
          type_name: ".Made.Up.Thing.Before" }
  field { name: "shade" number: 7 label: LABEL_OPTIONAL type: TYPE_ENUM oneof_index: 0
          type_name: ".Made.Up.Colour" options { deprecated: true } }
  nested_type { name: "Before" enum_type { name: "E" value { name: "Z" number: 0 } } }
  nested_type { name: "ByNameEntry" options { map_entry: true }
    field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
    field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE
            type_name: ".Made.Up.Thing.Before" } }
  nested_type { name: "After" }
  oneof_decl { name: "choice" } oneof_decl { name: "_maybe" }
  options { deprecated: true }
  reserved_range { start: 20 end: 21 } reserved_range { start: 30 end: 36 }
  reserved_range { start: 1000 end: 536870912 }
  reserved_name: "gone"
}
"""
PROTO3_TEXT = r"""syntax = "proto3";

package Made.Up;

import public "Base.proto";
import "Other.proto";

option java_package = "a\"b\\c";
option optimize_for = LITE_RUNTIME;

enum Colour {
  option allow_alias = true;
  reserved 7, 9 to max;
  reserved "BLUE";
  NONE = 0;
  RED = 1 [deprecated = true];
  ROUGE = 1;
  BELOW = -5;
}

message Thing {
  option deprecated = true;
  reserved 20, 30 to 35, 1000 to max;
  reserved "gone";
  string first_name = 1;
  bytes renamed = 2 [json_name = "other"];
  repeated int64 sizes = 3 [packed = true];
  message Before {
    enum E {
      Z = 0;
    }
  }
  map<string, .Made.Up.Thing.Before> by_name = 4;
  optional double maybe = 5;
  oneof choice {
    .Made.Up.Thing.Before inner = 6;
    .Made.Up.Colour shade = 7 [deprecated = true];
  }
  message After {
  }
}
"""
PROTO2 = r"""
name: "Old.proto"
message_type {
  name: "M"
  field { name: "a" number: 1 label: LABEL_REQUIRED type: TYPE_SINT32 default_value: "-3" }
  field { name: "b" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING
          default_value: "x\"\n\303\251" }
  field { name: "c" number: 3 label: LABEL_OPTIONAL type: TYPE_BYTES default_value: "\\000\\\"" }
  field { name: "d" number: 4 label: LABEL_OPTIONAL type: TYPE_ENUM type_name: ".E"
          default_value: "Y" }
  field { name: "e" number: 5 label: LABEL_OPTIONAL type: TYPE_FLOAT default_value: "-inf" }
  field { name: "f" number: 6 label: LABEL_REPEATED type: TYPE_FIXED32 }
}
enum_type { name: "E" value { name: "X" number: 0 } value { name: "Y" number: 1 } }
"""
PROTO2_TEXT = r"""syntax = "proto2";

enum E {
  X = 0;
  Y = 1;
}

message M {
  required sint32 a = 1 [default = -3];
  optional string b = 2 [default = "x\"\n\303\251"];
  optional bytes c = 3 [default = "\000\""];
  optional .E d = 4 [default = Y];
  optional float e = 5 [default = -inf];
  repeated fixed32 f = 6;
}
"""


def parse(text: str) -> pb.FileDescriptorProto:
    return text_format.Parse(text, pb.FileDescriptorProto())


def old_style(data: bytes) -> str:
    return (
        "_b=sys.version_info[0]<3 and (lambda x:x) or (lambda x:x.encode('latin1'))\n"
        f"D = _descriptor.FileDescriptor(\n  serialized_options=_b('H\\003'),\n"
        f"  serialized_pb=_b({data.decode('latin-1')!r})\n)\n"
    )


def new_style(data: bytes) -> str:
    return f"DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile({data!r})\n"


def make_wheel(path: Path, modules: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("coremltools/__init__.py", "raise SystemExit('imported')\n")
        for name, source in modules.items():
            archive.writestr(f"coremltools/proto/{name}_pb2.py", source)
    return path


def simple(name: str, *dependencies: str) -> pb.FileDescriptorProto:
    return pb.FileDescriptorProto(name=name, syntax="proto3", dependency=dependencies)


@pytest.mark.parametrize(
    ("descriptor", "text"), [(PROTO3, PROTO3_TEXT), (PROTO2, PROTO2_TEXT)], ids=["proto3", "proto2"]
)
def test_print_proto_writes_every_feature(descriptor: str, text: str) -> None:
    assert print_proto(parse(descriptor)) == text


@pytest.mark.parametrize(
    ("descriptor", "names"),
    [
        ('service { name: "S" }', "service"),
        ('extension { name: "x" number: 1 }', "extension"),
        ('message_type { name: "M" extension_range { start: 5 end: 6 } }', "extension_range"),
        ('syntax: "proto9"', "proto9"),
        ('message_type { name: "M" oneof_decl { name: "empty" } }', "oneofs of M"),
        (
            'message_type { name: "M" nested_type { name: "E" options { map_entry: true } } }',
            "entry E",
        ),
        (
            'message_type { name: "M" field { name: "g" number: 1 type: TYPE_GROUP'
            ' label: LABEL_OPTIONAL type_name: ".M.G" } nested_type { name: "G" } }',
            "field g",
        ),
        (
            'options { uninterpreted_option { name { name_part: "x" is_extension: false }'
            ' identifier_value: "y" } }',
            "uninterpreted_option",
        ),
    ],
)
def test_print_proto_refuses_what_it_would_lose(descriptor: str, names: str) -> None:
    with pytest.raises(UnprintableError, match=names):
        print_proto(parse(f'name: "Bad.proto" {descriptor}'))


def test_print_proto_refuses_custom_options() -> None:
    file = simple("Bad.proto")
    file.options.MergeFromString(b"\xc2\x3e\x01x")  # field 1000, unknown here
    with pytest.raises(UnprintableError, match="custom"):
        print_proto(file)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "a"),
        ("a_b", "aB"),
        ("a__b_", "aB"),
        ("_lead", "Lead"),
        ("x_9y", "x9y"),
        ("aB_cD", "aBCD"),
    ],
)
def test_default_json_name(name: str, expected: str) -> None:
    assert default_json_name(name) == expected


def test_recover_protos_reads_both_generations_and_drops_leftovers(tmp_path: Path) -> None:
    root = parse(PROTO3)
    wheel = make_wheel(
        tmp_path / "c.whl",
        {
            "Model": new_style(root.SerializeToString()),
            "Other": old_style(simple("Other.proto", "Base.proto").SerializeToString()),
            "Base": old_style(simple("Base.proto").SerializeToString()),
            "Leftover": new_style(simple("Leftover.proto").SerializeToString()),
        },
    )
    texts = recover_protos(wheel)
    assert list(texts) == ["Base.proto", "Model.proto", "Other.proto"]
    assert texts["Model.proto"] == PROTO3_TEXT
    assert texts["Other.proto"] == 'syntax = "proto3";\n\nimport "Base.proto";\n'
    assert read_descriptors(wheel)["Model.proto"] == root


@given(
    option=st.text(st.characters(codec="utf-8"), max_size=40),
    numbers=st.lists(st.integers(1, 2**29 - 1), unique=True, max_size=12),
    style=st.sampled_from([old_style, new_style]),
)
def test_any_descriptor_survives_the_module(
    tmp_path_factory: pytest.TempPathFactory, option: str, numbers: list[int], style: object
) -> None:
    file = simple("Model.proto")
    file.options.java_package = option
    fields = [
        pb.FieldDescriptorProto(
            name=f"f{n}",
            number=n,
            type=pb.FieldDescriptorProto.TYPE_BOOL,
            label=pb.FieldDescriptorProto.LABEL_REPEATED,
        )
        for n in numbers
    ]
    file.message_type.add(name="M", field=fields)
    assert callable(style)
    wheel = make_wheel(
        tmp_path_factory.mktemp("wheel") / "c.whl", {"Model": style(file.SerializeToString())}
    )
    assert read_descriptors(wheel) == {"Model.proto": file}
    text = recover_protos(wheel)["Model.proto"]
    assert text == recover_protos(wheel)["Model.proto"]
    assert re.findall(r"repeated bool f\d+ = (\d+);", text) == [str(n) for n in numbers]
    assert text.isascii()


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({}, "no protobuf modules"),
        ({"Model": "x = 1\n"}, "0 serialised descriptors"),
        ({"Model": new_style(b"") * 2}, "2 serialised descriptors"),
        ({"Model": "def (\n"}, "not Python"),
        ({"Model": b"\x00\xff"}, "not Python"),
        ({"Model": new_style(b"\xff\xff\xff")}, "cannot be parsed"),
        ({"Model": old_style(b"\n\x09Model")}, "cannot be parsed"),
        ({"Model": "f(serialized_pb=_b('\\u20ac'))\n"}, "not Python"),
        ({"Model": "AddSerializedFile.x.AddSerializedFile(name)\n"}, "0 serialised"),
        ({"Model": new_style(simple("../evil.proto").SerializeToString())}, "another file"),
        (
            {"Base": new_style(simple("Base.proto").SerializeToString())},
            "no descriptor of Model.proto",
        ),
        (
            {"Model": new_style(simple("Model.proto", "Lost.proto").SerializeToString())},
            "no descriptor of Lost.proto, which Model.proto needs",
        ),
        (
            {
                "Model": new_style(
                    parse('name: "Model.proto" service { name: "S" }').SerializeToString()
                )
            },
            "Model.proto in c.whl cannot be written",
        ),
    ],
)
def test_a_bad_wheel_is_told(tmp_path: Path, modules: dict[str, str | bytes], message: str) -> None:
    wheel = make_wheel(tmp_path / "c.whl", modules)
    with pytest.raises(SourceError, match=message) as caught:
        recover_protos(wheel)
    assert caught.value.hint
    assert caught.value.context["wheel"] == str(wheel)


def test_a_missing_or_broken_archive_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK but no archive")
    damaged = make_wheel(
        tmp_path / "d.whl", {"Model": new_style(simple("Model.proto").SerializeToString())}
    )
    data = bytearray(damaged.read_bytes())
    position = data.index(b"AddSerializedFile")
    data[position] ^= 1  # the archive's own checksum no longer holds
    damaged.write_bytes(data)
    for wheel in (tmp_path / "none.whl", broken, damaged):
        with pytest.raises(SourceError, match=f"{wheel.name} cannot be read"):
            recover_protos(wheel)
