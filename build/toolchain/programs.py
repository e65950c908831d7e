"""The programs that a build's commands name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .cross import CrossPlaces


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The programs that the commands name.

    ``launcher`` is the compiler cache, or None; ``path`` the folders of the child's PATH; ``cross``
    the cross toolchain's folders where the platform is not the machine's own; ``versions`` what
    the manifest says of the tools; ``variables`` what the compiler adds to the environment.
    """

    python: Path
    cmake: Path
    ctest: Path
    c: Path
    cxx: Path
    launcher: Path | None
    path: tuple[str, ...]
    cross: CrossPlaces | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def programs_in(
    tools: Path, *, c: Path, cxx: Path, launcher: Path | None, cross: CrossPlaces | None
) -> Programs:
    """Return the programs of the tools' folder and of a compiler."""
    path = (str(tools), str(cxx.parent), "/usr/bin", "/bin", "/usr/sbin", "/sbin")
    return Programs(
        python=tools / "python",
        cmake=tools / "cmake",
        ctest=tools / "ctest",
        c=c,
        cxx=cxx,
        launcher=launcher,
        path=tuple(dict.fromkeys(path)),
        cross=cross,
    )
