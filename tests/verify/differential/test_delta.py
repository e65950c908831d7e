"""Laws of the comparison of two values."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from verify.differential.delta import compare_values, ulp_distance
from verify.differential.tolerance import judge
from verify.differential.values import (
    ELEMENT_TYPES,
    Absent,
    Items,
    NotRepresentable,
    Tensor,
    from_array,
    numbers,
    storage_array,
)

FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
ANY_TYPE = st.sampled_from(
    [np.float16, np.float32, np.float64, np.int8, np.uint64, np.bool_, np.complex64]
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
ANY_ARRAY = ANY_TYPE.flatmap(lambda dtype: arrays.arrays(dtype, SHAPES))
FLOAT_ARRAY = FLOATS.flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_side=1, max_side=9))
)


@given(ANY_ARRAY)
def test_a_value_is_identical_to_itself(array: NDArray[Any]) -> None:
    delta = compare_values(from_array(array), from_array(array.copy()))
    assert delta.status == "identical"
    assert delta.elements == array.size
    assert delta.unequal == 0


@given(FLOAT_ARRAY, st.data())
def test_a_moved_nan_always_differs(array: NDArray[Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, array.size - 1))
    official, candidate = array.copy().ravel(), array.copy().ravel()
    official[place], candidate[place] = np.nan, 1.0
    for left, right in ((official, candidate), (candidate, official)):
        delta = compare_values(from_array(left), from_array(right))
        assert delta.status == "differs"
        assert delta.reason.startswith("NaN at 1 of")


@given(FLOAT_ARRAY, st.data())
def test_the_sign_of_zero_and_of_infinity_counts(array: NDArray[Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, array.size - 1))
    for value, word in ((0.0, "sign of zero"), (np.inf, "infinity")):
        official, candidate = array.copy().ravel(), array.copy().ravel()
        official[place], candidate[place] = value, -value
        delta = compare_values(from_array(official), from_array(candidate))
        assert delta.status == "differs"
        assert delta.reason.startswith(word)


@given(FLOATS, st.floats(-1e4, 1e4, width=16).filter(bool))
def test_one_ulp_is_measured_as_one(dtype: Any, value: float) -> None:
    official = np.array([value], dtype=dtype)
    candidate = np.nextafter(official, np.array([np.inf], dtype=dtype))
    delta = compare_values(from_array(official), from_array(candidate))
    assert (delta.status, delta.max_ulp, delta.unequal) == ("within", 1, 1)
    exact = compare_values(from_array(official), from_array(candidate), tolerances={})
    assert exact.status == "differs"


@given(FLOAT_ARRAY)
def test_distance_is_symmetric_and_zero_on_itself(array: NDArray[Any]) -> None:
    tensor, mirrored = from_array(array), from_array(-array)
    assert not ulp_distance(tensor, tensor).any()
    there, back = ulp_distance(tensor, mirrored), ulp_distance(mirrored, tensor)
    np.testing.assert_array_equal(there, back)


@pytest.mark.parametrize(
    ("official", "candidate", "status"),
    [
        (np.float32(1.0), np.float32(1.0 + 5 * 2.0**-23), "within"),  # 5 ULP, relative 6e-7
        (np.float32(1.0), np.float32(1.0 + 2e-6), "differs"),
        (np.float64(1.0), np.float64(1.0 + 1e-12), "differs"),
        (np.float16(1.0), np.float16(1.002), "differs"),  # 2 ULP
        (np.float32(0.0), np.float32(1e-45), "within"),  # the neighbouring denormal
        (np.float32(0.0), np.float32(1e-40), "differs"),
        (np.float32(3e38), np.float32(np.inf), "differs"),
        (np.int32(5), np.int32(6), "differs"),
        (np.bool_(True), np.bool_(False), "differs"),
        (np.complex64(1 + 1j), np.complex64(1 - 1j), "differs"),
    ],
)
def test_tolerance_by_type(official: Any, candidate: Any, status: str) -> None:
    left, right = np.array([official]), np.array([candidate])
    assert compare_values(from_array(left), from_array(right)).status == status


def test_the_payload_of_a_nan_is_not_compared() -> None:
    left = np.array([0x7FC00000, 0x3F800000], dtype=np.uint32).view(np.float32)
    right = np.array([0xFFC12345, 0x3F800000], dtype=np.uint32).view(np.float32)
    assert compare_values(from_array(left), from_array(right)).status == "identical"


def test_types_shapes_and_kinds_must_agree() -> None:
    base = from_array(np.zeros((2, 3), np.float32))
    for other in (
        from_array(np.zeros((3, 2), np.float32)),
        from_array(np.zeros((2, 3), np.float64)),
        Items(items=(base,)),
        Absent(),
    ):
        assert compare_values(base, other).status == "differs"
        assert compare_values(other, base).status == "differs"


def test_empty_tensors_of_one_shape_are_identical_and_of_two_are_not() -> None:
    left = from_array(np.zeros((0, 3), np.float32))
    assert compare_values(left, from_array(np.zeros((0, 3), np.float32))).status == "identical"
    assert compare_values(left, from_array(np.zeros((0, 4), np.float32))).status == "differs"


def test_sequences_are_compared_item_by_item() -> None:
    one, two = from_array(np.array([1.0])), from_array(np.array([2.0]))
    assert compare_values(Items(items=(one, two)), Items(items=(one, two))).status == "identical"
    assert compare_values(Items(items=(one, two)), Items(items=(one, one))).status == "differs"
    assert compare_values(Items(items=(one, two)), Items(items=(one,))).status == "differs"
    assert compare_values(Absent(), Absent()).status == "identical"


def test_strings_name_the_first_difference() -> None:
    left = from_array(np.array(["a", "b"], dtype=object))
    right = from_array(np.array(["a", "c"], dtype=object))
    assert compare_values(left, left).status == "identical"
    delta = compare_values(left, right)
    assert (delta.status, delta.unequal) == ("differs", 1)
    assert "'c', officially 'b'" in delta.reason


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bfloat16", ml_dtypes.bfloat16),
        ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
        ("float8e4m3fnuz", ml_dtypes.float8_e4m3fnuz),
        ("float8e5m2", ml_dtypes.float8_e5m2),
        ("float8e5m2fnuz", ml_dtypes.float8_e5m2fnuz),
    ],
)
def test_every_code_of_a_narrow_float_means_what_ml_dtypes_says(name: str, dtype: Any) -> None:
    element = next(item for item in ELEMENT_TYPES.values() if item.name == name)
    codes = np.arange(2**element.bits, dtype=np.uint16).astype(element.storage)
    tensor = from_array(codes, element=element.number)
    expected = codes.view(dtype).astype(np.float32)
    got = numbers(tensor)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(got)])
    )


def test_four_bit_integers_are_unpacked_low_half_first() -> None:
    packed = bytes([0x8F, 0x07])
    unsigned = Tensor(element=21, shape=(3,), data=packed)
    signed = Tensor(element=22, shape=(3,), data=packed)
    assert numbers(unsigned).tolist() == [15, 8, 7]
    assert numbers(signed).tolist() == [-1, -8, 7]
    assert storage_array(signed).tolist() == [0x8F, 0x07]


def test_a_type_without_a_form_is_refused() -> None:
    with pytest.raises(NotRepresentable):
        from_array(np.zeros(2, dtype="datetime64[s]"))
    with pytest.raises(NotRepresentable):
        from_array(np.zeros(2, np.uint8), element=16)


@given(FLOAT_ARRAY)
def test_expected_outputs_are_met_by_themselves(array: NDArray[Any]) -> None:
    tensor = from_array(array)
    assert judge([tensor], [tensor], rtol=0.0, atol=0.0) is None


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (np.array([1.01]), np.array([1.0])),
        (np.array([np.nan]), np.array([1.0])),
        (np.array([1.0]), np.array([np.nan])),
        (np.array([np.inf]), np.array([-np.inf])),
        (np.array([1.0], np.float32), np.array([1.0])),
        (np.array([[1.0]]), np.array([1.0])),
        (np.array(["a"], dtype=object), np.array(["b"], dtype=object)),
    ],
)
def test_wrong_outputs_fail_with_a_reason(got: NDArray[Any], expected: NDArray[Any]) -> None:
    reason = judge([from_array(got)], [from_array(expected)], rtol=1e-3, atol=1e-7)
    assert reason is not None
    assert reason.startswith("output 0: ")


def test_the_tolerance_of_the_backend_runner_is_applied() -> None:
    expected = from_array(np.array([1000.0, 0.0]))
    assert judge([from_array(np.array([1000.9, 9e-8]))], [expected], rtol=1e-3, atol=1e-7) is None
    assert judge([from_array(np.array([1001.1, 0.0]))], [expected], rtol=1e-3, atol=1e-7)
    assert judge([], [expected], rtol=1e-3, atol=1e-7) == "0 outputs where 1 are expected"
