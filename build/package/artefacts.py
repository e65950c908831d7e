"""The last stages: the wheel, the native SDK and the manifest, made from a compiled tree."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from ..compile.plan import BuildPlan
from ..errors import WheelError
from ..fetch.fetched import Fetched
from ..fetch.wanted import Wanted
from ..recipe.cross import cross_of
from ..recipe.format import PLATFORMS, PlatformName, Recipe
from ..recipe.version import source_date_epoch
from ..request import Request
from ..stage import Timing
from ..system.console import Reporter
from ..system.digest import file_sha256
from ..system.files import write_whole
from ..system.process import LoggedRun
from ..toolchain.programs import Programs
from ..tree.workspace import Tree, Workspace, host_platform
from .licences import LicenceText
from .manifest import (
    MANIFEST_NAME,
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
from .release import Release
from .repair import Repair
from .sbom import make_sbom
from .sdk import SdkArtifact, make_sdk
from .wheel import FinishedWheel, finish_wheel

KEY_FILE = ".ortmill-build.json"
# Defines that hold a path of this machine, by the beginning of their names.
_LOCAL = (
    *("FETCHCONTENT_SOURCE_DIR_", "CMAKE_TOOLCHAIN_FILE", "CMAKE_PROJECT_TOP_LEVEL"),
    *("CMAKE_C_COMPILER", "CMAKE_CXX_COMPILER", "Iconv_LIBRARY"),
)


@dataclass(frozen=True, kw_only=True)
class Artefacts:
    """What a build leaves in ``wheels/``."""

    wheel: Path
    sdk: Path
    manifest: Path


def find_artefacts(wheels: Path, key: str) -> Artefacts | None:
    """Return the artefacts of an earlier build with the same key, if their bytes are unchanged."""
    try:
        facts = json.loads((wheels / KEY_FILE).read_text(encoding="utf-8"))
        manifest = json.loads((wheels / MANIFEST_NAME).read_text(encoding="utf-8"))
        found = Artefacts(
            wheel=wheels / manifest["wheel"]["file"],
            sdk=wheels / manifest["sdk"]["file"],
            manifest=wheels / MANIFEST_NAME,
        )
        return found if facts == _key_facts(key, found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _key_facts(key: str, found: Artefacts) -> dict[str, str]:
    return {"key": key, **{name: file_sha256(path) for name, path in vars(found).items()}}


@dataclass(frozen=True, kw_only=True)
class Packing:
    """A compiled tree, and everything that its artefacts say about it.

    ``inputs`` is everything that was wanted with what was fetched for it; ``patches`` are those
    that were applied, by their names in the recipe.
    """

    request: Request
    tree: Tree
    plan: BuildPlan
    programs: Programs
    inputs: Sequence[tuple[Wanted, Fetched | None]]
    patches: Sequence[str]

    @cached_property
    def release(self) -> Release:
        """What both artefacts have in common."""
        request = self.request
        return Release(
            into=request.workspace.wheels,
            version=self.plan.version,
            platform=request.platform,
            source_date_epoch=source_date_epoch(request.recipe),
            licences=read_licences(self.tree.licences),
            minimum_os=request.recipe.platforms[request.platform].minimum_os,
            forbidden_paths=machine_paths(self.tree, request.workspace),
        )

    @cached_property
    def entries(self) -> list[Input]:
        """The inputs as the manifest and the SBOM list them."""
        return manifest_inputs(self.request.recipe, self.inputs)


def pack_wheel(packing: Packing, reporter: Reporter) -> FinishedWheel:
    """Pack the wheel of a compiled tree with upstream's script, and finish it.

    Raises
    ------
    WheelError
        Upstream's wheel is missing or must not be shipped.
    CompileError
        Upstream's packing failed; the log has the whole output.
    """
    request, tree = packing.request, packing.tree
    recipe, step = request.recipe, packing.plan.step("wheel")
    log = request.workspace.logs / "05-wheel.log"
    dist = tree.build / "Release" / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    LoggedRun(env=step.env, log=log, on_line=reporter.ninja, note=tree.running)(step.argv)
    raw = sorted(dist.glob("*.whl"))
    if len(raw) != 1:
        raise WheelError(
            f"upstream's packing left {len(raw)} wheels instead of one",
            hint="read the log of the stage",
            context={"log": str(log)},
        )
    kind = recipe.platforms[request.platform].repair
    return finish_wheel(
        raw[0],
        packing.release,
        sbom=make_sbom(
            name=recipe.name,
            version=packing.plan.version,
            licence=recipe.source.licence,
            inputs=packing.entries,
            source_date_epoch=packing.release.source_date_epoch,
        ),
        repair=Repair(
            # delocate runs on a Mac alone; elsewhere its rules are checked without it.
            kind="macho" if kind == "delocate" and packing.programs.cross else kind,
            python=packing.programs.python,
            deployment_target=packing.release.minimum_os,
        ),
        run=LoggedRun(env=step.env, log=log, error=WheelError),
    )


def pack_sdk(packing: Packing) -> SdkArtifact:
    """Pack the SDK of a compiled tree; WheelError and CompileError as for the wheel."""
    log = packing.request.workspace.logs / "06-sdk.log"
    return make_sdk(
        packing.release,
        build_dir=packing.tree.build / "Release",
        source_dir=packing.tree.source,
        cmake=packing.programs.cmake,
        run=LoggedRun(env=packing.plan.step("wheel").env, log=log),
    )


def publish(
    packing: Packing, wheel: FinishedWheel, sdk: SdkArtifact, *, timings: Sequence[Timing], key: str
) -> Artefacts:
    """Write the manifest, and note under which key all was made.

    Older artefacts of the same platform leave ``wheels/`` only now.
    """
    release = packing.release
    path = write_manifest(
        _manifest(packing, wheel, sdk, timings),
        release.into,
        forbidden_paths=release.forbidden_paths,
    )
    found = Artefacts(wheel=wheel.path, sdk=sdk.path, manifest=path)
    write_whole(release.into / KEY_FILE, json.dumps(_key_facts(key, found)) + "\n")
    _drop_older(release.into, found, release.platform)
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

    A checkout or a cache directly below the root, ``/src`` say, is left out: such a name is
    part of the honest paths of any library as well (``/ortmill/deps/protobuf/src``).
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
    packing: Packing, wheel: FinishedWheel, sdk: SdkArtifact, timings: Sequence[Timing]
) -> Manifest:
    request, plan = packing.request, packing.plan
    recipe, host = request.recipe, host_platform()
    listed = [*recipe.source.patches, *(p for each in recipe.dependencies for p in each.patches)]
    pinned = {each.file: each.sha256 for each in listed}
    return Manifest(
        version=plan.version,
        upstream_version=recipe.version,
        commit=recipe.source.commit,
        platform=request.platform,
        python=f"cp{sys.version_info.major}{sys.version_info.minor}",
        executed_on="native" if host == request.platform else host,
        recipe=RecipeEntry(file=request.recipe_file, digest=plan.recipe_digest),
        wheel=WheelEntry(
            file=wheel.path.name,
            sha256=wheel.sha256,
            size=wheel.size,
            tag=wheel.tag,
            files=wheel.files,
        ),
        sdk=SdkEntry(file=sdk.path.name, sha256=sdk.sha256, size=sdk.size),
        inputs=tuple(packing.entries),
        patches=tuple(
            # The condition below leaves out None, which mypy does not follow into the subscript.
            PatchEntry(file=file, sha256=pinned[file])  # type: ignore[arg-type]
            for file in packing.patches
            if pinned.get(file)
        ),
        tools=dict(packing.programs.versions),
        flags=Flags(
            build_args=plan.build_args,
            defines={
                name: value
                for name, value in plan.defines.items()
                if not name.startswith(_LOCAL) and not name.endswith("_DIR")
            },
        ),
        stages=tuple(StageEntry(**asdict(each)) for each in timings),
        cross=_cross_entry(packing, host) if packing.programs.cross else None,
    )


def _cross_entry(packing: Packing, host: PlatformName) -> CrossEntry:
    sysroot = cross_of(packing.request.recipe, packing.request.platform).target.sysroot
    overlays = [each.path for each in sysroot if each.kind == "overlay"]
    system = ", ".join(overlays) or "packages of the target's distribution"
    return CrossEntry(
        host=host,
        compiler=packing.programs.versions["compiler"],
        system="an SDK of the user's" if packing.request.sdk else system,
        stand_ins=tuple(sorted(each.name for each in packing.entries if each.kind == "overlay")),
    )


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
