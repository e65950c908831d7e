"""Objective-C type encodings: what Clang makes of the surface's declarations, taken apart.

For each class and protocol a probe protocol with the same methods is compiled; Clang writes the
extended encodings of a protocol's methods, with class names and block signatures, into the object.
The letters are those of Apple's page "Type Encodings" in the Objective-C Runtime Programming Guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from build.errors import ToolchainError
from tests.surface.clang import SurfaceCompiler, umbrella
from tests.surface.headers import OBJECTIVE_CXX
from tests.surface.model import Declaration, Surface

_PROBE = "OrtmillProbe"
_STRING = re.compile(r'^@"?([\w.$]+)"? = .*? c"(.*?)\\00"', re.M)
_TYPES = re.compile(rf'^@"_OBJC_\$_PROTOCOL_METHOD_TYPES_{_PROBE}(\d+)" = .*$', re.M)
_POINTED = re.compile(r'ptr @"?([\w.$]+)"?')
_BIT_FIELD = re.compile(r"b\d+")
_QUALIFIERS = "rnNoORVAj"
_CLOSING = {"{": "}", "(": ")", "[": "]", "<": ">"}


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The encoded types of one method, function or type.

    Attributes
    ----------
    name : str
        ``-[Class selector:]``, or the name of a function or type.
    parts : tuple[str, ...]
        The result and the arguments; a method's first two are itself and the selector.
    where : str
        File and line of the declaration.
    """

    name: str
    parts: tuple[str, ...]
    where: str


@dataclass(frozen=True, kw_only=True)
class _Method:
    name: str
    text: str
    where: str


def split_encoding(encoding: str) -> tuple[str, ...]:
    """Return the types of an encoding, without the offsets between them.

    Raises
    ------
    ValueError
        It is no encoding: a bracket or a quote stays open, or it ends after a qualifier.
    """
    parts, place = [], 0
    while place < len(encoding):
        end = _one(encoding, place)
        parts.append(encoding[place:end])
        place = end
        while place < len(encoding) and (encoding[place].isdigit() or encoding[place] in "-+ "):
            place += 1
    return tuple(parts)


def _one(text: str, place: int) -> int:
    """Return where the type that begins at a place ends."""
    try:
        while text[place] in _QUALIFIERS:
            place += 1
        letter = text[place]
        if letter == "^":
            return _one(text, place + 1)
        if letter in "{([":
            return _closing(text, place)
        if letter == "b":
            width = _BIT_FIELD.match(text, place)
            if width is None:
                raise ValueError("a bit field without a width")
            return width.end()
        if text.startswith('@"', place):
            return text.index('"', place + 2) + 1
        if text.startswith("@?<", place):
            return _closing(text, place + 2)
        return place + (2 if text.startswith("@?", place) else 1)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{text!r} is no type encoding") from error


def _closing(text: str, place: int) -> int:
    opening, depth, quoted = text[place], 0, False
    for number in range(place, len(text)):
        letter = text[number]
        if letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter == opening:
            depth += 1
        elif letter == _CLOSING[opening]:
            depth -= 1
            if depth == 0:
                return number + 1
    raise ValueError(f"{text!r} leaves a {opening} open")


def plain(part: str) -> str:
    """Return an encoded type without qualifiers, class names and block signatures."""
    bare = part.lstrip(_QUALIFIERS)
    if bare.startswith("^"):
        return "^" + plain(bare[1:])
    if bare.startswith("@?"):
        return "@?"
    return "@" if bare.startswith("@") else bare


def block_parts(part: str) -> tuple[str, ...] | None:
    """Return the types of a block's signature, the block itself second; None for other types."""
    bare = part.lstrip(_QUALIFIERS)
    if not bare.startswith("@?<"):
        return None
    return split_encoding(bare[3:-1])


