"""The command line of the build: ``python -m build``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from build import __version__, errors
from build.cache import ContentCache
from build.console import Voice, duration
from build.errors import BuildError, Interrupted, ResourceError, UsageError, WheelError
from build.fetch_context import FetchContext
from build.fetch_plan import plan_fetch
from build.inspection import inspect_wheels
from build.loader import load_model_recipe, load_recipe
from build.models import fetch_model
from build.plan import Programs, child_environment, make_plan
from build.provenance import MANIFEST_NAME, load_manifest
from build.recipe import PLATFORMS, PlatformName, Recipe, digest
from build.schema import SCHEMAS, schema_text
from build.stages import Request, build, fetch_inputs
from build.toolchain import parallel_jobs
from build.treelock import hold_tree
from build.workspace import Tree, Workspace, host_platform, open_workspace

DEFAULT_RECIPE = "onnxruntime-1.21.0"
DEFAULT_MODEL = "all-minilm-l6-v2"

_EXAMPLES = """\
examples:
  python -m build run                             build the default recipe for this machine
  python -m build run --origin registry           from package registries only
  python -m build fetch && python -m build run --offline
                                                  fetch now, build without a network
  python -m build plan --platform macos-arm64     what would run on a Mac, command by command
  python -m build recipe check recipes/mine.toml  validate a recipe of your own

exit codes:
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"see `{self.prog} --help`")


