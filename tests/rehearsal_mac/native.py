"""The native build of a Mac's wheel, with the real command, on the rehearsed Mac."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from build.fetch.cache import ContentCache
from build.fetch.inputs import deliver
from build.fetch.origins.wheelhouse import find_wheelhouse
from build.fetch.wanted import Wanted
from build.recipe.format import DebianOrigin, PlatformName
from build.recipe.load import load_recipe
from build.request import Request, fetch_context, fetch_inputs
from build.system.console import Reporter
from build.toolchain.cross_layout import unpack_shared, write_own
from build.toolchain.install import install_tools
from build.tree.unpack import unpack
from build.tree.workspace import Workspace, open_workspace
from tests.rehearsal import namespace
from tests.rehearsal.commands import HERE, Failed
from tests.rehearsal.commands import run as run_module
from tests.rehearsal_mac.checkout import RECIPE, make_checkout
from tests.rehearsal_mac.programs import (
    Parts,
    cache_program,
    compiler_program,
    toolchain_programs,
)

PLATFORM: PlatformName = "macos-arm64"
HOST: PlatformName = "linux-x86_64"
# What Python's sysconfig says of the platform on the rehearsed Mac.
MACS_NAME = "macosx-11.0-arm64"
# Of the tools' lock, what a Mac alone needs; all of it is Python.
MACS_TOOLS = ("altgraph", "delocate", "macholib", "typing-extensions")
LLVM = DebianOrigin(
    kind="debian",
    path="pool/main/l/llvm-toolchain-19/llvm-19_19.1.7-3~deb12u1_amd64.deb",
    size=16349672,
    sha256="f91492c5b361ff12f540b9f6145cf638b5e0fb3f145fceabd6c4b9540eab4bf9",
    version="19.1.7-3~deb12u1",
)
_SHARED = ("files", "sccache", "overlays")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the build is rehearsed: ``folder`` holds all of it, ``python`` runs ``build``."""

    folder: Path
    python: Path
    cache: Path

    @property
    def checkout(self) -> Path:
        """A copy of this checkout, with the rehearsal's recipe."""
        return self.folder / "checkout"

    @property
    def own_cache(self) -> Path:
        """What stands at the cache's place inside."""
        return self.folder / "cache"

    @property
    def toolchains(self) -> Path:
        """Where the real compiler and linker are inside."""
        return self.folder / "toolchains"

    @property
    def calls(self) -> Path:
        """What the stand-ins were asked."""
        return self.folder / "calls.txt"


def the_request(root: Path, env: Mapping[str, str], *, offline: bool) -> Request:
    """Return the cross build whose toolchain and inputs the rehearsal takes."""
    workspace = open_workspace(root, env)
    recipe = load_recipe(workspace.recipes / f"{RECIPE}.toml", recipes=workspace.recipes)
    return Request(
        recipe=recipe,
        recipe_file=f"recipes/{RECIPE}.toml",
        platform=PLATFORM,
        workspace=replace(workspace, variant=PLATFORM),
        env=env,
        choice="registry",
        offline=offline,
        host=HOST,
    )


