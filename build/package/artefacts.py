"""The last stages: the wheel, the native SDK and the manifest, made from a compiled tree."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compile.plan import BuildPlan, Programs, cross_of, source_date_epoch
from ..errors import WheelError
from ..fetch.fetched import Fetched
from ..fetch.wanted import Wanted
from ..recipe.format import PLATFORMS, PlatformName, Recipe
from ..records import Record
from ..system.console import Voice
from ..system.digest import file_sha256
from ..system.files import write_whole
from ..system.process import LoggedRun
from ..tree.workspace import Tree, Workspace, host_platform
from .licences import LicenceText
from .manifest import (
    CrossEntry,
    Flags,
    Input,
    Manifest,
    PatchEntry,
    RecipeEntry,
    SdkEntry,
    StageEntry,
    WheelEntry,
    write_manifest,
)
from .repair import Repair
from .sbom import make_sbom
from .sdk import SdkArtifact, make_sdk
from .wheel import FinishedWheel, finish_wheel

KEY_FILE = ".ortmill-build.json"


@dataclass(frozen=True, kw_only=True)
class Artefacts:
    """What a build leaves in ``wheels/``."""

    wheel: Path
    sdk: Path
    manifest: Path


def artefacts_stand(wheels: Path, key: str) -> Artefacts | None:
    """Return the artefacts of an earlier build with the same key, if their bytes still stand."""
    try:
        facts = json.loads((wheels / KEY_FILE).read_text(encoding="utf-8"))
        manifest = json.loads((wheels / "manifest.json").read_text(encoding="utf-8"))
        found = Artefacts(
            wheel=wheels / manifest["wheel"]["file"],
            sdk=wheels / manifest["sdk"]["file"],
            manifest=wheels / "manifest.json",
        )
        if facts == {
            "key": key,
            "wheel": file_sha256(found.wheel),
            "sdk": file_sha256(found.sdk),
            "manifest": file_sha256(found.manifest),
        }:
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def make_artefacts(
    *,
    recipe: Recipe,
    recipe_file: str,
    platform: PlatformName,
    workspace: Workspace,
    tree: Tree,
    plan: BuildPlan,
    programs: Programs,
    tools: Mapping[str, str],
    inputs: Sequence[tuple[Wanted, Fetched | None]],
    key: str,
    clock: list[dict[str, Any]],
    voice: Voice,
    patches: Record | None,
) -> Artefacts:
    """Pack the wheel and the SDK of a compiled tree and write the manifest.

    Older artefacts of the same platform leave ``wheels/`` only when the new ones are complete.

    Raises
    ------
    WheelError
        Upstream's wheel is missing or must not be shipped.
    CompileError
        Upstream's packing failed; the log has the whole output.
    """
    epoch = source_date_epoch(recipe)
    entries = manifest_inputs(recipe, inputs)
    licences = read_licences(tree.licences)
    kind = recipe.platforms[platform].repair
    repair = Repair(
        # delocate runs on a Mac alone; elsewhere its rules are checked without it.
        kind="macho" if kind == "delocate" and programs.cross else kind,
        python=programs.python,
        deployment_target=recipe.platforms[platform].minimum_os,
    )
    forbidden = machine_paths(tree, workspace)
    step = plan.steps[2]
    log = workspace.logs / "05-wheel.log"
    with voice.stage("wheel", "packing, licences, SBOM, platform tag"):
        begun = time.monotonic()
        dist = tree.build / "Release" / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        run = LoggedRun(env=step.env, log=log, on_line=voice.ninja)
        run(step.argv)
        raw = sorted(dist.glob("*.whl"))
        if len(raw) != 1:
            raise WheelError(
                f"upstream's packing left {len(raw)} wheels instead of one",
                hint="read the log of the stage",
                context={"log": str(log)},
            )
        sbom = make_sbom(
            name=recipe.name,
            version=plan.version,
            licence=recipe.source.licence,
            inputs=entries,
            source_date_epoch=epoch,
        )
        wheel = finish_wheel(
            raw[0],
            into=workspace.wheels,
            version=plan.version,
            licences=licences,
            sbom=sbom,
            repair=repair,
            source_date_epoch=epoch,
            run=LoggedRun(env=step.env, log=log, error=WheelError),
            forbidden_paths=forbidden,
            log=log,
        )
        seconds = time.monotonic() - begun
    clock.append({"name": "wheel", "seconds": round(seconds, 3), "skipped": False})
    voice.done("wheel", f"{wheel.path.name}, {wheel.size / 1e6:.1f} MB", seconds)
    with voice.stage("sdk", "library, headers, CMake package"):
        begun = time.monotonic()
        sdk = make_sdk(
            tree.build / "Release",
            tree.source,
            into=workspace.wheels,
            name=recipe.name,
            version=plan.version,
            upstream_version=recipe.version,
            licences=licences,
            platform=platform,
            source_date_epoch=epoch,
            run=LoggedRun(env=step.env, log=log),
            cmake=programs.cmake,
            environment=step.env,
            minimum_os=recipe.platforms[platform].minimum_os,
            forbidden_paths=forbidden,
            log=workspace.logs / "06-sdk.log",
        )
        seconds = time.monotonic() - begun
    clock.append({"name": "sdk", "seconds": round(seconds, 3), "skipped": False})
    voice.done("sdk", f"{sdk.path.name}, {sdk.size / 1e6:.1f} MB", seconds)
    manifest = _manifest(
        recipe=recipe,
        recipe_file=recipe_file,
        platform=platform,
        plan=plan,
        tools=tools,
        entries=entries,
        clock=clock,
        wheel=wheel,
        sdk=sdk,
        patches=patches,
        programs=programs,
    )
    path = write_manifest(manifest, workspace.wheels, forbidden_paths=forbidden)
    found = Artefacts(wheel=wheel.path, sdk=sdk.path, manifest=path)
    _note_key(workspace.wheels, key, found)
    _drop_older(workspace.wheels, found, platform)
    return found


def manifest_inputs(recipe: Recipe, inputs: Sequence[tuple[Wanted, Fetched | None]]) -> list[Input]:
    """Return everything that was fetched as the manifest's entries, extras included."""
    licence = {each.name: each.licence for each in recipe.dependencies}
    # What runs while building is in no artefact, so the SBOM leaves it out.
    running = {each.name for each in recipe.dependencies if set(each.hosts) != set(PLATFORMS)}
    entries = []
    for item, fetched in inputs:
        if fetched is None:
            continue
        if item.role == "toolchain":
            name, terms, kind = item.name, "see the package", "tool"
        elif item.role == "tools":
            name, terms, kind = "build-tools", "various", "tool"
        elif item.role == "data":
            name, terms, kind = "onnxruntime-datasets", recipe.data[0].licence, fetched.kind
        elif item.role == "source":
            name, terms, kind = recipe.name, recipe.source.licence, fetched.kind
        else:
            name, terms = item.name, licence[item.name]
            kind = "tool" if name in running else fetched.kind
        entries.append(_entry(fetched, name=name, licence=terms, kind=kind))
        entries += [
            _entry(extra, name=f"{name}-descriptors", licence=terms, kind=extra.kind)
            for extra in fetched.extras
        ]
    return entries


