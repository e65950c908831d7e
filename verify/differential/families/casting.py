"""Conversions between element types, those that numpy lacks among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..store import Case
from ..values import ELEMENT_TYPES, Tensor, byte_count, element_number, from_array, numbers
from .data import Content, make, specials
from .models import Input, op_case

_NUMERIC = (
    "float", "double", "float16", "int8", "int16", "int32", "int64",
    "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
_NARROW = (
    "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
)  # fmt: skip
_STRINGS = (
    "0", "-0", "1", "-17", "3.14159274", "1e10", "1E-3", "-2.5e-7", "NaN", "nan", "INF", "-INF",
    "inf", "+INF", "3.4028235e38", "16777217", "0.1", "1e-45",
)  # fmt: skip


def cases() -> Iterator[Case]:
    """Give a cast from every type to every other, from specials and from tame numbers."""
    for source in (*_NUMERIC, *_NARROW):
        for target in (*_NUMERIC, *_NARROW):
            if source != target:
                yield from _pair(source, target)
    for source in ("float", "double", "float16", "int32", "int64", "uint8", "bool"):
        for content in ("special", "finite"):
            name = f"cast/{source}-string/{content}"
            yield op_case(name, "Cast", [_data(name, source, 65, content)], to=8)
    for target in ("float", "double", "float16"):
        for text in _STRINGS:
            given = Tensor(element=8, shape=(1,), strings=(text,))
            number = element_number(target)
            yield op_case(f"cast/string-{target}/{text}", "Cast", [given], to=number)
    for target in ("int32", "int64", "uint8", "int8"):
        given = Tensor(element=8, shape=(4,), strings=("0", "1", "17", "100"))
        yield op_case(f"cast/string-{target}", "Cast", [given], to=element_number(target))
    for target in _NARROW[1:]:
        for saturate in (0, 1):
            for source in ("float", "float16"):
                name = f"cast/{source}-{target}/saturate={saturate}"
                data = _data(name, source, 200, "special")
                number = element_number(target)
                yield op_case(name, "Cast", [data], to=number, saturate=saturate)


def _pair(source: str, target: str) -> Iterator[Case]:
    number = element_number(target)
    whole = ELEMENT_TYPES[number or 0].kind == "int"
    fraction = ELEMENT_TYPES[element_number(source) or 0].kind == "float"
    if whole and source.startswith("float8"):
        yield from _float8_to_integer(source, number or 0)
        return
    # A float beyond an integer's range has no defined conversion in C++. From the wide types the
    # processor's instruction decides, the same in every build; it is compared under its own name.
    contents: dict[str, Content] = {
        "beyond" if whole and fraction else "special": "special",
        "finite": "finite",
    }
    for label, content in contents.items():
        name = f"cast/{source}-{target}/{label}"
        data = _data(name, source, 65, content)
        yield op_case(name, "Cast", [data], to=number)


def _float8_to_integer(source: str, target: int) -> Iterator[Case]:
    """Every code of an 8-bit float, those whose conversion is defined apart from the others.

    ONNX Runtime decodes 8-bit floats in code that the compiler can evaluate ahead of the
    conversion, and then an undefined one depends on what was inlined.
    """
    number = element_number(source) or 0
    codes = Tensor(element=number, shape=(256,), data=bytes(range(256)))
    values = numbers(codes).astype(np.float64)
    limits = np.iinfo(np.dtype(ELEMENT_TYPES[target].storage))
    whole = np.trunc(np.nan_to_num(values, nan=np.inf))
    # 2**n is exact in float64, where the largest integer itself may not be.
    defined = (whole >= float(limits.min)) & (whole < float(limits.max) + 1)
    for label, chosen in (("every-in-range", defined), ("beyond", ~defined)):
        data = bytes(np.flatnonzero(chosen).astype(np.uint8))
        given = Tensor(element=number, shape=(len(data),), data=data)
        name = f"cast/{source}-{ELEMENT_TYPES[target].name}/{label}"
        case = op_case(name, "Cast", [given], to=target)
        why = "a float beyond an integer's range has no defined conversion"
        yield replace(case, undefined=why) if label == "beyond" else case


def _data(name: str, source: str, size: int, content: Content) -> Input:
    number = element_number(source) or 0
    element = ELEMENT_TYPES[number]
    if element.native:
        dtype = np.dtype(element.storage)
        tame = make(name, dtype, (size,), "finite")
        if content == "finite":
            # Unsigned targets have no defined value for negative numbers either.
            return np.abs(tame) if dtype.kind == "f" else tame
        values = specials(dtype)
        tame[: min(size, values.size)] = values[:size]
        return from_array(tame)
    tame = np.abs(make(name, np.float32, (size,), "finite"))
    if element.name == "bfloat16":
        codes = (tame.view(np.uint32) >> 16).astype(np.uint16)
        if content == "special":
            codes = (np.arange(size, dtype=np.uint32) * 1021 % 65536).astype(np.uint16)
    else:
        codes = np.arange(256, dtype=np.uint8)
        if content == "finite":
            # Exponents around zero: magnitudes up to a few units in all four formats.
            codes = codes[0x20:0x40]
    data = codes.tobytes()
    count = len(data) // byte_count(number, 1)
    return Tensor(element=number, shape=(count,), data=data)