def prepare(stage: Stage) -> None:
    """Bring everything that the inside needs: here there may be a network."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    stage.calls.unlink(missing_ok=True)
    env, reporter = os.environ, Reporter(env=os.environ)
    request = the_request(HERE, env, offline=False)
    inputs = fetch_inputs(request, reporter)
    places = request.places(request.workspace.tree(request.recipe, request.platform))
    if request.cross and places:
        got = {item.name: each for item, each in inputs if item.role == "toolchain" and each}
        unpack_shared(request.cross, places, got)
    context = fetch_context(request.workspace, env, reporter, choice="auto", offline=False)
    wanted = Wanted(name="llvm", version=LLVM.version or "", role="data", choice="auto",
                    origins=(LLVM,))  # fmt: skip
    archive = deliver(wanted, context).path
    llvm = stage.folder / "llvm"
    if not (llvm / "usr" / "lib" / "llvm-19" / "bin" / "llvm-otool").exists():
        shutil.rmtree(llvm, ignore_errors=True)
        unpack(archive, llvm, strip_root=False, rooted_links=True)
    _download_tools(stage, request.workspace.recipes / request.recipe.tools.lock)
    make_checkout(stage.checkout)
    _make_own_cache(stage, request.workspace, request.recipe.tools.lock_sha256)


def _download_tools(stage: Stage, lock: Path) -> None:
    """Fetch what delocate needs, by the hashes of the tools' lock."""
    blocks = lock.read_text(encoding="utf-8").replace(" \\\n", " ").splitlines()
    chosen = [line for line in blocks if line.startswith(tuple(f"{n}==" for n in MACS_TOOLS))]
    if len(chosen) != len(MACS_TOOLS):
        raise Failed(f"{lock.name} has not all of {', '.join(MACS_TOOLS)}")
    lines = [line.replace(" ; sys_platform == 'darwin'", "") for line in chosen]
    wanted, folder = stage.folder / "mac-tools.txt", stage.folder / "mac-tools"
    wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
    stamp = folder / hashlib.sha256(wanted.read_bytes()).hexdigest()
    if stamp.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    words = ["download", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    words += ["--only-binary", ":all:", "--dest", str(folder), "-r", str(wanted)]
    subprocess.run([str(stage.python), "-m", "pip", *words], check=True)
    stamp.touch()


def _make_own_cache(stage: Stage, workspace: Workspace, lock_sha256: str) -> None:
    shutil.rmtree(stage.own_cache, ignore_errors=True)
    stage.own_cache.mkdir()
    stage.toolchains.mkdir(exist_ok=True)
    # The tools' wheels under the name of a Mac's as well: those of Linux, as they must run here.
    for house in sorted((workspace.cache / "wheelhouse").glob(f"{lock_sha256}-*-{HOST}")):
        for name in (house.name, house.name.replace(HOST, MACS_NAME)):
            shutil.copytree(house, stage.own_cache / "wheelhouse" / name)


def lay_out(stage: Stage) -> Parts:
    """Put the rehearsal's cache at the cache's place and make the toolchain and tools in it.

    In the namespace, and before it is a Mac.
    """
    namespace.bind(stage.cache / "toolchains", stage.toolchains)
    namespace.replace_cache(stage.cache, stage.own_cache, _SHARED)
    request = the_request(HERE, os.environ, offline=True)
    tree, cross = request.workspace.tree(request.recipe, request.platform), request.cross
    places = request.places(tree)
    if cross is None or places is None:
        raise Failed(f"the recipe has no cross build of {PLATFORM}")
    inputs = fetch_inputs(request, Reporter(env=os.environ, quiet=True))
    got = {item.name: each for item, each in inputs if item.role == "toolchain" and each}
    program = Path(cross.tools.program)
    real = stage.toolchains / places.compiler.name
    libraries = ":".join((places.linker / each).as_posix() for each in cross.tools.libraries)
    loader = shlex.quote((places.linker / cross.tools.loader).as_posix())
    parts = Parts(
        toolchain=places.own / "bin",
        sdk=places.sysroot,
        llvm=stage.folder / "llvm" / "usr" / "lib" / "llvm-19" / "bin",
        loader=f"{loader} --library-path {shlex.quote(libraries)}",
        zig=real / program,
        log=stage.calls,
    )
    (places.compiler / program.parent).mkdir(parents=True)
    for entry in (real / program.parent).iterdir():
        if entry.name != program.name:
            (places.compiler / program.parent / entry.name).symlink_to(entry)
    _script(places.compiler / program, compiler_program(parts))
    places.linker.symlink_to(stage.toolchains / places.linker.name)
    write_own(cross, places, got, os.environ)
    linker = places.program(Path(cross.target.linker).name)
    for name, text in toolchain_programs(parts, str(linker)).items():
        _script(parts.toolchain / name, text)
    _install_tools(stage, request)
    return parts


def _script(place: Path, text: str) -> None:
    place.write_text(text, encoding="utf-8")
    place.chmod(0o755)


def _install_tools(stage: Stage, request: Request) -> None:
    """Make the environment of the build's tools that a Mac's build will find complete."""
    workspace, tools = request.workspace, request.recipe.tools
    house = find_wheelhouse(ContentCache(workspace.cache), tools.lock_sha256)
    if house is None:
        raise Failed("the tools' wheels are not in the cache")
    python = install_tools(
        workspace.tools(tools.lock_sha256),
        wheels=house,
        lock=workspace.recipes / tools.lock,
        lock_sha256=tools.lock_sha256,
        env=os.environ,
    )
    words = ["--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    words += ["--disable-pip-version-check", "--find-links", str(stage.folder / "mac-tools")]
    subprocess.run([str(stage.python), "-m", "pip", *words, *MACS_TOOLS], check=True)
    record = python.parents[1] / "ortmill-tools.json"
    known = record.read_text(encoding="utf-8")
    record.write_text(known.replace(HOST, MACS_NAME), encoding="utf-8")
    launcher = python.parent / "sccache"
    # Under its own name: sccache called by another one takes itself for a compiler.
    real = python.parents[1] / "of-linux" / "sccache"
    real.parent.mkdir()
    launcher.rename(real)
    _script(launcher, cache_program(real))


def run(stage: Stage, *words: str) -> None:
    """Run ``python -m …`` as a user of the Mac does.

    Raises
    ------
    Failed
        It fails.
    """
    env = {
        "PATH": f"/usr/bin:/bin:{os.environ.get('PATH', '')}",
        # A Mac's own place is ~/Library/Caches: the compiler cache knows a file by its path.
        "ORTMILL_CACHE": str(stage.cache),
    }
    run_module(stage.python, words, folder=stage.checkout, env=env)


def what_was_called(stage: Stage) -> Mapping[str, int]:
    """Return how often each stand-in was asked.

    Raises
    ------
    Failed
        One without which the build was not a Mac's was never asked.
    """
    lines = stage.calls.read_text(encoding="utf-8").splitlines() if stage.calls.exists() else []
    found = Counter(line.partition(" ")[0] for line in lines)
    if missing := {"xcrun", "sw_vers", "otool", "install_name_tool"} - found.keys():
        raise Failed(f"nobody asked {', '.join(sorted(missing))}")
    return dict(sorted(found.items()))