def _entry(fetched: Fetched, *, name: str, licence: str, kind: str) -> Input:
    return Input(
        name=name,
        version=fetched.version or "-",
        licence=licence,
        # Any text to mypy; pydantic refuses what is no kind.
        kind=kind,  # type: ignore[arg-type]
        locator=fetched.locator,
        sha256=fetched.sha256,
        size=fetched.size,
        sha1_only=fetched.pinned == "sha1",
    )


def machine_paths(tree: Tree, workspace: Workspace) -> list[str]:
    """Return the paths of this machine that no artefact may hold.

    A checkout or a cache directly below the root, ``/src`` say, is left out: such a name stands
    inside the honest paths of any library as well (``/ortmill/deps/protobuf/src``).
    """
    places = [tree.root, workspace.cache / "tools", workspace.compiler_cache]
    places += [each for each in (workspace.cache, workspace.root) if len(each.parts) > 2]
    return [str(place) for place in places]


def read_licences(folder: Path) -> list[LicenceText]:
    """Return the licence files below ``folder``, one sub-folder for each input."""
    return [
        LicenceText(name=file.parent.name, file=file.name, text=file.read_bytes())
        for file in sorted(folder.glob("*/*"))
        if file.is_file()
    ]


def _manifest(
    *,
    recipe: Recipe,
    recipe_file: str,
    platform: PlatformName,
    plan: BuildPlan,
    tools: Mapping[str, str],
    entries: Sequence[Input],
    clock: Sequence[Mapping[str, Any]],
    wheel: FinishedWheel,
    sdk: SdkArtifact,
    patches: Record | None,
    programs: Programs,
) -> Manifest:
    listed = [*recipe.source.patches, *(p for each in recipe.dependencies for p in each.patches)]
    pinned = {each.file: each.sha256 for each in listed}
    applied = patches.outputs["patches"] if patches else []
    host = host_platform()
    local = (
        *("FETCHCONTENT_SOURCE_DIR_", "CMAKE_TOOLCHAIN_FILE", "CMAKE_PROJECT_TOP_LEVEL"),
        *("CMAKE_C_COMPILER", "CMAKE_CXX_COMPILER", "Iconv_LIBRARY"),
    )
    return Manifest(
        version=plan.version,
        upstream_version=recipe.version,
        commit=recipe.source.commit,
        platform=platform,
        python=f"cp{sys.version_info.major}{sys.version_info.minor}",
        executed_on="native" if host == platform else host,
        recipe=RecipeEntry(file=recipe_file, digest=plan.recipe_digest),
        wheel=WheelEntry(
            file=wheel.path.name,
            sha256=wheel.sha256,
            size=wheel.size,
            tag=wheel.tag,
            files=wheel.files,
        ),
        sdk=SdkEntry(file=sdk.path.name, sha256=sdk.sha256, size=sdk.size),
        inputs=tuple(entries),
        patches=tuple(
            # The condition below leaves out None, which mypy does not follow into the subscript.
            PatchEntry(file=file, sha256=pinned[file])  # type: ignore[arg-type]
            for file in applied
            if pinned.get(file)
        ),
        tools=dict(tools),
        flags=Flags(
            build_args=plan.build_args,
            defines={
                name: value
                for name, value in plan.defines.items()
                if not name.startswith(local) and not name.endswith("_DIR")
            },
        ),
        stages=tuple(StageEntry(**entry) for entry in clock),
        cross=_cross_entry(recipe, platform, programs, tools["compiler"], entries),
    )


