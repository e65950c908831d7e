"""The build itself: seven stages, each run by the engine.

``fetch`` brings verified bytes into the cache, ``toolchain`` lays out a cross compiler where one
is needed, ``source`` lays out the tree, ``configure`` and ``compile`` run upstream's script,
``wheel`` and ``sdk`` make the artefacts. Those between ``source`` and ``compile`` are skipped
where their inputs are unchanged; inside the compile ninja goes on from its own state.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compile.plan import Step, build_environment, make_plan
from .fetch.fetched import Fetched
from .fetch.wanted import Wanted
from .package.artefacts import Artefacts, Packing, find_artefacts, pack_sdk, pack_wheel, publish
from .package.sdk import SdkArtifact
from .package.wheel import FinishedWheel
from .recipe.cross import CrossBuild
from .recipe.format import digest, source_digest
from .request import Request, fetch_inputs, the_compiler
from .stage import Engine, Stage, inputs_digest
from .system.console import Reporter
from .system.digest import tree_size
from .system.environment import is_network
from .system.files import check_writable
from .system.process import LoggedRun
from .system.session import end_leftover
from .toolchain.compiler import Compiler, check_disk, parallel_jobs
from .toolchain.compiler_cache import cache_server, cache_socket
from .toolchain.cross import CrossPlaces
from .toolchain.cross_layout import unpack_shared, write_own
from .toolchain.prepare import prepare_tools
from .tree.lock import hold_tree
from .tree.source import check_patches, lay_out_source
from .tree.workspace import Tree

Inputs = Sequence[tuple[Wanted, Fetched | None]]
Outputs = Mapping[str, Any]

# Raised when a stage starts to do something else with the same inputs.
_REVISIONS = {"source": 1, "configure": 1, "compile": 1, "artefacts": 1}


def build(request: Request, reporter: Reporter) -> Artefacts:
    """Build the wheel and the SDK, or say that they exist already.

    Raises
    ------
    BuildError
        Any of its kinds; the state of finished stages is kept.
    """
    workspace = request.workspace
    tree = workspace.tree(request.recipe, request.platform)
    compiler = the_compiler(request, tree)
    if compiler.note:
        reporter.say(compiler.note)
    check_writable(workspace.wheels)
    check_patches(request.recipe, workspace.recipes)
    key = artefacts_key(request, compiler)
    if unchanged := _unchanged(request, reporter, key):
        return unchanged
    with hold_tree(tree.lock, workspace.root, reporter.say):
        # Whoever held the tree may have made them while this build waited.
        if unchanged := _unchanged(request, reporter, key):
            return unchanged
        made = _Build(request=request, reporter=reporter, tree=tree, compiler=compiler).run(key)
    reporter.finish(f"built {made.wheel.name}")
    return made


def _unchanged(request: Request, reporter: Reporter, key: str) -> Artefacts | None:
    found = None if request.fresh else find_artefacts(request.workspace.wheels, key)
    if found:
        reporter.finish(f"unchanged: {found.wheel.name} is what this recipe builds")
    return found


@dataclass(frozen=True, kw_only=True)
class _Build:
    """One build, in a tree that it holds: its stages, in order."""

    request: Request
    reporter: Reporter
    tree: Tree
    compiler: Compiler

    def run(self, key: str) -> Artefacts:
        """Run the stages; ``key`` is noted with what they make."""
        request, tree = self.request, self.tree
        self.prepare()
        engine = Engine(tree.records, list(_REVISIONS), self.reporter)
        inputs = engine.run(self.fetch())
        places = request.places(tree)
        if (cross := request.cross) and places:
            engine.run(self.toolchain(cross, places, inputs))
        programs = prepare_tools(
            request.recipe,
            request.platform,
            workspace=request.workspace,
            compiler=self.compiler,
            env=request.env,
            cross=places,
        )
        with cache_socket() as socket:
            chosen = _chosen(inputs)
            env = build_environment(
                request,
                programs,
                home=request.env.get("HOME", str(Path.home())),
                cache_socket=socket,
                network=request.env,
            )
            plan = make_plan(
                request,
                tree,
                programs,
                {name: each.kind for name, each in chosen.items() if name},
                env=env,
                as_root=hasattr(os, "geteuid") and os.geteuid() == 0,
            )
            source = self.source(inputs, chosen)
            patches = engine.run(source)["patches"]
            configure = self.configure(plan.step("configure"), plan.top_level_include, source.key)
            engine.run(configure)
            engine.run(self.compile(plan.step("compile"), programs.launcher, configure.key))
            packing = Packing(
                request=request,
                tree=tree,
                plan=plan,
                programs=programs,
                inputs=inputs,
                patches=patches,
            )
            # Packing goes through ninja as well: a header that is newer than its objects, because
            # the tools were installed anew say, is compiled there, and its compiler cache needs a
            # server.
            with cache_server(programs.launcher, plan.step("wheel").env, self.reporter.say):
                wheel = engine.run(self.wheel(packing))
                sdk = engine.run(self.sdk(packing))
        return publish(packing, wheel, sdk, timings=engine.timings, key=key)

    def prepare(self) -> None:
        """End and remove what earlier builds left and this one cannot use."""
        if end_leftover(self.tree.running):
            self.reporter.say("ended what a killed build had left running in this tree")
        drop_logs(self.request.workspace.logs)
        check_disk(self.tree.root, already=tree_size(self.tree.root))
        if self.request.fresh:
            shutil.rmtree(self.tree.root, ignore_errors=True)

    def fetch(self) -> Stage[Inputs]:
        """Bring every input into the cache."""

        def summary(inputs: Inputs) -> str:
            size = sum(fetched.size for _, fetched in inputs if fetched)
            return f"{len(inputs)} inputs, {size / 1e6:.0f} MB, every hash checked"

        return Stage(
            name="fetch",
            title="verified inputs",
            work=lambda: fetch_inputs(self.request, self.reporter),
            summary=summary,
        )

    def toolchain(self, cross: CrossBuild, places: CrossPlaces, inputs: Inputs) -> Stage[None]:
        """Lay out the cross compiler, its linker and the target's system."""

        def work() -> None:
            parts = {item.name: got for item, got in inputs if item.role == "toolchain" and got}
            unpack_shared(cross, places, parts)
            write_own(cross, places, parts, self.request.env)

        return Stage(
            name="toolchain",
            title=self.compiler.identity,
            work=work,
            summary=lambda _: self.compiler.identity.partition(", recipe")[0],
        )

    def source(self, inputs: Inputs, chosen: Mapping[str, Fetched]) -> Stage[Outputs]:
        """Lay out the source tree."""
        recipe, tree = self.request.recipe, self.tree

        def work() -> Outputs:
            applied = lay_out_source(
                recipe,
                tree,
                source=chosen[""],
                dependencies={name: each for name, each in chosen.items() if name},
                data=[fetched for item, fetched in inputs if item.role == "data" and fetched],
                recipes=self.request.workspace.recipes,
            )
            return {"patches": applied}

        return Stage(
            name="source",
            title="unpacking and patching",
            key=inputs_digest(
                revision=_REVISIONS["source"],
                recipe=source_digest(recipe),
                inputs={
                    item.name: [fetched.kind, fetched.sha256]
                    for item, fetched in inputs
                    if fetched and item.role not in {"tools", "toolchain"}
                },
            ),
            outputs_exist=lambda: tree.source.is_dir() and tree.deps.is_dir(),
            work=work,
            summary=lambda made: (
                f"{recipe.name} {recipe.version}, {len(made['patches'])} patches applied"
            ),
        )

    def configure(self, step: Step, top_level_include: str, source_key: str) -> Stage[Outputs]:
        """Run CMake."""
        compiler, tree = self.compiler, self.tree

        def work() -> Outputs:
            # What a failed or different configuration left in CMake's cache would decide this one.
            shutil.rmtree(tree.build, ignore_errors=True)
            (tree.root / "top_level.cmake").write_text(top_level_include, encoding="utf-8")
            return self.carry_out(step, "03-configure.log")

        return Stage(
            name="configure",
            title="CMake",
            key=inputs_digest(
                revision=_REVISIONS["configure"],
                source=source_key,
                argv=_without_jobs(step.argv),
                # The socket is another one in every run; neither it nor a proxy decides anything.
                env={
                    name: value
                    for name, value in step.env.items()
                    if name != "SCCACHE_SERVER_UDS" and not is_network(name)
                },
                include=top_level_include,
                compiler=[str(compiler.cxx), *_compiler_key(self.request, compiler)],
            ),
            outputs_exist=(tree.build / "Release" / "build.ninja").is_file,
            work=work,
            summary=lambda _: f"CMake, {compiler.family} {compiler.version}",
        )

    def compile(self, step: Step, launcher: Path | None, configure_key: str) -> Stage[Outputs]:
        """Compile everything."""

        def work() -> Outputs:
            with cache_server(launcher, step.env, self.reporter.say):
                return self.carry_out(step, "04-compile.log", on_line=self.reporter.ninja)

        return Stage(
            name="compile",
            title=f"{self.jobs} at once; 30 to 40 minutes on 2 cores without a cache",
            key=inputs_digest(revision=_REVISIONS["compile"], configure=configure_key),
            work=work,
            summary=lambda _: "libonnxruntime and the Python extension",
        )

    def wheel(self, packing: Packing) -> Stage[FinishedWheel]:
        """Pack the wheel."""
        return Stage(
            name="wheel",
            title="packing, licences, SBOM, platform tag",
            work=lambda: pack_wheel(packing, self.reporter),
            summary=lambda made: f"{made.path.name}, {made.size / 1e6:.1f} MB",
        )

    def sdk(self, packing: Packing) -> Stage[SdkArtifact]:
        """Pack the SDK."""
        return Stage(
            name="sdk",
            title="library, headers, CMake package",
            work=lambda: pack_sdk(packing),
            summary=lambda made: f"{made.path.name}, {made.size / 1e6:.1f} MB",
        )

    @property
    def jobs(self) -> int:
        """How many compilers run at once."""
        return self.request.jobs or parallel_jobs()

    def carry_out(
        self, step: Step, log: str, on_line: Callable[[str], None] | None = None
    ) -> Outputs:
        """Run a command of the plan; nothing is to be remembered of it."""
        run = LoggedRun(
            env=step.env,
            log=self.request.workspace.logs / log,
            on_line=on_line,
            note=self.tree.running,
        )
        run(step.argv)
        return {}


def drop_logs(folder: Path) -> None:
    """Remove the logs of an earlier build; those of other platforms are in sub-folders."""
    for file in folder.glob("*.log"):
        file.unlink(missing_ok=True)


def _chosen(inputs: Inputs) -> dict[str, Fetched]:
    """Return what will be unpacked, by dependency; the source itself has the empty name."""
    return {
        "" if item.role == "source" else item.name: fetched
        for item, fetched in inputs
        if fetched and item.role in {"source", "dependency"}
    }


def artefacts_key(request: Request, compiler: Compiler) -> str:
    """Return the digest of everything that decides the artefacts."""
    return inputs_digest(
        revision=_REVISIONS,
        recipe=digest(request.recipe),
        platform=request.platform,
        choice=request.choice,
        python=sys.version_info[:2],
        compiler=_compiler_key(request, compiler),
    )


def _compiler_key(request: Request, compiler: Compiler) -> list[str]:
    chosen = [f"{name}={value}" for name, value in sorted(compiler.variables.items())]
    return [compiler.identity, *([str(request.sdk)] if request.sdk else []), *chosen]


def _without_jobs(argv: Sequence[str]) -> list[str]:
    words = list(argv)
    place = words.index("--parallel")
    return words[:place] + words[place + 2 :]