def _codes() -> str:
    kinds: list[type[BuildError]] = [BuildError, *BuildError.__subclasses__()]
    lines = ["  0    done"]
    for kind in sorted(kinds, key=lambda each: each.exit_code):
        summary = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
        lines.append(f"  {kind.exit_code:<4} {kind.title}: {summary[0].lower()}{summary[1:]}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m build",
        description="Build an ONNX Runtime wheel with the CoreML execution provider from "
        "pinned sources, and a native SDK out of the same compile.",
        epilog=_EXAMPLES + _codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ortmill {__version__}")
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--quiet", action="store_true", help="errors only")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    inputs = _Parser(add_help=False)
    inputs.add_argument(
        "recipe",
        nargs="?",
        default=DEFAULT_RECIPE,
        help=f"a recipe's name or file (default: {DEFAULT_RECIPE})",
    )
    inputs.add_argument("--platform", choices=PLATFORMS, help="target (default: this machine)")
    inputs.add_argument(
        "--origin",
        choices=("auto", "upstream", "registry"),
        default="auto",
        help="where sources may come from; auto goes from one origin to the next (default)",
    )
    inputs.add_argument("--offline", action="store_true", help="use the cache alone")

    run = commands.add_parser(
        "run",
        parents=[common, inputs],
        help="build the wheel and the SDK into wheels/",
        description="Build the wheel and the native SDK into wheels/. A second run with the same "
        "recipe ends at once; a run that was stopped goes on where it was.",
    )
    run.add_argument("--jobs", type=_positive, help="compilers at once (default: cores, memory)")
    run.add_argument("--fresh", action="store_true", help="lay out the tree anew")
    commands.add_parser(
        "fetch", parents=[common, inputs], help="fetch and check every input, build nothing"
    )
    plan = commands.add_parser(
        "plan",
        parents=[common, inputs],
        help="print the exact commands of a build, for any platform, on any machine",
    )
    plan.add_argument("--json", action="store_true", help="JSON on standard output")
    model = commands.add_parser(
        "fetch-model", parents=[common], help="fetch and check a model's files into .work/models"
    )
    model.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a model recipe")
    model.add_argument("--offline", action="store_true", help="use the cache alone")
    model.add_argument(
        "--origin", choices=("auto", "upstream", "registry"), default="auto", help="as for run"
    )
    model.add_argument("--json", action="store_true", help="JSON on standard output")
    source = commands.add_parser(
        "input",
        parents=[common, inputs],
        help="print the path of one verified input in the cache",
    )
    source.add_argument("--name", required=True, help="a dependency's name, such as onnx")
    commands.add_parser(
        "inspect",
        parents=[common, inputs],
        help="hold the built wheel beside the official one: files and hardening",
    )
    listing = commands.add_parser("recipes", parents=[common], help="list the recipes")
    listing.add_argument("--json", action="store_true", help="JSON on standard output")
    recipe = commands.add_parser("recipe", help="work on one recipe")
    verbs = recipe.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", parents=[common], help="validate a recipe")
    check.add_argument("file", help="a recipe's name or file")
    schema = commands.add_parser(
        "schema", parents=[common], help="write the JSON schemas of the recipe formats"
    )
    schema.add_argument("--check", action="store_true", help="only say whether they are fresh")
    clean = commands.add_parser(
        "clean", parents=[common], help="remove source trees and objects; downloads stay"
    )
    clean.add_argument("--all", action="store_true", help="downloads and compiler cache as well")
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run a command; return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; the process's own by default.
    env : Mapping[str, str], optional
        The environment to read; the process's own by default.
    """
    environment = dict(os.environ if env is None else env)
    words = list(sys.argv[1:] if argv is None else argv)
    voice = Voice(env=environment, quiet="--quiet" in words)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _as_interrupt)
    try:
        arguments = _parser().parse_args(words)
        workspace = open_workspace(_checkout(), environment)
        return _dispatch(arguments, workspace, environment, voice)
    except BuildError as error:
        voice.error(error)
        if "--debug" in words:
            traceback.print_exc()
        return error.exit_code
    except KeyboardInterrupt:
        voice.error(
            Interrupted("stopped", hint="run the same command again: finished steps are kept")
        )
        return Interrupted.exit_code
    except BrokenPipeError:
        return 0
    except OSError as error:
        # The last net: a disk that fills up or a folder that is closed can fail anywhere.
        voice.error(
            ResourceError(
                f"{error.strerror or error}: {error.filename or 'this machine refused it'}",
                hint="check that the folder may be written and that the disk is not full",
            )
        )
        if "--debug" in words:
            traceback.print_exc()
        return ResourceError.exit_code
    except SystemExit as end:
        # argparse's own end, after --help and --version.
        return end.code if isinstance(end.code, int) else 0


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _checkout() -> Path:
    return Path(__file__).resolve().parent.parent


def _dispatch(
    arguments: argparse.Namespace,
    workspace: Workspace,
    env: Mapping[str, str],
    voice: Voice,
) -> int:
    match arguments.command:
        case "run":
            build(_request(arguments, workspace, env), voice)
        case "fetch":
            inputs = fetch_inputs(_request(arguments, workspace, env), voice)
            total = sum(fetched.size for _, fetched in inputs if fetched)
            voice.finish(f"{len(inputs)} inputs in the cache, {total / 1e6:.0f} MB, all verified")
        case "plan":
            _print_plan(_request(arguments, workspace, env), as_json=arguments.json)
        case "fetch-model":
            _fetch_model(arguments, workspace, env, voice)
        case "input":
            _print_input(arguments, workspace, env, voice)
        case "inspect":
            _inspect(_request(arguments, workspace, env), voice)
        case "recipes":
            _list_recipes(workspace, as_json=arguments.json)
        case "recipe":
            recipe = load_recipe(_recipe_file(workspace, arguments.file))
            voice.finish(f"valid: {recipe.name} {recipe.version}, digest {digest(recipe)}")
        case "schema":
            return _schemas(workspace, check=arguments.check, voice=voice)
        case "clean":
            _clean(workspace, everything=arguments.all, voice=voice)
    return 0


def _recipe_file(workspace: Workspace, name: str, folder: str = ".") -> Path:
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


def _request(
    arguments: argparse.Namespace, workspace: Workspace, env: Mapping[str, str]
) -> Request:
    file = _recipe_file(workspace, arguments.recipe)
    recipe = load_recipe(file)
    platform: PlatformName = arguments.platform or host_platform()
    if platform not in recipe.platforms:
        raise UsageError(
            f"{file.name} has no platform {platform}",
            hint=f"it has {', '.join(recipe.platforms)}",
        )
    if arguments.command == "run" and platform != (host := host_platform()):
        raise UsageError(
            f"this machine is {host} and cannot build for {platform} yet",
            hint=f"`python -m build plan --platform {platform}` prints what would run there",
        )
    resolved = file.resolve()
    shown = (
        resolved.relative_to(workspace.root).as_posix()
        if resolved.is_relative_to(workspace.root)
        else resolved.name
    )
    return Request(
        recipe=recipe,
        recipe_file=shown,
        platform=platform,
        workspace=workspace,
        env=env,
        choice=arguments.origin,
        offline=arguments.offline,
        jobs=getattr(arguments, "jobs", None),
        fresh=getattr(arguments, "fresh", False),
    )


def _print_plan(request: Request, *, as_json: bool) -> None:
    recipe, workspace = request.recipe, request.workspace
    tree = workspace.tree(recipe, request.platform)
    tools = workspace.tools(recipe.tools.lock_sha256) / "bin"
    compilers = ("clang", "clang++") if request.platform == "macos-arm64" else ("cc", "c++")
    programs = Programs(
        python=tools / "python",
        cmake=tools / "cmake",
        ctest=tools / "ctest",
        c=Path("/usr/bin") / compilers[0],
        cxx=Path("/usr/bin") / compilers[1],
        launcher=tools / "sccache",
        path=(str(tools), "/usr/bin", "/bin", "/usr/sbin", "/sbin"),
    )
    items = plan_fetch(recipe, request.platform, request.choice)
    wanted = {each.name for each in recipe.dependencies if request.platform in each.platforms}
    items = tuple(item for item in items if item.role != "dependency" or item.name in wanted)
    chosen = {
        item.name: item.candidates[0].origin.kind
        for item in items
        if item.role == "dependency" and item.candidates
    }
    environment = child_environment(
        recipe,
        request.platform,
        programs,
        home="~",
        compiler_cache=workspace.compiler_cache,
        cache_socket="<temporary>/s",
    )
    plan = make_plan(
        recipe,
        request.platform,
        tree=tree,
        programs=programs,
        chosen=chosen,
        jobs=request.jobs or parallel_jobs(),
        env=environment,
    )
    if as_json:
        document: dict[str, Any] = asdict(plan)
        document["repair"] = recipe.platforms[request.platform].repair
        document["minimum_os"] = recipe.platforms[request.platform].minimum_os
        document["inputs"] = [asdict(item) for item in items]
        print(json.dumps(document, indent=2, default=str))
        return
    print(f"{recipe.name} {plan.version} for {request.platform}")
    print(f"recipe digest {plan.recipe_digest}\n\ninputs, each from the first origin that answers:")
    for item in items:
        kinds = ", ".join(each.origin.kind for each in item.candidates) or "no origin allowed"
        print(f"  {item.name:<24} {item.version:<18} {kinds}")
        for exclusion in item.excluded:
            print(f"  {'':<24} not {exclusion.kind}: {exclusion.reason}")
    print("\nenvironment of every command, whole:")
    for name, value in environment.items():
        print(f"  {name}={value}")
    for step in plan.steps:
        print(f"\n{step.stage}:")
        _print_argv(step.argv)
    repair = recipe.platforms[request.platform].repair
    what = "--require-archs=arm64" if repair == "delocate" else "--plat auto"
    print(f"\nrepair:\n  {repair} {what}")


def _print_argv(argv: Sequence[str]) -> None:
    line = " "
    for word in argv:
        if word.startswith("-") or "=" in word:
            print(line)
            line = "   "
        line += f" {word}"
    print(line)


def _fetch_model(
    arguments: argparse.Namespace, workspace: Workspace, env: Mapping[str, str], voice: Voice
) -> None:
    recipe = load_model_recipe(_recipe_file(workspace, arguments.model, "models"))
    context = FetchContext(
        cache=ContentCache(workspace.cache),
        recipes_dir=workspace.recipes,
        env=env,
        progress=voice,
        choice=arguments.origin,
        offline=arguments.offline,
    )
    target = workspace.models / recipe.name
    with voice.stage("model", recipe.name):
        files = fetch_model(recipe, target, context)
    if arguments.json:
        print(json.dumps(asdict(files), default=str, indent=2))
    voice.finish(f"{recipe.name}: {len(recipe.files)} files verified")


def _print_input(
    arguments: argparse.Namespace, workspace: Workspace, env: Mapping[str, str], voice: Voice
) -> None:
    request = _request(arguments, workspace, env)
    known = [each.name for each in request.recipe.dependencies]
    if arguments.name not in known:
        raise UsageError(
            f"the recipe has no input called {arguments.name}", hint=f"it has {', '.join(known)}"
        )
    for item, fetched in fetch_inputs(request, voice):
        if item.name == arguments.name and fetched:
            print(fetched.path)


def _inspect(request: Request, voice: Voice) -> None:
    manifest = load_manifest(request.workspace.wheels / MANIFEST_NAME)
    official = [
        fetched
        for item, fetched in fetch_inputs(request, voice)
        if item.role == "data" and fetched and "/onnxruntime-" in fetched.locator
    ]
    if not official:
        raise UsageError(
            f"{request.recipe_file} pins no official wheel to compare with",
            hint="only a recipe that takes its data files from one can be inspected",
        )
    ours = request.workspace.wheels / manifest.wheel.file
    found = inspect_wheels(ours, official[0].path)
    for difference in found.differences:
        side = "ours" if difference.only_in == "ours" else "official"
        voice.say(f"only {side}: {difference.path}: {difference.explanation or 'UNEXPLAINED'}")
    if found.faults:
        raise WheelError(
            f"{ours.name} falls behind the official wheel:\n"
            + "\n".join(f"  - {fault}" for fault in found.faults),
            hint="explain the difference in build/filelist.py, or mend the build",
        )
    voice.finish(
        f"{len(found.differences)} differences in files, each explained; "
        f"{found.binaries} libraries as hardened as the official ones"
    )


def _list_recipes(workspace: Workspace, *, as_json: bool) -> None:
    rows = []
    for file in sorted(workspace.recipes.glob("*.toml")):
        recipe: Recipe = load_recipe(file)
        rows.append(
            {
                "name": file.stem,
                "version": recipe.version,
                "digest": digest(recipe),
                "platforms": list(recipe.platforms),
                "summary": recipe.summary,
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']:<22} {str(row['digest'])[:8]}  {row['summary']}")


def _schemas(workspace: Workspace, *, check: bool, voice: Voice) -> int:
    stale = []
    for name in SCHEMAS:
        file, text = workspace.recipes / name, schema_text(name)
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            file.write_text(text, encoding="utf-8")
    if stale and check:
        raise errors.RecipeError(
            f"stale: {', '.join(stale)}", hint="write them again with `python -m build schema`"
        )
    voice.finish("written: " + ", ".join(stale) if stale else "the schemas are fresh")
    return 0


def _clean(workspace: Workspace, *, everything: bool, voice: Voice) -> None:
    trees = workspace.cache / "trees"
    for folder in sorted(each for each in trees.glob("*") if each.is_dir()):
        tree = Tree(root=folder)
        with hold_tree(tree.lock, workspace.root, voice.say):
            voice.say(f"removing {folder}")
            shutil.rmtree(folder)
    folders = [workspace.root / ".work" / "logs"]
    if everything:
        folders = [workspace.cache, workspace.root / ".work"]
    for folder in folders:
        if folder.exists():
            voice.say(f"removing {folder}")
            shutil.rmtree(folder)
    voice.finish("clean")


__all__ = ["duration", "main"]