def _cross_entry(
    recipe: Recipe,
    platform: PlatformName,
    programs: Programs,
    compiler: str,
    entries: Sequence[Input],
) -> CrossEntry | None:
    if programs.cross is None:
        return None
    overlays = [
        each.path for each in cross_of(recipe, platform).target.sysroot if each.kind == "overlay"
    ]
    system = ", ".join(overlays) or "packages of the target's distribution"
    return CrossEntry(
        host=host_platform(),
        compiler=compiler,
        system="an SDK of the user's" if programs.cross.sdk else system,
        stand_ins=tuple(sorted(each.name for each in entries if each.kind == "overlay")),
    )


def _note_key(wheels: Path, key: str, found: Artefacts) -> None:
    facts = {
        "key": key,
        "wheel": file_sha256(found.wheel),
        "sdk": file_sha256(found.sdk),
        "manifest": file_sha256(found.manifest),
    }
    write_whole(wheels / KEY_FILE, json.dumps(facts) + "\n")


def _drop_older(wheels: Path, found: Artefacts, platform: PlatformName) -> None:
    """Move artefacts of earlier builds of this platform out of the way, into ``older/``."""
    family = platform.split("-", maxsplit=1)[0]
    tags = {"linux": "linux", "macos": "macosx"}[family]
    for file in wheels.iterdir():
        stale = (file.suffix == ".whl" and tags in file.name) or (
            file.name.endswith(f"-{platform}.tar.gz")
        )
        if stale and file not in (found.wheel, found.sdk) and "+ortmill." in file.name:
            (wheels / "older").mkdir(exist_ok=True)
            file.replace(wheels / "older" / file.name)