def signatures(compiler: SurfaceCompiler, surface: Surface) -> dict[str, Signature]:
    """Return Clang's encodings of all methods, functions and types of the surface, by name.

    Raises
    ------
    ToolchainError
        Clang refuses the probe, or leaves out an encoding that was asked for.
    """
    probes = [list(_methods(surface, owner)) for owner in surface.of_kind("class", "protocol")]
    texts = [umbrella(compiler.surface)]
    for number, methods in enumerate(probes):
        lines = "\n".join(f"{each.text};" for each in methods)
        texts.append(
            f"@protocol {_PROBE}{number}\n{lines}\n@end\n"
            f"Protocol *{_PROBE}Kept{number}(void) {{ return @protocol({_PROBE}{number}); }}"
        )
    plain_ones = surface.of_kind("function", "type")
    for number, each in enumerate(plain_ones):
        types = (each.result, *each.parameters) if each.kind == "function" else (each.name,)
        texts += [
            f'extern "C" const char {_PROBE}_{number}_{place}[] = @encode({_bare(spelt)});'
            for place, spelt in enumerate(types)
        ]
    ir = compiler.run(
        ["-w", "-O0", "-S", "-emit-llvm", "-o", "-", *OBJECTIVE_CXX], text="\n".join(texts)
    )
    strings = {name: text.replace("\\22", '"') for name, text in _STRING.findall(ir)}
    found = [each for probe in _probed(ir, strings, probes) for each in probe]
    for number, each in enumerate(plain_ones):
        length = 1 + len(each.parameters) if each.kind == "function" else 1
        parts = [strings.get(f"{_PROBE}_{number}_{place}", "") for place in range(length)]
        if not all(parts):
            raise ToolchainError(f"Clang writes no type encoding for {each.name}", hint="")
        found.append(
            Signature(
                name=each.name, where=each.where,
                parts=(*parts, *(["..."] if each.variadic else [])),
            )
        )  # fmt: skip
    return {each.name: each for each in found}


def _probed(
    ir: str, strings: Mapping[str, str], probes: list[list[_Method]]
) -> Iterator[list[Signature]]:
    seen = {int(match[1]): _POINTED.findall(match[0]) for match in _TYPES.finditer(ir)}
    for number, methods in enumerate(probes):
        if len(seen.get(number, ())) != len(methods):
            raise ToolchainError(
                f"Clang writes {len(seen.get(number, ()))} type encodings for "
                f"{len(methods)} methods", hint="has the format of its metadata changed?",
                context={"first method": methods[0].name},
            )  # fmt: skip
        yield [
            Signature(name=each.name, parts=split_encoding(strings[symbol]), where=each.where)
            for each, symbol in zip(methods, seen.get(number, ()), strict=True)
        ]


def _methods(surface: Surface, owner: Declaration) -> Iterator[_Method]:
    """Yield an owner's methods as a protocol would have them: instance methods first."""
    for class_level in (False, True):
        sign = "+" if class_level else "-"
        for each in surface.members(owner.name):
            if each.class_level != class_level:
                continue
            result = _generic(_bare(each.result), owner)
            for selector in each.selectors:
                types, returned = each.parameters, result
                if each.kind == "property" and selector.endswith(":"):
                    types, returned = (each.result,), "void"
                spelt = [_generic(_bare(kind), owner) for kind in types]
                yield _Method(
                    name=f"{sign}[{owner.name} {selector}]", where=each.where,
                    text=f"{sign} ({returned}){_declared(selector, spelt)}",
                )  # fmt: skip


def _declared(selector: str, types: list[str]) -> str:
    if not types:
        return selector
    words = selector.split(":")[:-1]
    return " ".join(
        f"{word}:({kind})a{number}"
        for number, (word, kind) in enumerate(zip(words, types, strict=True))
    )


def _bare(spelt: str) -> str:
    return " ".join(re.sub(r"\b__(strong|autoreleasing)\b", "", spelt).split())


def _generic(spelt: str, owner: Declaration) -> str:
    for name in owner.generics:
        spelt = re.sub(rf"\b{name}\b", "id", spelt)
    return spelt
