"""The command ``python -m verify bridge``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from ..commands.command import Command, add_model
from ..encoder.model_recipe import Kind, load_model_recipe, model_folder, recipe_path
from ..errors import VerifyError
from ..sentence import Say

if TYPE_CHECKING:
    from .embedding import Model
    from .engine import Engine

_EPILOG = """\
The protocol is in docs/bridge.md.

examples:
  echo '{"op":"hello","versions":[1]}' | python -m verify bridge
  python -m verify bridge --http --port 8000"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model(parser)
    parser.add_argument(
        "--wire",
        choices=("lines", "frames"),
        default="lines",
        help="newline-delimited JSON, or binary frames (default: %(default)s)",
    )
    parser.add_argument(
        "--provider", default="cpu", help="cpu or coreml; nothing falls back (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        help="fp32, fp16, or for the CPU int8, int8-fast, auto (default: %(default)s)",
    )
    parser.add_argument(
        "--kind",
        choices=get_args(Kind),
        help="what texts are whose request does not say it, for models that ask",
    )
    parser.add_argument(
        "--threads", type=_count, metavar="N", help="threads inside one operation; default: all"
    )
    parser.add_argument(
        "--profile",
        type=lambda text: False if text == "none" else Path(text),
        default=True,
        metavar="FILE|none",
        help="settings from `python -m verify tune`; default: this machine's, where it was tuned",
    )
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="after SIGTERM, answer what is pending for so long (default: %(default)s)",
    )
    parser.add_argument(
        "--max-pending",
        type=_count,
        default=256,
        metavar="N",
        help="requests that wait at most; then nothing more is read, or HTTP answers 429 "
        "(default: %(default)s)",
    )
    _add_http(parser)


def _add_http(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("over HTTP instead, as OpenAI's API (needs ortmill[http])")
    group.add_argument("--http", action="store_true", help="listen, and leave the pipes alone")
    group.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    group.add_argument(
        "--port", type=_port, default=8000, help="0 takes a free one (default: %(default)s)"
    )
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="what clients must show; default: $ORTMILL_API_KEY, and else nothing",
    )
    group.add_argument(
        "--client-timeout",
        type=_patience,
        default=30.0,
        metavar="SECONDS",
        help="a request's head, its body, and an answer being taken (default: %(default)s)",
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Serve until the parent, or a signal, ends it."""

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    if options.http:
        return _run_http(options, say)
    from .pipes import Pipes, serve

    pipes = Pipes.taken()
    from .wire import Frames, Lines  # pydantic is loaded only now

    engine = _engine(options)
    wire = Lines if options.wire == "lines" else Frames
    limit = engine.limits.message_bytes
    return serve(pipes, engine, wire(limit), grace=options.grace, say=say)


def _run_http(options: argparse.Namespace, say: Say) -> int:
    try:
        from .http_server import HttpOptions, serve
    except ModuleNotFoundError as error:
        raise VerifyError(
            f"--http needs {error.name}, which is not installed here.",
            hint="Install ortmill with it, `pip install '.[http]'` in its checkout, or leave "
            "--http out.",
        ) from None

    def listening(address: str) -> None:
        if options.json:
            print(json.dumps({"url": address}), flush=True)
        else:
            say(f"listening on {address}")

    http = HttpOptions(
        host=options.host,
        port=options.port,
        key_file=options.api_key_file,
        client_seconds=options.client_timeout,
        grace=options.grace,
    )
    return serve(http, _engine(options), say=say, listening=listening)


def _engine(options: argparse.Namespace) -> Engine:
    from .counters import Counters
    from .engine import Engine, Limits

    return Engine(_loader(options), Limits(pending=options.max_pending), Counters())


def _loader(options: argparse.Namespace) -> Callable[[], Model]:
    """Return what loads the model; it is called in another thread."""

    def load() -> Model:
        try:
            import onnxruntime  # noqa: F401 - said before anything else fails by it
        except ImportError as error:
            raise VerifyError(
                f"onnxruntime cannot be loaded: {error}.",
                hint="Install the wheel into this environment: `pip install wheels/*.whl`.",
            ) from None
        from ..encoder.settings import SessionSettings
        from .embedding import Model, ModelOptions

        name = load_model_recipe(recipe_path(options.model)).name
        return Model(
            ModelOptions(
                recipe=options.model,
                folder=model_folder(options, name),
                kind=options.kind,
                settings={
                    "provider": options.provider,
                    "precision": options.precision,
                    "threads": options.threads,
                    "session": SessionSettings(profile=options.profile),
                },
            )
        )

    return load


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None
    if not 0 <= value < 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and a day")
    return value


def _patience(text: str) -> float:
    value = _seconds(text)
    if not value:
        raise argparse.ArgumentTypeError("no client is that fast")
    return value


COMMAND = Command(
    help="serve embeddings to a parent process, over pipes or HTTP",
    add_arguments=add_arguments,
    run=run,
    description="Serve embeddings to a parent process in any language, on standard input and "
    "output, or with --http to clients of OpenAI's API. It ends with the input or with SIGTERM: "
    "0 when everything was answered, 3 otherwise.",
    epilog=_EPILOG,
)
