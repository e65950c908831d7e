"""Values that a model takes and gives, kept as the raw bits of every element.

numpy has no bfloat16, no 8-bit float and no 4-bit integer, and a conversion on the way would hide
the very differences that are looked for. So a tensor here is an ONNX element type, a shape and
bytes: little-endian, row-major, 4-bit elements packed two a byte with the first in the low bits
(the layout of ``TensorProto.raw_data`` in onnx.proto, and of ONNX Runtime's memory).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["float", "complex", "int", "bool", "string"]
Array = NDArray[Any]


@dataclass(frozen=True)
class ElementType:
    """One of ``onnx.TensorProto.DataType``.

    Parameters
    ----------
    number : int
        Its number in onnx.proto.
    name : str
        Its name as ONNX Runtime prints it inside ``tensor(...)``.
    kind : {"float", "complex", "int", "bool", "string"}
    bits : int
        Bits of one element; 0 for strings.
    storage : str
        The numpy dtype that carries the raw bits.
    native : bool
        True when that dtype also has the meaning of the element type.
    """

    number: int
    name: str
    kind: Kind
    bits: int
    storage: str
    native: bool = True


ELEMENT_TYPES: Mapping[int, ElementType] = {
    entry.number: entry
    for entry in (
        ElementType(1, "float", "float", 32, "<f4"),
        ElementType(2, "uint8", "int", 8, "|u1"),
        ElementType(3, "int8", "int", 8, "|i1"),
        ElementType(4, "uint16", "int", 16, "<u2"),
        ElementType(5, "int16", "int", 16, "<i2"),
        ElementType(6, "int32", "int", 32, "<i4"),
        ElementType(7, "int64", "int", 64, "<i8"),
        ElementType(8, "string", "string", 0, "|O"),
        ElementType(9, "bool", "bool", 8, "|b1"),
        ElementType(10, "float16", "float", 16, "<f2"),
        ElementType(11, "double", "float", 64, "<f8"),
        ElementType(12, "uint32", "int", 32, "<u4"),
        ElementType(13, "uint64", "int", 64, "<u8"),
        ElementType(14, "complex64", "complex", 64, "<c8"),
        ElementType(15, "complex128", "complex", 128, "<c16"),
        ElementType(16, "bfloat16", "float", 16, "<u2", native=False),
        ElementType(17, "float8e4m3fn", "float", 8, "|u1", native=False),
        ElementType(18, "float8e4m3fnuz", "float", 8, "|u1", native=False),
        ElementType(19, "float8e5m2", "float", 8, "|u1", native=False),
        ElementType(20, "float8e5m2fnuz", "float", 8, "|u1", native=False),
        ElementType(21, "uint4", "int", 4, "|u1", native=False),
        ElementType(22, "int4", "int", 4, "|u1", native=False),
    )
}
STRING = 8
_BY_NAME = {item.name: item.number for item in ELEMENT_TYPES.values()}
_BY_DTYPE = {
    np.dtype(item.storage): item.number
    for item in ELEMENT_TYPES.values()
    if item.native and item.kind != "string"
}
# Exponent bits, mantissa bits, bias, and the rule for NaN and infinity of the 8-bit floats, from
# the ONNX document "Float stored in 8 bits".
_FLOAT8: dict[int, tuple[int, int, int, Literal["fn", "fnuz", "ieee"]]] = {
    17: (4, 3, 7, "fn"),
    18: (4, 3, 8, "fnuz"),
    19: (5, 2, 15, "ieee"),
    20: (5, 2, 16, "fnuz"),
}


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A dense tensor as raw bits.

    Parameters
    ----------
    element : int
        Number of the element type in onnx.proto.
    shape : tuple[int, ...]
    data : bytes
        The elements; empty for a string tensor.
    strings : tuple[str, ...]
        The elements of a string tensor in row-major order.
    """

    element: int
    shape: tuple[int, ...]
    data: bytes = b""
    strings: tuple[str, ...] = ()

    @property
    def type(self) -> ElementType:
        """The element type, with its width and storage."""
        return ELEMENT_TYPES[self.element]

    @property
    def size(self) -> int:
        """How many elements the shape holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class Items:
    """An ONNX sequence."""

    items: tuple[Value, ...]


@dataclass(frozen=True, kw_only=True)
class Absent:
    """An ONNX optional that holds nothing."""


Value = Tensor | Items | Absent


class NotRepresentable(Exception):
    """A value that this module has no form for, such as a map or a sparse tensor."""


def byte_count(element: int, size: int) -> int:
    """Bytes that ``size`` elements of one type take, 4-bit elements packed."""
    return (ELEMENT_TYPES[element].bits * size + 7) // 8


def element_number(name: str) -> int | None:
    """Find an element type by its name, as in the parentheses of ``tensor(float)``."""
    return _BY_NAME.get(name)


def from_array(array: Array, *, element: int | None = None) -> Tensor:
    """Take a numpy array as a tensor.

    Parameters
    ----------
    array : numpy.ndarray
        Any shape. Strings may be of dtype object or str; bytes are read as UTF-8.
    element : int, optional
        The ONNX element type whose raw bits the array holds, for types that numpy lacks.

    Raises
    ------
    NotRepresentable
        When the dtype has no ONNX element type, or its width is not the named type's.
    """
    if array.dtype.kind in "OUS":
        flat = tuple(
            item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel()
        )
        return Tensor(element=STRING, shape=tuple(array.shape), strings=flat)
    number = _BY_DTYPE.get(array.dtype) if element is None else element
    if number is None:
        raise NotRepresentable(f"numpy dtype {array.dtype}")
    if array.dtype.itemsize * 8 != ELEMENT_TYPES[number].bits:
        raise NotRepresentable(f"{array.dtype} as {ELEMENT_TYPES[number].name}")
    return Tensor(
        element=number, shape=tuple(array.shape), data=np.ascontiguousarray(array).tobytes()
    )


def storage_array(tensor: Tensor) -> Array:
    """Give the raw bits as an array of the storage dtype: what ONNX Runtime's bindings take.

    It has the shape of the tensor; for 4-bit types one dimension of packed bytes.
    """
    if tensor.element == STRING:
        return np.array(tensor.strings, dtype=object).reshape(tensor.shape)
    raw = np.frombuffer(tensor.data, dtype=tensor.type.storage)
    return raw if tensor.type.bits == 4 else raw.reshape(tensor.shape)


def _float8_table(element: int) -> NDArray[np.float32]:
    exponent_bits, mantissa_bits, bias, rule = _FLOAT8[element]
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = (codes & ((1 << mantissa_bits) - 1)) / float(1 << mantissa_bits)
    scale = np.exp2(np.maximum(exponent, 1) - float(bias))
    table = sign * scale * (mantissa + (exponent > 0))
    if rule == "fn":
        table[(codes & 0x7F) == 0x7F] = np.nan
    elif rule == "fnuz":
        table[codes == 0x80] = np.nan
    else:
        top = exponent == (1 << exponent_bits) - 1
        table[top & (mantissa > 0)] = np.nan
        table[top & (mantissa == 0)] = sign[top & (mantissa == 0)] * np.inf
    exact: NDArray[np.float32] = table.astype(np.float32)
    return exact


def numbers(tensor: Tensor) -> Array:
    """Decode what the elements mean, in a numpy dtype that holds every one of them exactly.

    bfloat16 and 8-bit floats come as float32, 4-bit integers as int8, strings as objects.
    """
    raw = storage_array(tensor)
    if tensor.type.native:
        return raw
    if tensor.element == 16:
        wide: Array = (raw.astype(np.uint32) << 16).view(np.float32)
        return wide.reshape(tensor.shape)
    if tensor.element in _FLOAT8:
        return _float8_table(tensor.element)[raw]
    nibbles = np.stack([raw & 0x0F, raw >> 4], axis=-1).ravel()[: tensor.size].astype(np.int8)
    if ELEMENT_TYPES[tensor.element].name == "int4":
        nibbles = np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
    return nibbles.reshape(tensor.shape)
