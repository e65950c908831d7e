"""The wheel under test in a fresh environment, for commands that measure it outside of a run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..checks.policies import find_policy
from ..encoder.model_recipe import load_model_recipe, recipe_path
from ..environment import venv as environment
from ..environment.context import TargetContext
from ..environment.wheel_file import WheelFile, find_wheel, inspect_wheel
from ..files import made_folder


@contextmanager
def candidate(
    options: argparse.Namespace, *, say: Callable[[str], None]
) -> Iterator[tuple[TargetContext, WheelFile]]:
    """Give the wheel, and a context with its environment; graphs are kept between two of them.

    ``options`` holds what :func:`.add_wheel` and :func:`.add_model` add.

    Raises
    ------
    VerifyError
        When there is no such wheel or model, or the environment cannot be made.
    """
    path, manifest, _ = find_wheel(options.wheel, options.manifest)
    wheel = inspect_wheel(path, manifest)
    recipe = load_model_recipe(recipe_path(options.model))
    models = (options.models or options.work / "models" / recipe.name).absolute()
    recipe.check_files(models)
    work = made_folder(options.work)
    with (
        environment.opened(wheel, options.work, say=say) as python,
        tempfile.TemporaryDirectory(prefix="ortmill-") as folder,
    ):
        graphs = made_folder(work / "verify").resolve() / "graphs"
        graphs.mkdir(exist_ok=True)
        (Path(folder) / "graphs").symlink_to(graphs, target_is_directory=True)
        context = TargetContext(
            role="candidate",
            work=Path(folder),
            model_dir=models,
            encoder=recipe.encoder,
            policy=find_policy(None, wheel=path.name),
            targets={"candidate": python},
            listener=lambda check, text: say(text),
        )
        yield context, wheel
