"""A wheel given by name and version: ``onnxruntime==1.32.0``, as pip takes it here."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import WheelNotUsable
from ..sentence import Say
from .venv import fetch_official

_SPECIFIER = re.compile(r"[=<>]|^onnxruntime$")


def named(wheel: Path | None) -> str | None:
    """Return what a wheel argument asks the index for, or None where it is a file."""
    text = str(wheel or "")
    return text if _SPECIFIER.search(text) and not Path(text).exists() else None


def fetch_named(text: str, work: Path, *, say: Say) -> Path:
    """Fetch the wheel ``onnxruntime==VERSION`` for this host and Python from pip's index, once.

    Raises
    ------
    WheelNotUsable
        It is no such name, or no single version.
    EnvironmentFailed
        The index has none.
    """
    hint = "Name one version, such as onnxruntime==1.32.0, or a wheel's file."
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        said = " ".join(str(error).split())
        raise WheelNotUsable(f"{text} is no name and version: {said}.", hint=hint) from None
    pins = [each for each in wanted.specifier if each.operator == "==" and "*" not in each.version]
    if canonicalize_name(wanted.name) != "onnxruntime" or len(pins) != 1:
        raise WheelNotUsable(f"{text} does not name one version of onnxruntime.", hint=hint)
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    machine = platform.machine()
    system = f"macosx_14_0_{machine}" if sys.platform == "darwin" else f"manylinux_2_28_{machine}"
    like = f"onnxruntime-{pins[0].version}-{python}-{python}-{system}.whl"
    return fetch_official(like, work, say=say).path
