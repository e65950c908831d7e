"""Print a protobuf file descriptor as ``.proto`` source.

The text, compiled by protoc, gives the descriptor again: same order of fields, nested types,
oneofs and options. What has no place in a descriptor (comments, spacing) is gone. Grammar: the
protobuf language specifications for proto2 and proto3. What this printer does not know (services,
extensions, groups, custom options, editions) it refuses: a text that silently says less would be
worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.message import Message
from google.protobuf.text_encoding import CEscape
from google.protobuf.unknown_fields import UnknownFieldSet

_FIELD = FieldDescriptorProto
_NAMED = (_FIELD.TYPE_MESSAGE, _FIELD.TYPE_ENUM)
# The largest numbers there are, written as `max` in a reserved range.
_FIELD_NUMBER_MAX = 2**29 - 1
_ENUM_NUMBER_MAX = 2**31 - 1

_KNOWN = {
    "FileDescriptorProto": {
        *("name", "package", "dependency", "public_dependency", "weak_dependency"),
        *("message_type", "enum_type", "options", "syntax", "source_code_info"),
    },
    "DescriptorProto": {
        *("name", "field", "nested_type", "enum_type", "oneof_decl", "options"),
        *("reserved_range", "reserved_name"),
    },
    "FieldDescriptorProto": {
        *("name", "number", "label", "type", "type_name", "default_value", "oneof_index"),
        *("json_name", "options", "proto3_optional"),
    },
    "OneofDescriptorProto": {"name"},
    "EnumDescriptorProto": {"name", "value", "options", "reserved_range", "reserved_name"},
    "EnumValueDescriptorProto": {"name", "number", "options"},
}


class UnprintableError(ValueError):
    """A descriptor that this printer cannot write down in full."""


def print_proto(file: FileDescriptorProto) -> str:
    """Return the ``.proto`` source of one file descriptor, ending in a newline.

    The descriptor is complete, of proto2 or proto3 syntax, its fields with fully qualified type
    names, as protoc writes them. Equal descriptors give equal texts.

    Raises
    ------
    UnprintableError
        If the descriptor has a part that the text would lose. The message names it.
    """
    _refuse_unknown(file, file.name)
    syntax = file.syntax or "proto2"
    if syntax not in ("proto2", "proto3"):
        raise UnprintableError(f"{file.name} has syntax {syntax!r}, not proto2 or proto3")

    lines = [f'syntax = "{syntax}";', ""]
    if file.package:
        lines += [f"package {file.package};", ""]
    for index, dependency in enumerate(file.dependency):
        public = "public " if index in file.public_dependency else ""
        weak = "weak " if index in file.weak_dependency else ""
        lines.append(f"import {public}{weak}{_quote(dependency)};")
    if file.dependency:
        lines.append("")
    options = list(_options(file.options))
    lines += [f"option {option};" for option in options]
    if options:
        lines.append("")
    for enum in file.enum_type:
        lines += [*_enum(enum), ""]
    for message in file.message_type:
        lines += [*_message(message, proto3=syntax == "proto3"), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def default_json_name(name: str) -> str:
    """Return the JSON name that protoc gives a field without ``json_name``.

    Underscores go, and the letter after each becomes a capital (ASCII only), as in the "JSON
    mapping" of the proto3 specification.
    """
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _message(message: DescriptorProto, *, proto3: bool) -> Iterator[str]:
    yield f"message {message.name} {{"
    yield from _indent(_message_body(message, proto3=proto3))
    yield "}"


def _message_body(message: DescriptorProto, *, proto3: bool) -> Iterator[str]:
    for option in _options(message.options):
        yield f"option {option};"
    yield from _reserved(
        [(r.start, r.end - 1) for r in message.reserved_range],  # here the end is excluded
        list(message.reserved_name),
        _FIELD_NUMBER_MAX,
    )
    for enum in message.enum_type:
        yield from _enum(enum)

    _check_oneof_order(message)
    # A map field is compiled into a nested type at its own place. So nested types are
    # printed between the fields, just early enough to be found in the same order again.
    entries = {n.name: i for i, n in enumerate(message.nested_type) if n.options.map_entry}
    printed = 0
    written: set[int] = set()
    for field in message.field:
        entry = _entry_index(field, entries)
        if entry is not None:
            if entry < printed:
                raise UnprintableError(f"the map {message.name}.{field.name} is out of order")
            for nested in message.nested_type[printed:entry]:
                yield from _nested(nested, proto3=proto3)
            printed = entry + 1
            yield _map_field(field, message.nested_type[entry])
        elif field.HasField("oneof_index") and not field.proto3_optional:
            if field.oneof_index not in written:
                written.add(field.oneof_index)
                yield from _oneof(message, field.oneof_index)
        else:
            yield _field(field, proto3=proto3)
    for nested in message.nested_type[printed:]:
        yield from _nested(nested, proto3=proto3)


def _nested(message: DescriptorProto, *, proto3: bool) -> Iterator[str]:
    if message.options.map_entry:
        raise UnprintableError(f"the map entry {message.name} belongs to no field")
    yield from _message(message, proto3=proto3)


def _entry_index(field: FieldDescriptorProto, entries: dict[str, int]) -> int | None:
    if field.type != _FIELD.TYPE_MESSAGE or field.label != _FIELD.LABEL_REPEATED:
        return None
    name = field.type_name.rpartition(".")[2]
    return entries.get(name) if name == _entry_name(field.name) else None


def _entry_name(field_name: str) -> str:
    """Return the name that protoc gives the entry type of a map field."""
    return "".join(part[:1].upper() + part[1:] for part in field_name.split("_")) + "Entry"


def _map_field(field: FieldDescriptorProto, entry: DescriptorProto) -> str:
    key, value = entry.field
    return f"map<{_type(key)}, {_type(value)}> {field.name} = {field.number}{_brackets(field)};"


def _check_oneof_order(message: DescriptorProto) -> None:
    """Raise unless the oneofs stand as protoc numbers them: as used, synthetic ones last."""
    fields = [f for f in message.field if f.HasField("oneof_index")]
    real = [f.oneof_index for f in fields if not f.proto3_optional]
    synthetic = [f.oneof_index for f in fields if f.proto3_optional]
    if list(dict.fromkeys(real + synthetic)) != list(range(len(message.oneof_decl))):
        raise UnprintableError(f"the oneofs of {message.name} are empty or out of order")


def _oneof(message: DescriptorProto, index: int) -> Iterator[str]:
    positions = [
        i
        for i, f in enumerate(message.field)
        if f.HasField("oneof_index") and f.oneof_index == index
    ]
    name = message.oneof_decl[index].name
    if positions[-1] - positions[0] != len(positions) - 1:
        raise UnprintableError(f"the fields of oneof {message.name}.{name} do not stand together")
    yield f"oneof {name} {{"
    for i in positions:
        field = message.field[i]
        yield f"  {_type(field)} {field.name} = {field.number}{_brackets(field)};"
    yield "}"


def _field(field: FieldDescriptorProto, *, proto3: bool) -> str:
    label = _FIELD.Label.Name(field.label).removeprefix("LABEL_").lower() + " "
    if proto3 and field.label == _FIELD.LABEL_OPTIONAL and not field.proto3_optional:
        label = ""
    return f"{label}{_type(field)} {field.name} = {field.number}{_brackets(field)};"


def _type(field: FieldDescriptorProto) -> str:
    if field.type in _NAMED and field.type_name.startswith("."):
        return field.type_name
    if field.type in (*_NAMED, _FIELD.TYPE_GROUP):
        raise UnprintableError(f"the type of field {field.name} is a group or not resolved")
    return _FIELD.Type.Name(field.type).removeprefix("TYPE_").lower()


def _brackets(field: FieldDescriptorProto) -> str:
    parts = []
    if field.HasField("default_value"):
        parts.append(f"default = {_default(field)}")
    if field.json_name and field.json_name != default_json_name(field.name):
        parts.append(f"json_name = {_quote(field.json_name)}")
    parts += _options(field.options)
    return f" [{', '.join(parts)}]" if parts else ""


def _default(field: FieldDescriptorProto) -> str:
    if field.type == _FIELD.TYPE_STRING:
        return _quote(field.default_value)
    if field.type == _FIELD.TYPE_BYTES:
        return f'"{field.default_value}"'  # escaped already: descriptor.proto says C-escaped
    return field.default_value


def _enum(enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    for option in _options(enum.options):
        yield f"  option {option};"
    ranges = [(r.start, r.end) for r in enum.reserved_range]
    yield from _indent(_reserved(ranges, list(enum.reserved_name), _ENUM_NUMBER_MAX))
    for value in enum.value:
        options = ", ".join(_options(value.options))
        yield f"  {value.name} = {value.number}{f' [{options}]' if options else ''};"
    yield "}"


def _reserved(ranges: list[tuple[int, int]], names: list[str], largest: int) -> Iterator[str]:
    """Yield the ``reserved`` statements; both ends of a range belong to it."""
    parts = []
    for first, last in ranges:
        end = "max" if last == largest else str(last)
        parts.append(str(first) if first == last else f"{first} to {end}")
    if parts:
        yield f"reserved {', '.join(parts)};"
    if names:
        yield f"reserved {', '.join(_quote(name) for name in names)};"


def _options(options: Message) -> Iterator[str]:
    """Yield ``name = value`` for every standard option that is set, in order of field numbers."""
    for field, value in options.ListFields():
        if field.name == "map_entry":
            continue  # implied by the map field
        if field.is_extension or field.is_repeated or field.type == FieldDescriptor.TYPE_MESSAGE:
            raise UnprintableError(f"the option {field.full_name} is not a plain one")
        if field.enum_type is not None:
            yield f"{field.name} = {field.enum_type.values_by_number[value].name}"
        elif field.type == FieldDescriptor.TYPE_BOOL:
            yield f"{field.name} = {'true' if value else 'false'}"
        else:
            yield f"{field.name} = {_quote(value)}"


def _refuse_unknown(message: Message, where: str) -> None:
    """Raise if any part of the descriptor is one that would not be printed."""
    if len(UnknownFieldSet(message)):
        raise UnprintableError(f"{where} has parts of a newer or custom kind")
    known = _KNOWN.get(message.DESCRIPTOR.name)
    for field, value in message.ListFields():
        if known is not None and field.name not in known:
            raise UnprintableError(f"{where} has a part that cannot be printed: {field.name}")
        if field.name == "source_code_info":
            continue  # comments and positions
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in value if field.is_repeated else [value]:
                _refuse_unknown(part, f"{where}: {getattr(part, 'name', '') or field.name}")


def _indent(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}"


def _quote(text: str) -> str:
    """Return a string literal; bytes outside printable ASCII become escapes."""
    return f'"{CEscape(text.encode(), as_utf8=False)}"'
