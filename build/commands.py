"""What the sub-commands of ``python -m build`` do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .clean import remove_made
from .compile.plan import BuildPlan, build_environment, make_plan
from .doctor import examine
from .errors import RecipeError, ToolchainError, UsageError, WheelError
from .fetch.models import fetch_model
from .fetch.wanted import Wanted, plan_fetch
from .index import read_offers, write_index
from .package.comparison import inspect_wheels
from .package.exports import FORMS, exports, read_sdk, unpacked
from .package.manifest import MANIFEST_NAME, load_manifest
from .pipeline import build
from .recipe.cross import find_cross
from .recipe.format import LocalOrigin, PlatformName, Recipe, digest, sha1_alone
from .recipe.load import load_model_recipe, load_recipe
from .recipe.patches import without_patches
from .recipe.schema import SCHEMAS, schema_text
from .request import Request, fetch_context, fetch_inputs, fetch_official
from .static_sdk import make_static_sdk
from .system.console import Reporter
from .system.files import write_whole
from .toolchain.cross_layout import check_sdk
from .toolchain.programs import programs_in
from .tree.source import check_patches
from .tree.workspace import Workspace, host_platform

_MARKS = {"ready": "✓", "lacking": "✗", "optional": "–"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a command gets: its arguments, where it works, and whom it reports to."""

    arguments: argparse.Namespace
    workspace: Workspace
    env: Mapping[str, str]
    reporter: Reporter

    def request(self) -> Request:
        """Return what the arguments ask to build."""
        return make_request(self.arguments, self.workspace, self.env)


def recipe_file(workspace: Workspace, name: str, folder: str = ".") -> Path:
    """Return the file of a recipe given by name or by path; UsageError where there is none."""
    place = Path(name)
    if place.suffix == ".toml" or place.exists():
        return place
    file = workspace.recipes / folder / f"{name}.toml"
    if not file.exists():
        known = sorted(each.stem for each in (workspace.recipes / folder).glob("*.toml"))
        raise UsageError(
            f"there is no recipe called {name}", hint=f"known recipes: {', '.join(known)}"
        )
    return file


def make_request(
    arguments: argparse.Namespace, workspace: Workspace, env: Mapping[str, str]
) -> Request:
    """Return what the arguments ask to build."""
    file = recipe_file(workspace, arguments.recipe)
    recipe = load_recipe(file, recipes=workspace.recipes)
    recipe = without_patches(recipe, arguments.without_patch)
    platform: PlatformName = arguments.platform or host_platform()
    if platform not in recipe.platforms:
        raise UsageError(
            f"{file.name} has no platform {platform}", hint=f"it has {', '.join(recipe.platforms)}"
        )
    host = _host(arguments, recipe, platform)
    sdk = getattr(arguments, "sdk", None)
    if sdk and platform == host:
        raise UsageError(
            f"--sdk is for a build on another machine; this one is {platform} itself",
            hint="leave it out: the machine's own SDK is used",
        )
    resolved = file.resolve()
    shown = (
        resolved.relative_to(workspace.recipes.parent).as_posix()
        if resolved.is_relative_to(workspace.recipes.parent)
        else resolved.name
    )
    return Request(
        recipe=recipe,
        recipe_file=shown,
        platform=platform,
        workspace=replace(workspace, variant="" if platform == host else platform),
        env=env,
        choice=arguments.origin,
        offline=arguments.offline,
        jobs=getattr(arguments, "jobs", None),
        fresh=getattr(arguments, "fresh", False),
        host=host,
        sdk=check_sdk(Path(sdk)) if sdk else None,
    )


def _host(arguments: argparse.Namespace, recipe: Recipe, platform: PlatformName) -> PlatformName:
    """Return the machine that builds; where nothing is built, a platform may be its own."""
    named: PlatformName | None = getattr(arguments, "host", None)
    try:
        host = named or host_platform()
        find_cross(recipe, platform, host)
    except UsageError:
        if arguments.command == "run" or named:
            raise
        return platform
    return host


def run(call: Call) -> None:
    """Build the wheel and the SDK."""
    request = call.request()
    made = build(request, call.reporter)
    if call.arguments.static_sdk:
        make_static_sdk(request, made, call.reporter)


def fetch(call: Call) -> None:
    """Bring every input into the cache."""
    inputs = fetch_inputs(call.request(), call.reporter)
    total = sum(fetched.size for _, fetched in inputs if fetched)
    call.reporter.finish(f"{len(inputs)} inputs in the cache, {total / 1e6:.0f} MB, all verified")


