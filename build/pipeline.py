"""The build itself: six stages, each skipped where the digest of its inputs stands.

``fetch`` brings verified bytes into the cache, ``source`` lays out the tree, ``configure`` and
``compile`` run upstream's script, ``wheel`` and ``sdk`` make the artefacts. What a stage left
behind is a record beside the tree; a build that was killed goes on from the last one, and inside
the compile from ninja's own state.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .compile.plan import BuildPlan, Programs, build_environment, make_plan
from .errors import CompileError
from .fetch.fetched import Fetched
from .fetch.wanted import Wanted
from .package.artefacts import Artefacts, artefacts_stand, make_artefacts
from .recipe.format import digest, source_digest
from .records import Record, drop_record, inputs_digest, read_record, write_record
from .request import Request, fetch_inputs, the_compiler
from .system.console import Voice
from .system.environment import is_network
from .system.files import check_writable
from .system.process import LoggedRun
from .system.session import end_leftover
from .toolchain.compiler import Compiler, check_disk, parallel_jobs
from .toolchain.compiler_cache import cache_server, cache_socket
from .toolchain.cross_layout import unpack_shared, write_own
from .toolchain.prepare import prepare_tools
from .tree.lock import hold_tree
from .tree.source import lay_out_source
from .tree.workspace import Tree

# Raised when a stage starts to do something else with the same inputs.
_REVISIONS = {"source": 1, "configure": 1, "compile": 1, "artefacts": 1}
# Names the program that runs in a tree, for the build that comes after a killed one.
_RUNNING = "running.json"


@dataclass(kw_only=True)
class _Clock:
    """How long each stage took in this run, in order."""

    stages: list[dict[str, Any]] = field(default_factory=list)

    def note(self, name: str, seconds: float, *, skipped: bool) -> None:
        self.stages.append({"name": name, "seconds": round(seconds, 3), "skipped": skipped})


def build(request: Request, voice: Voice) -> Artefacts:
    """Build the wheel and the SDK, or say that they stand already.

    Raises
    ------
    BuildError
        Any of its kinds; the state of finished stages is kept.
    """
    workspace, recipe = request.workspace, request.recipe
    tree = workspace.tree(recipe, request.platform)
    compiler = the_compiler(request, tree)
    check_writable(request.workspace.wheels)
    key = artefacts_key(request, compiler)
    if standing := _standing(request, voice, key):
        return standing
    with hold_tree(tree.lock, workspace.root, voice.say):
        # Whoever held the tree may have made them while this build waited.
        return _standing(request, voice, key) or _build_locked(request, voice, compiler, tree, key)


def _standing(request: Request, voice: Voice, key: str) -> Artefacts | None:
    standing = None if request.fresh else artefacts_stand(request.workspace.wheels, key)
    if standing:
        voice.finish(f"unchanged: {standing.wheel.name} is what this recipe builds")
    return standing


def _build_locked(
    request: Request, voice: Voice, compiler: Compiler, tree: Tree, key: str
) -> Artefacts:
    workspace, recipe = request.workspace, request.recipe
    clock = _Clock()
    if end_leftover(tree.root / _RUNNING):
        voice.say("ended what a killed build had left running in this tree")
    drop_logs(workspace.logs)
    check_disk(tree.root, already=_size(tree.root))
    if request.fresh:
        shutil.rmtree(tree.root, ignore_errors=True)
    with voice.stage("fetch", "verified inputs"):
        begun = time.monotonic()
        inputs = fetch_inputs(request, voice)
        seconds = time.monotonic() - begun
    clock.note("fetch", seconds, skipped=False)
    size = sum(fetched.size for _, fetched in inputs if fetched)
    voice.done("fetch", f"{len(inputs)} inputs, {size / 1e6:.0f} MB, every hash checked", seconds)
    places = request.places(tree)
    if (cross := request.cross) and places:
        with voice.stage("toolchain", compiler.identity):
            begun = time.monotonic()
            parts = {item.name: got for item, got in inputs if item.role == "toolchain" and got}
            unpack_shared(cross, places, parts)
            write_own(cross, places, parts, request.env)
            seconds = time.monotonic() - begun
        clock.note("toolchain", seconds, skipped=False)
        voice.done("toolchain", compiler.identity.partition(", recipe")[0], seconds)
    programs, tools = prepare_tools(
        recipe,
        request.platform,
        workspace=workspace,
        compiler=compiler,
        env=request.env,
        cross=places,
    )
    chosen = _chosen(inputs)
    with cache_socket() as socket:
        environment = build_environment(
            recipe,
            request.platform,
            programs,
            home=request.env.get("HOME", str(Path.home())),
            compiler_cache=workspace.compiler_cache,
            cache_socket=socket,
            network=request.env,
        )
        plan = make_plan(
            recipe,
            request.platform,
            tree=tree,
            programs=programs,
            chosen={name: each.kind for name, each in chosen.items() if name},
            jobs=request.jobs or parallel_jobs(),
            env=environment,
            as_root=hasattr(os, "geteuid") and os.geteuid() == 0,
        )
        source_key = _source(
            request=request, voice=voice, tree=tree, inputs=inputs, chosen=chosen, clock=clock
        )
        configure_key = _configure(
            request=request,
            voice=voice,
            tree=tree,
            plan=plan,
            source_key=source_key,
            compiler=compiler,
            clock=clock,
        )
        _compile(
            request=request,
            voice=voice,
            tree=tree,
            plan=plan,
            configure_key=configure_key,
            programs=programs,
            clock=clock,
        )
        # Packing goes through ninja as well: a header that is newer than its objects, because the
        # tools were installed anew say, is compiled there, and its compiler cache needs a server.
        with cache_server(programs.launcher, plan.steps[2].env, voice.say):
            artefacts = make_artefacts(
                recipe=recipe,
                recipe_file=request.recipe_file,
                platform=request.platform,
                workspace=workspace,
                tree=tree,
                plan=plan,
                programs=programs,
                tools={**tools, "compiler": compiler.identity},
                inputs=inputs,
                key=key,
                clock=clock.stages,
                voice=voice,
                patches=read_record(tree.records, "source"),
            )
    voice.finish(f"built {artefacts.wheel.name}")
    return artefacts


def drop_logs(folder: Path) -> None:
    """Remove the logs of an earlier build; those of other platforms stand in sub-folders."""
    for file in folder.glob("*.log"):
        file.unlink(missing_ok=True)


def _source(
    *,
    request: Request,
    voice: Voice,
    tree: Tree,
    inputs: Sequence[tuple[Wanted, Fetched | None]],
    chosen: Mapping[str, Fetched],
    clock: _Clock,
) -> str:
    recipe = request.recipe
    key = inputs_digest(
        revision=_REVISIONS["source"],
        recipe=source_digest(recipe),
        inputs={
            item.name: [fetched.kind, fetched.sha256]
            for item, fetched in inputs
            if fetched and item.role not in {"tools", "toolchain"}
        },
    )
    record = read_record(tree.records, "source")
    if record and record.inputs == key and tree.source.is_dir() and tree.deps.is_dir():
        voice.done("source", f"{recipe.name} {recipe.version}", 0, skipped=True)
        clock.note("source", 0, skipped=True)
        return key
    for stage in ("source", "configure", "compile"):
        drop_record(tree.records, stage)
    with voice.stage("source", "unpacking and patching"):
        begun = time.monotonic()
        data = [fetched for item, fetched in inputs if item.role == "data" and fetched]
        applied = lay_out_source(
            recipe,
            tree,
            source=chosen[""],
            dependencies={name: each for name, each in chosen.items() if name},
            data=data,
            recipes=request.workspace.recipes,
        )
        seconds = time.monotonic() - begun
    write_record(
        tree.records,
        Record(stage="source", inputs=key, outputs={"patches": applied}, seconds=seconds),
    )
    clock.note("source", seconds, skipped=False)
    voice.done("source", f"{recipe.name} {recipe.version}, {len(applied)} patches applied", seconds)
    return key


def _configure(
    *,
    request: Request,
    voice: Voice,
    tree: Tree,
    plan: BuildPlan,
    source_key: str,
    compiler: Compiler,
    clock: _Clock,
) -> str:
    step = plan.steps[0]
    key = inputs_digest(
        revision=_REVISIONS["configure"],
        source=source_key,
        argv=_without_jobs(step.argv),
        # The socket is another one in every run; neither it nor a proxy decides anything.
        env={
            name: value
            for name, value in step.env.items()
            if name != "SCCACHE_SERVER_UDS" and not is_network(name)
        },
        include=plan.top_level_include,
        compiler=[str(compiler.cxx), compiler.identity, *map(str, filter(None, [request.sdk]))],
    )
    record = read_record(tree.records, "configure")
    if record and record.inputs == key and (tree.build / "Release" / "build.ninja").is_file():
        voice.done("configure", "CMake", 0, skipped=True)
        clock.note("configure", 0, skipped=True)
        return key
    for stage in ("configure", "compile"):
        drop_record(tree.records, stage)
    # What a failed or different configuration left in CMake's cache would decide this one.
    shutil.rmtree(tree.build, ignore_errors=True)
    (tree.root / "top_level.cmake").write_text(plan.top_level_include, encoding="utf-8")
    with voice.stage("configure", "CMake"):
        log = request.workspace.logs / "03-configure.log"
        seconds = _run(step.argv, step.env, log, note=tree.root / _RUNNING)
    write_record(tree.records, Record(stage="configure", inputs=key, outputs={}, seconds=seconds))
    clock.note("configure", seconds, skipped=False)
    voice.done("configure", f"CMake, {compiler.family} {compiler.version}", seconds)
    return key


def _compile(
    *,
    request: Request,
    voice: Voice,
    tree: Tree,
    plan: BuildPlan,
    configure_key: str,
    programs: Programs,
    clock: _Clock,
) -> None:
    key = inputs_digest(revision=_REVISIONS["compile"], configure=configure_key)
    record = read_record(tree.records, "compile")
    if record and record.inputs == key:
        voice.done("compile", "every object stands", 0, skipped=True)
        clock.note("compile", 0, skipped=True)
        return
    step = plan.steps[1]
    log = request.workspace.logs / "04-compile.log"
    jobs = request.jobs or parallel_jobs()
    with (
        voice.stage("compile", f"{jobs} at once; 30 to 40 minutes on 2 cores without a cache"),
        cache_server(programs.launcher, step.env, voice.say),
    ):
        seconds = _run(step.argv, step.env, log, note=tree.root / _RUNNING, on_line=voice.ninja)
    write_record(tree.records, Record(stage="compile", inputs=key, outputs={}, seconds=seconds))
    clock.note("compile", seconds, skipped=False)
    voice.done("compile", "libonnxruntime and the Python extension", seconds)


def _run(
    argv: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    *,
    note: Path,
    on_line: Callable[[str], None] | None = None,
) -> float:
    begun = time.monotonic()
    LoggedRun(env=env, log=log, error=CompileError, on_line=on_line, note=note)(argv)
    return time.monotonic() - begun


def _chosen(inputs: Sequence[tuple[Wanted, Fetched | None]]) -> dict[str, Fetched]:
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
        compiler=[compiler.identity, *map(str, filter(None, [request.sdk]))],
    )


def _without_jobs(argv: Sequence[str]) -> list[str]:
    words = list(argv)
    place = words.index("--parallel")
    return words[:place] + words[place + 2 :]


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
