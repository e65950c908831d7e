"""The manifest: where every byte of the two artefacts came from, as versioned JSON.

The classes below are the only description of ``wheels/manifest.json``; its JSON schema,
``wheels/manifest.schema.json``, is generated from them (``nox -s gen``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..binary.machine_paths import find_path
from ..errors import WheelError
from ..recipe.format import Commit, DefineValue, Identifier, PlatformName, RelativePath, Sha256
from ..system.files import replacing

MANIFEST_NAME = "manifest.json"
# RelativePath looks ahead, which only Python's own engine can.
_STRICT = ConfigDict(extra="forbid", strict=True, regex_engine="python-re")

Text = Annotated[str, StringConstraints(min_length=1)]
Kind = Literal["git", "archive", "debian", "pypi", "overlay", "data", "tool"]
Seconds = Annotated[float, Field(ge=0)]
# A name below the archive's root, never a host: registries are found through the machine.
_HOSTLESS = ("debian", "pypi", "overlay")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Input:
    """One thing that was fetched or taken, and went into the artefacts.

    ``locator`` is what finds it again: a URL for ``archive``, ``<url>@<commit>`` for ``git``, the
    path below the mirror's root for ``debian``, ``<project>/<file>`` for ``pypi``, the path below
    the recipes for ``overlay``. ``sha256`` is the file's, or for ``git`` and ``overlay`` the
    tree's digest (:func:`build.system.digest.tree_digest`). ``sha1_only`` says that the pin knew no
    other hash, so that ``sha256`` was measured, not required. ``size`` is in bytes.
    """

    name: Identifier
    version: str
    licence: Text
    kind: Kind
    locator: Text
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]
    sha1_only: bool = False

    def __post_init__(self) -> None:
        """Refuse a registry's host name."""
        if self.kind in _HOSTLESS and "://" in self.locator:
            raise ValueError(f"the locator of a {self.kind} input names no host: {self.locator}")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class RecipeEntry:
    """The recipe that decided everything: its file name and :func:`build.recipe.format.digest`."""

    file: RelativePath
    digest: Sha256


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class WheelEntry:
    """The wheel beside the manifest; ``files`` is the sha256 of every file inside."""

    file: Text
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]
    tag: Text
    files: Mapping[RelativePath, Sha256]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SdkEntry:
    """The native SDK archive beside the manifest."""

    file: Text
    sha256: Sha256
    size: Annotated[int, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PatchEntry:
    """A patch that was applied, by its path below ``recipes/patches``."""

    file: RelativePath
    sha256: Sha256


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Flags:
    """What upstream's build was given: arguments of its build script and CMake's defines."""

    build_args: Sequence[str]
    defines: Mapping[str, DefineValue]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StageEntry:
    """How long a stage took in this run; ``skipped`` where its result existed already."""

    name: Text
    seconds: Seconds
    skipped: bool


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CrossEntry:
    """How artefacts were built on a machine of another platform.

    ``host`` is that machine's platform, ``compiler`` what was used for the platform's own
    compiler; ``system`` says where the declarations and symbols of the platform came from, and
    ``stand_ins`` which inputs are overlays of our own. ``executed`` is false: nothing of the
    artefacts has run.
    """

    host: PlatformName
    compiler: Text
    system: Text
    stand_ins: Sequence[Identifier] = ()
    executed: Literal[False] = False


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Manifest:
    """The whole manifest.

    ``executed_on`` is ``native`` where the build ran on the platform that it is for, else the
    platform that it ran on; then ``cross`` says more.
    """

    schema: Literal[1] = 1
    name: Literal["onnxruntime"] = "onnxruntime"
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+\+ortmill\.[0-9a-f]{1,8}$")]
    upstream_version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    commit: Commit
    platform: PlatformName
    python: Annotated[str, StringConstraints(pattern=r"^cp3\d+t?$")]
    executed_on: Text
    recipe: RecipeEntry
    wheel: WheelEntry
    sdk: SdkEntry
    inputs: Sequence[Input]
    patches: Sequence[PatchEntry]
    tools: Mapping[str, str]
    flags: Flags
    stages: Sequence[StageEntry]
    cross: CrossEntry | None = None


_ADAPTER = TypeAdapter(Manifest)


def manifest_text(manifest: Manifest) -> str:
    """Return the manifest as JSON: keys in the classes' order, two spaces, one final newline."""
    data = _ADAPTER.dump_python(manifest, mode="json")
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def write_manifest(manifest: Manifest, into: Path, *, forbidden_paths: Sequence[str] = ()) -> Path:
    """Write ``manifest.json`` into a folder, whole or not at all, and return its path.

    Raises
    ------
    WheelError
        The manifest holds one of the forbidden paths, which are of this machine.
    ResourceError
        The folder cannot be written.
    """
    content = manifest_text(manifest).encode()
    if hit := find_path(content, forbidden_paths):
        raise WheelError(
            "the manifest holds a path of this machine",
            hint="name files relative to the checkout or the cache",
            context={"path": hit.text},
        )
    target = into / MANIFEST_NAME
    with replacing(target) as part:
        part.write_bytes(content)
    return target


def load_manifest(path: Path) -> Manifest:
    """Read a manifest strictly.

    Raises
    ------
    WheelError
        The file cannot be read, is no JSON, or does not fit the schema; every fault is named.
    """
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise WheelError(
            f"cannot read {path}: {error.strerror or error}", hint="run the build first"
        ) from error
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'file'}: {fault['msg']}"
            for fault in error.errors()
        ]
        raise WheelError(
            f"{path} is no manifest that this version understands: {faults[0]}",
            hint="run the build again; it writes a new one",
            context={"all faults": "; ".join(faults)},
        ) from error