def plan(call: Call) -> None:
    """Print every input and every command of a build."""
    request = call.request()
    recipe, workspace = request.recipe, request.workspace
    tools = workspace.tools(recipe.tools.lock_sha256) / "bin"
    tree = workspace.tree(recipe, request.platform)
    places = request.places(tree)
    apple = request.platform == "macos-arm64" and not places
    # As a shell on the Mac would say it: only there xcrun answers.
    own = Path("$(dirname $(xcrun --find clang))" if apple else "/usr/bin")
    folder = places.own / "bin" if places else own
    clang = places or apple
    programs = programs_in(
        tools,
        c=folder / ("clang" if clang else "cc"),
        cxx=folder / ("clang++" if clang else "c++"),
        launcher=tools / "sccache",
        cross=places,
    )
    if apple:
        variables = {"SDKROOT": "$(xcrun --sdk macosx --show-sdk-path)"}
        programs = replace(programs, variables=variables)
    items = plan_fetch(
        recipe, request.platform, request.choice, host=request.host, cross=request.cross
    )
    chosen = {
        item.name: item.origins[0].kind
        for item in items
        if item.role == "dependency" and item.origins
    }
    env = build_environment(request, programs, home="~", cache_socket="<temporary>/s")
    made = make_plan(request, tree, programs, chosen, env=env)
    if call.arguments.json:
        document: dict[str, Any] = asdict(made)
        document["repair"] = recipe.platforms[request.platform].repair
        document["minimum_os"] = recipe.platforms[request.platform].minimum_os
        document["inputs"] = [asdict(item) for item in items]
        print(json.dumps(document, indent=2, default=str))
    else:
        _print_plan(request, made, items)


def _print_plan(request: Request, plan: BuildPlan, items: Sequence[Wanted]) -> None:
    recipe = request.recipe
    print(f"{recipe.name} {plan.version} for {request.platform}")
    print(f"recipe digest {plan.recipe_digest}\n\ninputs, each from the first origin that answers:")
    for item in items:
        kinds = ", ".join(each.kind for each in item.origins) or "no origin allowed"
        print(f"  {item.name:<24} {item.version:<18} {kinds}")
        for exclusion in item.excluded:
            print(f"  {'':<24} not {exclusion.kind}: {exclusion.reason}")
    print("\nenvironment of every command, whole:")
    for name, value in plan.step("configure").env.items():
        print(f"  {name}={value}")
    for step in plan.steps:
        print(f"\n{step.stage}:")
        _print_argv(step.argv)
    repair = recipe.platforms[request.platform].repair
    what = f"{repair} --require-archs=arm64" if repair == "delocate" else f"{repair} --plat auto"
    if repair == "delocate" and request.cross:
        what = "delocate's rules, checked without it"
    print(f"\nrepair:\n  {what}")


def _print_argv(argv: Sequence[str]) -> None:
    line = " "
    for word in argv:
        if word.startswith("-") or "=" in word:
            print(line)
            line = "   "
        line += f" {word}"
    print(line)


def place_model(call: Call) -> None:
    """Fetch a model's files and put them where the verification looks for them."""
    arguments, workspace = call.arguments, call.workspace
    file = recipe_file(workspace, arguments.model, "models")
    recipe = load_model_recipe(file)
    if arguments.source is not None:
        given = LocalOrigin(kind="local", folder=str(arguments.source.resolve()))
        recipe = replace(recipe, origins=(given,))
    context = fetch_context(
        workspace, call.env, call.reporter, choice=arguments.origin, offline=arguments.offline
    )
    models = workspace.models if arguments.work is None else arguments.work.resolve() / "models"
    target = models / recipe.name
    with call.reporter.stage("model", recipe.name):
        files = fetch_model(recipe, target, context, recipe_file=file)
    if arguments.json:
        print(json.dumps(asdict(files), default=str, indent=2))
    call.reporter.finish(f"{recipe.name}: {len(recipe.files)} files verified")


def print_input(call: Call) -> None:
    """Print the path of one verified input in the cache."""
    request, name = call.request(), call.arguments.name
    known = [each.name for each in request.recipe.dependencies]
    if name not in known:
        raise UsageError(
            f"the recipe has no input called {name}", hint=f"it has {', '.join(known)}"
        )
    for item, fetched in fetch_inputs(request, call.reporter):
        if item.name == name and fetched:
            print(fetched.path)


