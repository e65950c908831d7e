"""Policies: which checks a kind of host must pass, and with which limits.

The dataclasses are plain, so that a worker can rebuild a policy without pydantic; the files are
read by :mod:`verify.checks.policies`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

Provider = Literal["cpu", "coreml"]
CpuPrecision = Literal["fp32", "int8", "int8-fast"]


def _at_least(default: float, low: float, high: float | None = None) -> Any:
    return field(default=default, metadata={"min": low, "max": high, "relation": "at least"})


def _at_most(default: float, low: float, high: float | None = None) -> Any:
    return field(default=default, metadata={"min": low, "max": high, "relation": "at most"})


def _setting(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"min": low, "max": high})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Every number that a check compares with, and the settings of some measurements.

    Times are in milliseconds, memory in MiB (2**20 bytes), cosines and shares between 0 and 1.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    latency_p95_ms: float = _at_most(20.0, 0.001)
    latency_confidence: float = _setting(0.95, 0.5, 0.9999)
    latency_min_samples: int = _setting(300, 59, 10_000_000)
    cold_session_ms_max: float = _at_most(10_000.0, 1.0)
    speedup_over_cpu_min: float = _at_least(1.0, 0.0)
    speedup_over_official_min: float = _at_least(0.8, 0.0)
    min_cosine: float = _at_least(0.99999, -1.0, 1.0)
    max_abs: float = _at_most(1e-5, 0.0)
    norm_tolerance: float = _at_most(1e-5, 0.0)
    agreement_min_cosine: float = _at_least(0.999, -1.0, 1.0)
    agreement_rank_min: float = _at_least(0.95, 0.0, 1.0)
    agreement_int8_min: float = _at_least(0.999, -1.0, 1.0)
    agreement_int8_fast_min: float = _at_least(0.99, -1.0, 1.0)
    coverage_partitions_max: int = _at_most(1, 0, 10_000)
    coverage_nodes_min: float = _at_least(0.98, 0.0, 1.0)
    conversion_exact_min: float = _at_least(0.9999999, -1.0, 1.0)
    conversion_half_min: float = _at_least(0.9995, -1.0, 1.0)
    memory_growth_mb_max: float = _at_most(20.0, 0.0)
    memory_runs: int = _setting(5000, 100, 10_000_000)
    concurrency_threads: int = _setting(4, 2, 1024)

    @classmethod
    def relation(cls, name: str) -> Literal["at least", "at most"]:
        """Return whether a number must reach the limit of that name, or must not exceed it."""
        relation: Literal["at least", "at most"] = next(
            item.metadata["relation"] for item in fields(cls) if item.name == name
        )
        return relation


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a host kind must prove.

    Parameters
    ----------
    name, summary : str
        For people.
    hosts : tuple of str
        Host kinds (:func:`host_kind`) that take this policy when none is named.
    wheels : tuple of str
        Kinds of wheels (:func:`wheel_kind`) that a host of another kind takes this policy for.
    own : bool
        Whether it is for wheels that ortmill made, which are held to ortmill's own standards as
        well; the others are held to what they promise.
    executes : bool
        Whether the wheel is installed and run. Without, only checks of its bytes are carried out.
    gate_provider : {"cpu", "coreml"}
        The provider whose latency the gate judges.
    cpu_precision : {"fp32", "int8", "int8-fast"}
        The form of the encoder that the CPU provider is judged in: its latency, and its agreement
        with fp32 beside the other forms. fp32 allows nothing less; a form in fewer bits is held to
        a limit of its own (``agreement_int8_min``, ``agreement_int8_fast_min``).
    required : Mapping[str, bool]
        Check id to whether it must pass. A required check that is not-run fails the verdict.
    limits : Limits
        The numbers.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    schema: Literal[1]
    name: str
    summary: str
    hosts: tuple[str, ...] = ()
    wheels: tuple[str, ...] = ()
    own: bool = True
    executes: bool = True
    gate_provider: Provider
    cpu_precision: CpuPrecision = "fp32"
    required: Mapping[str, bool]
    limits: Limits

    def requires(self, check_id: str) -> bool:
        """Return whether ``check_id`` must pass; a check that is not named need not."""
        return bool(self.required.get(check_id, False))

    def with_budget(self, milliseconds: float | None) -> Policy:
        """Return the policy with another latency budget; itself for ``None``."""
        if milliseconds is None:
            return self
        return replace(self, limits=replace(self.limits, latency_p95_ms=milliseconds))

    def with_precision(self, precision: CpuPrecision | None) -> Policy:
        """Return the policy with another form on the CPU; itself for ``None``."""
        return self if precision is None else replace(self, cpu_precision=precision)

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {
            **asdict(self),
            "hosts": list(self.hosts),
            "wheels": list(self.wheels),
            "required": dict(self.required),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Policy:
        """Rebuild what :meth:`to_json` wrote."""
        return cls(
            **{
                **data,
                "hosts": tuple(data["hosts"]),
                "wheels": tuple(data["wheels"]),
                "limits": Limits(**data["limits"]),
            }
        )


def form_limit(precision: str) -> str:
    """Return the name of the limit on the worst cosine of a form in fewer bits."""
    return f"agreement_{precision.replace('-', '_')}_min"


def host_kind() -> str:
    """Return this host's kind: ``linux-x86_64``, ``macos-arm64`` …."""
    system = {"darwin": "macos", "linux": "linux", "win32": "windows"}.get(
        sys.platform, sys.platform
    )
    machine = platform.machine().lower()
    return f"{system}-{'x86_64' if machine == 'amd64' else machine}"


def wheel_kind(name: str) -> str:
    """Return the kind of host that a wheel is made for, by its name; empty when it is for several.

    ``macos-arm64`` for the tags ``macosx_*_arm64`` and ``macosx_*_universal2``.
    """
    platforms = name.removesuffix(".whl").rpartition("-")[2].split(".")
    kinds = set()
    for tag in platforms:
        for machine in ("x86_64", "aarch64", "arm64", "universal2"):
            if tag.endswith(f"_{machine}"):
                system = "macos" if tag.startswith("macosx") else "linux"
                arm = system == "macos" and machine == "universal2"
                kinds.add(f"{system}-{'arm64' if arm else machine}")
    return kinds.pop() if len(kinds) == 1 else ""
