"""A wheel in an environment of its own, for commands that measure it and judge nothing."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..checks.policies import find_policy
from ..encoder.model_recipe import load_model_recipe, model_folder, recipe_path
from ..environment import venv as environment
from ..environment.context import TargetContext
from ..environment.wheel_file import WheelFile, find_wheel, inspect_wheel
from ..files import made_folder
from ..sentence import Say


@contextmanager
def opened_context(
    options: argparse.Namespace, *, official: bool = False, say: Say
) -> Iterator[tuple[TargetContext, WheelFile]]:
    """Give a context with the wheel's environment, and the wheel; files go when it ends.

    The options are those of ``add_wheel`` and ``add_model`` of :mod:`verify.commands.command`. With
    ``official`` the official wheel of the same version gets an environment too.

    Raises
    ------
    VerifyError
        When there is no wheel, no model, or no environment for them.
    """
    path, manifest, _ = find_wheel(options.wheel, options.manifest)
    recipe = load_model_recipe(recipe_path(options.model))
    models = model_folder(options, recipe.name).absolute()
    recipe.check_files(models)
    work = made_folder(options.work)
    wheel = inspect_wheel(path, manifest)
    with (
        environment.opened(wheel, options.work, say=say) as python,
        tempfile.TemporaryDirectory(prefix="ortmill-") as folder,
    ):
        targets = {"candidate": python}
        if official:
            other = environment.fetch_official(path.name, work.resolve(), say=say)
            targets["official"] = environment.make_official(other, work.resolve(), say=say)
        # The graphs are kept between runs; what is measured is not.
        graphs = made_folder(work / "verify").resolve() / "graphs"
        graphs.mkdir(exist_ok=True)
        (Path(folder) / "graphs").symlink_to(graphs, target_is_directory=True)
        yield (
            TargetContext(
                role="candidate",
                work=Path(folder),
                model_dir=models,
                encoder=recipe.encoder,
                policy=find_policy(None, wheel=path.name),
                targets=targets,
                listener=lambda check, text: say(text),
            ),
            wheel,
        )
