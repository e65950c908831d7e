"""The wheel as a file: found, and refused before anything is installed where it will not do."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import Tag, sys_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ..encoder.model_recipe import file_sha256
from ..errors import WheelNotUsable
from ..policy.limits import wheel_kind
from .promise import is_own, read_promise


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A wheel that this interpreter can install, or that is read alone."""

    path: Path
    version: str
    sha256: str
    size: int

    @property
    def upstream(self) -> str:
        """The version without a local part: that of the official wheel."""
        return self.version.partition("+")[0]


def find_wheel(wheel: Path | None, manifest: Path) -> tuple[Path, dict[str, Any] | None, Path]:
    """Return the wheel, the manifest that describes it (or ``None``), and the manifest's path.

    Raises
    ------
    WheelNotUsable
        When there is no wheel, or the manifest cannot be read.
    """
    if wheel is None:
        if not manifest.is_file():
            raise WheelNotUsable(
                f"There is no wheel to verify: {manifest} does not exist.",
                hint="Run `nox -s build` first, or name a wheel: python -m verify run FILE.whl",
            )
        content = read_manifest(manifest)
        return manifest.parent / content["wheel"]["file"], content, manifest
    if not wheel.is_file():
        raise WheelNotUsable(
            f"There is no wheel at {wheel}.",
            hint="Look at the path. `nox -s build` makes one; onnxruntime==1.32.0 asks the index.",
        )
    described = wheel.parent / "manifest.json"
    if described.is_file():
        content = read_manifest(described)
        # A manifest of ours says nothing about somebody else's wheel that lies beside it.
        if content["wheel"]["file"] == wheel.name or is_own(wheel, described=False):
            return wheel, content, described
    return wheel, None, described


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest and check the parts that the verification uses.

    Raises
    ------
    WheelNotUsable
        When it is not JSON, of another schema, or a part is missing.
    """
    hint = "Run `nox -s build` again."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WheelNotUsable(f"The manifest {path} cannot be read: {error}.", hint=hint) from None
    if not isinstance(content, dict) or content.get("schema") != 1:
        raise WheelNotUsable(f"The manifest {path} is not of schema 1.", hint=hint)
    wheel, recipe = content.get("wheel"), content.get("recipe")
    parts = {
        "version": content.get("version"),
        "commit": content.get("commit"),
        "wheel.file": wheel.get("file") if isinstance(wheel, dict) else None,
        "wheel.files": wheel.get("files") if isinstance(wheel, dict) else None,
        "wheel.sha256": wheel.get("sha256") if isinstance(wheel, dict) else None,
        "recipe.digest": recipe.get("digest") if isinstance(recipe, dict) else None,
    }
    missing = [name for name, value in parts.items() if not value]
    if missing:
        raise WheelNotUsable(f"The manifest {path} lacks {', '.join(missing)}.", hint=hint)
    return content


def inspect_wheel(
    path: Path, manifest: Mapping[str, Any] | None, *, foreign: bool = False
) -> WheelFile:
    """Check a wheel before anything is installed.

    With ``foreign`` one that this interpreter cannot install will do: its bytes are read alone.

    Raises
    ------
    WheelNotUsable
        When it is missing, damaged, of another project, made for another platform or Python, or
        not the one that the manifest describes.
    """
    if not path.is_file():
        raise WheelNotUsable(f"There is no wheel at {path}.", hint="Run `nox -s build` first.")
    try:
        project, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        raise WheelNotUsable(
            f"{path.name} is not the name of a wheel.",
            hint="Give a file such as onnxruntime-1.21.0-cp311-cp311-linux_x86_64.whl.",
        ) from None
    if project != "onnxruntime":
        raise WheelNotUsable(
            f"{path.name} is a wheel of {project}, not of onnxruntime.",
            hint="Give a wheel that `nox -s build` made.",
        )
    if not foreign:
        refuse_foreign_tags(path.name, tags)
    _refuse_damaged(path)
    if manifest is not None and str(version) != manifest.get("version"):
        raise WheelNotUsable(
            f"{path.name} has version {version}, but the manifest beside it describes "
            f"{manifest.get('version')}.",
            hint="Run `nox -s build` again, or give a wheel from a folder of its own.",
        )
    wheel = WheelFile(
        path=path.resolve(),
        version=str(version),
        sha256=file_sha256(path),
        size=path.stat().st_size,
    )
    described = manifest["wheel"]["sha256"] if manifest is not None else wheel.sha256
    if described != wheel.sha256:
        raise WheelNotUsable(
            f"{path.name} is not the wheel that the manifest beside it describes.",
            hint="Run `nox -s build` again, or move the wheel to a folder without a manifest.",
            context={"manifest": described, "found": wheel.sha256},
        )
    return wheel


def refuse_foreign_tags(
    name: str, tags: Iterable[Tag], supported: Iterable[Tag] | None = None
) -> None:
    """Refuse a wheel whose tags none of this interpreter's equals.

    Raises
    ------
    WheelNotUsable
        Saying whether the Python or the platform is the wrong one.
    """
    mine = list(sys_tags() if supported is None else supported)
    wanted = list(tags)
    if set(wanted) & set(mine):
        return
    pythons = {tag.interpreter for tag in mine} | {"py3"}
    here = f"{mine[0].interpreter} on {mine[0].platform}"
    foreign = sorted({tag.interpreter for tag in wanted})
    platforms = {tag.platform for tag in wanted}
    if not {*foreign} & pythons or platforms & {tag.platform for tag in mine}:
        readable = _readable(foreign[0])
        raise WheelNotUsable(
            f"{name} is a wheel for {readable}; this is {here}.",
            hint=f"Run the verification with {readable}, or build a wheel with this Python.",
        )
    raise WheelNotUsable(
        f"{name} is a wheel for another platform ({', '.join(sorted(platforms))}); this is {here}.",
        hint="Verify it on that platform; every host proves its own wheel. A macOS wheel can be "
        "read anywhere: leave --policy out.",
    )


def is_installable(name: str) -> bool:
    """Return whether this interpreter can install a wheel of that name; so it is for no wheel's."""
    try:
        _, _, _, tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return True  # refused where it is read, with what is wrong
    return bool(set(tags) & set(sys_tags()))


def other_python(name: str, host: str, python: str) -> str:
    """Return which Python a wheel for this kind of host is for, where it is another than this.

    ``python`` is the version of the host's, ``3.11.2``.
    """
    here = "cp" + "".join(python.split(".")[:2])
    pythons = read_promise(name).pythons
    if wheel_kind(name) != host or not pythons or here in pythons or "py3" in pythons:
        return ""
    return ", ".join(_readable(each) for each in pythons)


def _readable(interpreter: str) -> str:
    digits = interpreter.removeprefix("cp")
    return f"CPython {digits[0]}.{digits[1:]}" if interpreter.startswith("cp") else interpreter


def _refuse_damaged(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise WheelNotUsable(
            f"{path} is damaged: {error}.", hint="Delete it and run `nox -s build` again."
        ) from None
    if broken is not None:
        raise WheelNotUsable(
            f"{path} is damaged: the file {broken} inside fails its checksum.",
            hint="Delete it and run `nox -s build` again.",
        )