def inspect(call: Call) -> None:
    """Compare the built wheel with the official one that the recipe pins; WheelError if weaker."""
    request, reporter = call.request(), call.reporter
    manifest = load_manifest(request.workspace.wheels / MANIFEST_NAME)
    origin = request.recipe.platforms[request.platform].official
    if origin is None:
        raise UsageError(
            f"{request.recipe_file} pins no official wheel for {request.platform}",
            hint="name one under `official` of the platform",
        )
    official = fetch_official(request, origin, reporter)
    ours = request.workspace.wheels / manifest.wheel.file
    found = inspect_wheels(ours, official.path)
    for difference in found.differences:
        why = difference.explanation or "UNEXPLAINED"
        reporter.say(f"only {difference.only_in}: {difference.path}: {why}")
    if found.faults:
        raise WheelError(
            f"{ours.name} falls behind the official wheel:\n"
            + "\n".join(f"  - {fault}" for fault in found.faults),
            hint="explain the difference in build/package/comparison.py, or mend the build",
        )
    reporter.finish(
        f"{len(found.differences)} differences in files, each explained; "
        f"{found.binaries} libraries as hardened as the official ones"
    )


def print_exports(call: Call) -> None:
    """Print what a program needs to find the SDK."""
    arguments, workspace = call.arguments, call.workspace
    folder: Path | None = arguments.folder
    if folder is None:
        platform = host_platform()
        archives = sorted(
            workspace.wheels.glob(f"onnxruntime-sdk-*-{platform}.tar.gz"),
            key=lambda file: file.stat().st_mtime,
        )
        if not archives:
            raise UsageError(
                f"there is no SDK for {platform} in {workspace.wheels}",
                hint="build one with `python -m build run`, or name an unpacked one",
            )
        folder = unpacked(archives[-1], workspace.root / ".work" / "sdk")
    shell = Path(call.env.get("SHELL", "")).name
    form = arguments.form or (shell if shell in FORMS else "bash")
    # The path's own bytes, which the encoding of the output may not know.
    sys.stdout.buffer.write(os.fsencode(exports(read_sdk(folder), form, call.env)))


def write_simple_index(call: Call) -> None:
    """Write the static index of all wheels in wheels/."""
    wheels = call.workspace.root / "wheels"
    folder: Path = call.arguments.output or wheels / "simple"
    offers = read_offers(wheels)
    write_index(offers, folder)
    call.reporter.finish(
        f"wheels: {len(offers)}; install with `pip install --index-url {folder.resolve().as_uri()} "
        f"{offers[0].project}`, or serve the folder of both"
    )


def doctor(call: Call) -> None:
    """Print what this machine has and lacks; ToolchainError where a build cannot go."""
    lacking = []
    for finding in examine(call.request()):
        call.reporter.say(f"{_MARKS[finding.state]} {finding.name:<14} {finding.found}")
        if finding.mend:
            call.reporter.say(f"{'':<16} → {finding.mend}")
        if finding.state == "lacking":
            lacking.append(finding.name)
    if lacking:
        raise ToolchainError(
            f"this machine cannot build yet: {', '.join(lacking)}",
            hint="what each needs is in its line above",
        )
    call.reporter.finish("this machine can build: `nox -s build`")


def list_recipes(call: Call) -> None:
    """Print the recipes, one line each."""
    rows = []
    for file in sorted(call.workspace.recipes.glob("*.toml")):
        recipe = load_recipe(file, recipes=call.workspace.recipes)
        rows.append(
            {
                "name": file.stem,
                "version": recipe.version,
                "digest": digest(recipe),
                "platforms": list(recipe.platforms),
                "summary": recipe.summary,
            }
        )
    if call.arguments.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']:<22} {str(row['digest'])[:8]}  {row['summary']}")


def check_recipe(call: Call) -> None:
    """Validate a recipe, and say by name what it leaves weaker than it could be."""
    workspace, reporter = call.workspace, call.reporter
    file = recipe_file(workspace, call.arguments.file)
    recipe = load_recipe(file, recipes=workspace.recipes)
    check_patches(recipe, workspace.recipes)
    if weak := sha1_alone(recipe):
        reporter.say(f"pinned by SHA-1 alone: {', '.join(weak)}")
    if recipe.dependencies_by_cmake:
        reporter.say("its dependencies are pinned by the SHA-1s of the tree's own cmake/deps.txt")
    if recipe.build_script is None:
        reporter.say("it does not list build.py's flags: a misspelt one shows when build.py runs")
    reporter.finish(f"valid: {recipe.name} {recipe.version}, digest {digest(recipe)}")


def write_schemas(call: Call) -> None:
    """Write the generated schemas, or only say whether they are fresh; RecipeError if stale."""
    check, stale = call.arguments.check, []
    for name in SCHEMAS:
        file, text = call.workspace.recipes / name, schema_text(name)
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            write_whole(file, text)
    if stale and check:
        raise RecipeError(
            f"stale: {', '.join(stale)}", hint="write them again with `python -m build schema`"
        )
    call.reporter.finish("written: " + ", ".join(stale) if stale else "the schemas are fresh")


def clean(call: Call) -> None:
    """Remove what can be made again, or everything; who is running is waited for."""
    remove_made(call.workspace, everything=call.arguments.all, reporter=call.reporter)
