"""Lay out a cross toolchain: unpack what is shared, write what belongs to one tree."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from ..errors import SourceError, ToolchainError, UsageError
from ..fetch.fetched import Fetched
from ..recipe.cross import CrossBuild
from ..system.environment import plain_environment
from ..system.process import ask
from ..tree.unpack import unpack
from .cross import CrossPlaces, filled, flags_of, packing_texts, toolchain_text, wrapper_texts

_DONE = "complete"


def check_sdk(sdk: Path) -> Path:
    """Return a user's SDK as an absolute path; UsageError where it is none."""
    place = sdk.expanduser().resolve()
    if not (place / "System" / "Library" / "Frameworks" / "CoreML.framework").is_dir():
        raise UsageError(
            f"{sdk} is no SDK of macOS: it has no System/Library/Frameworks/CoreML.framework",
            hint="name the folder MacOSX.sdk itself; `xcrun --show-sdk-path` prints it on a Mac",
        )
    return place


def unpack_shared(cross: CrossBuild, places: CrossPlaces, fetched: Mapping[str, Fetched]) -> None:
    """Unpack the compiler and the linker, once for all trees.

    A folder's name holds the digest of its pins, so what is there complete is right.

    Raises
    ------
    SourceError
        An archive cannot be unpacked or does not hold what the recipe names.
    """
    linkers = [fetched[f"cross-linker-{number}"].path for number in range(len(cross.tools.linker))]
    _unpack_once(places.compiler, [fetched["cross-compiler"].path], [cross.tools.program])
    _unpack_once(places.linker, linkers, [cross.target.linker, cross.tools.loader])


def _unpack_once(folder: Path, archives: Sequence[Path], wanted: Sequence[str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / _DONE).is_file():
            return
        part = folder.with_name(folder.name + ".part")
        for leftover in (folder, part):
            shutil.rmtree(leftover, ignore_errors=True)
        for archive in archives:
            unpack(archive, part, strip_root=False, rooted_links=True)
        for place in wanted:
            if not (part / place).is_file():
                raise SourceError(
                    f"the cross toolchain holds no {place}",
                    hint="check the paths under `cross` in the recipe",
                )
        (part / _DONE).touch()
        part.rename(folder)


def write_own(
    cross: CrossBuild, places: CrossPlaces, fetched: Mapping[str, Fetched], env: Mapping[str, str]
) -> None:
    """Write the wrappers, the toolchain file, the system, the Python headers and the runtime.

    A file that is right already is left alone: everything that was compiled depends on them, and
    a new time stamp would compile it again.

    Raises
    ------
    ToolchainError
        The compiler does not work.
    """
    part = places.own.with_name(places.own.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for name, text in wrapper_texts(cross, places).items():
        _write(part / "bin" / name, text).chmod(0o755)
    for name, text in packing_texts(cross).items():
        _write(part / "packing" / name, text)
    _write(part / "toolchain.cmake", toolchain_text(cross, places))
    for name, words in cross.target.copies.items():
        text = (places.compiler / name).read_text(encoding="utf-8")
        for old, new in words.items():
            text = text.replace(old, new)
        _write(part / "lib" / Path(name).name, text)
    sysroot = part / places.overlay.relative_to(places.own)
    for number in range(len(cross.target.sysroot)):
        file = fetched[f"cross-sysroot-{number}"].path
        if file.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".*")
            shutil.copytree(file, sysroot, dirs_exist_ok=True, ignore=ignored)
        else:
            unpack(file, sysroot, strip_root=False, rooted_links=True)
    # Python.h asks for "pyconfig.h", which is looked for beside it first.
    shutil.copytree(sysconfig.get_path("include"), part / "python")
    if cross.target.pyconfig:
        for header in (sysroot / cross.target.pyconfig).parent.glob("*.h"):
            shutil.copyfile(header, part / "python" / header.name)
    replace_changed(part, places.own)
    for source in cross.target.runtime:
        _compile_runtime(cross, places, source, env)


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def replace_changed(new: Path, old: Path) -> None:
    """Make ``old`` equal to ``new``, which is used up; equal files keep their time stamps."""
    kept = {place.relative_to(new) for place in new.rglob("*")}
    for place in sorted(old.rglob("*"), reverse=True):
        if place.relative_to(old) in kept or place.parent == old / "lib":
            continue
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink()
    for place in sorted(new.rglob("*")):
        target = old / place.relative_to(new)
        if place.is_symlink():
            target.unlink(missing_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(place.readlink())
        elif place.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.is_file() or target.read_bytes() != place.read_bytes():
            place.replace(target)
        else:
            target.chmod(place.stat().st_mode)
    shutil.rmtree(new)


def _compile_runtime(
    cross: CrossBuild, places: CrossPlaces, source: str, env: Mapping[str, str]
) -> None:
    result = places.own / "lib" / (Path(source).stem + ".o")
    words = [
        *("clang", f"--target={cross.target.triple}"),
        *(filled(each, places) for each in flags_of(cross, places).c),
        *("-O2", "-fvisibility=hidden", "-c", str(places.overlay / source)),
        *("-o", str(result)),
    ]
    answer = ask(
        [str(places.compiler / cross.tools.program), *words],
        env=plain_environment(env),
        seconds=120,
    )
    if answer.code:
        raise ToolchainError(
            f"the cross compiler cannot compile {Path(source).name}",
            hint="does this machine run programs for its own platform? see what it said",
            context={"it said": answer.err[-500:]},
        )
