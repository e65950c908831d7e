"""Quantised operators, and the classic machine-learning domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..store import Case
from .data import Content, Draw, make
from .models import ML, op_case


def cases() -> Iterator[Case]:
    """Give the cases of every operator."""
    yield from _quantise()
    yield from _integer_products()
    yield from _classic()


def _quantise() -> Iterator[Case]:
    contents: tuple[Content, ...] = ("finite", "zeros", "nan", "inf", "special")
    for type_ in ("uint8", "int8", "uint16", "int16"):
        for content in contents:
            for size in (1, 15, 33):
                name = f"quantised/QuantizeLinear/{type_}/{size}/{content}"
                zero = np.array(3, dtype=type_)
                data = [Draw("float32", (size,), content), np.float32(0.037), zero]
                yield op_case(name, "QuantizeLinear", data)
    for content in contents[:4]:
        for size in (1, 17, 1000):
            name = f"quantised/DynamicQuantizeLinear/{size}/{content}"
            single = [Draw("float32", (size,), content)]
            yield op_case(name, "DynamicQuantizeLinear", single, outputs=3)
    for type_ in ("uint8", "int8", "uint16", "int16", "int32"):
        zero = np.array(0 if type_ == "int32" else 7, dtype=type_)
        data = [Draw(type_, (33,)), np.float32(0.037), zero]
        yield op_case(f"quantised/DequantizeLinear/{type_}", "DequantizeLinear", data)


def _integer_products() -> Iterator[Case]:
    for left in ("uint8", "int8"):
        # There is no kernel for a signed left and an unsigned right side.
        for right in ("uint8", "int8") if left == "uint8" else ("int8",):
            for size in (1, 7, 16, 33):
                one, two = Draw(left, (size, size)), Draw(right, (size, size), mark="#1")
                zeros = np.array(3, dtype=left), np.array(2, dtype=right)
                name = f"quantised/MatMulInteger/{left}-{right}/{size}"
                yield op_case(name, "MatMulInteger", [one, two, *zeros])
                name = f"quantised/QLinearMatMul/{left}-{right}/{size}"
                data = [one, np.float32(0.02), zeros[0], two, np.float32(0.03), zeros[1]]
                data += [np.float32(0.7), np.array(5, dtype=left)]
                yield op_case(name, "QLinearMatMul", data)
    image = Draw("uint8", (1, 3, 9, 9))
    for type_ in ("uint8", "int8"):
        kernel = Draw(type_, (4, 3, 3, 3), mark="#w")
        data = [image, np.float32(0.02), np.uint8(3)]
        data += [kernel, np.float32(0.03), np.array(2, dtype=type_), np.float32(0.9), np.uint8(5)]
        yield op_case(f"quantised/QLinearConv/uint8-{type_}", "QLinearConv", data)
    pair = [image, Draw("uint8", (4, 3, 3, 3), mark="#w")]
    yield op_case("quantised/ConvInteger/uint8", "ConvInteger", [*pair, np.uint8(3)])


def _classic() -> Iterator[Case]:
    for content in ("finite", "nan", "special"):
        for norm in ("MAX", "L1", "L2"):
            rows = [Draw("float32", (3, 9), content)]
            name = f"classic/Normalizer/{norm}/{content}"
            yield op_case(name, "Normalizer", rows, domain=ML, norm=norm)
        data = make(f"classic/{content}", "float32", (3, 5), content)
        yield op_case(
            f"classic/Scaler/{content}", "Scaler", [data], domain=ML,
            offset=[0.1, 0.2, 0.3, 0.4, 0.5], scale=[1.5] * 5,
        )  # fmt: skip
        yield op_case(
            f"classic/Imputer/{content}", "Imputer", [data], domain=ML,
            imputed_value_floats=[0.5] * 5, replaced_value_float=float("nan"),
        )  # fmt: skip
        yield op_case(f"classic/Binarizer/{content}", "Binarizer", [data], domain=ML, threshold=0.3)
        for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"):
            coefficients = make("classic/linear", "float32", (15,), "unit").tolist()
            if transform != "PROBIT":
                yield op_case(
                    f"classic/LinearClassifier/{transform}/{content}", "LinearClassifier", [data],
                    outputs=2, domain=ML, coefficients=coefficients, intercepts=[0.1, -0.2, 0.3],
                    classlabels_ints=[0, 1, 2], multi_class=1, post_transform=transform,
                )  # fmt: skip
            yield op_case(
                f"classic/LinearRegressor/{transform}/{content}", "LinearRegressor", [data],
                domain=ML, coefficients=coefficients, intercepts=[0.1, -0.2, 0.3], targets=3,
                post_transform=transform,
            )  # fmt: skip
        for kernel in ("LINEAR", "RBF", "POLY", "SIGMOID"):
            vectors = make("classic/svm", "float32", (20,), "unit").tolist()
            yield op_case(
                f"classic/SVMRegressor/{kernel}/{content}", "SVMRegressor", [data], domain=ML,
                coefficients=[0.5, -0.3, 0.2, 0.9], kernel_params=[0.2, 0.1, 3.0],
                kernel_type=kernel, n_supports=4, rho=[0.1], support_vectors=vectors,
            )  # fmt: skip
        tree: dict[str, Any] = {
            "nodes_treeids": [0] * 5, "nodes_nodeids": [0, 1, 2, 3, 4],
            "nodes_featureids": [0, 1, 0, 0, 0], "nodes_values": [0.1, -0.4, 0.0, 0.0, 0.0],
            "nodes_modes": ["BRANCH_LEQ", "BRANCH_LT", "LEAF", "LEAF", "LEAF"],
            "nodes_truenodeids": [1, 3, 0, 0, 0], "nodes_falsenodeids": [2, 4, 0, 0, 0],
        }  # fmt: skip
        for true in (0, 1):
            yield op_case(
                f"classic/TreeEnsembleRegressor/nan-goes-{true}/{content}",
                "TreeEnsembleRegressor", [data], domain=ML, n_targets=1,
                nodes_missing_value_tracks_true=[true] * 5,
                target_treeids=[0, 0, 0], target_nodeids=[2, 3, 4], target_ids=[0, 0, 0],
                target_weights=[1.5, -2.5, 0.25], **tree,
            )  # fmt: skip
