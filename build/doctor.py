"""What this machine can do: each thing that a build, a proof or a consumer needs, with its mend.

Nothing is installed and nothing is written. A lack of what a build needs is an error; everything
else is said, with what it would allow.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import requests

from .errors import BuildError
from .fetch.cache import ContentCache
from .fetch.http import DeadHosts, HttpOptions, host_of, make_session, request_arguments
from .fetch.network import mirrored
from .fetch.origins.debian import find_mirrors
from .fetch.origins.pip_settings import read_pip_settings
from .fetch.wanted import plan_fetch
from .recipe.format import ArchiveOrigin, DebianOrigin, OverlayOrigin, PypiOrigin
from .request import Request, check_python, the_compiler
from .system.process import ask
from .toolchain.compiler import GIB, check_disk, parallel_jobs

State = Literal["ready", "lacking", "optional"]
_SECONDS = 4.0
_BUILDERS = ("podman", "docker", "buildah")
_PROGRAMS = (
    (("git",), "fetch sources from upstream's repository", "install git"),
    (("chromium", "google-chrome"), "test the report's page in a browser", "install chromium"),
    (("cargo",), "build the Rust programs of `nox -s sdk`", "install Rust with rustup"),
    (("go",), "build the Go program of `nox -s sdk`", "install Go"),
    (("node",), "run the bridge's client in Node", "install Node.js"),
    (_BUILDERS, "build the Containerfile", "install podman"),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked for, and what to do where it is not ready.

    ``lacking`` is what a build cannot do without; what is ``optional`` is missing and can be.
    """

    name: str
    state: State
    found: str
    mend: str = ""


def examine(request: Request) -> Iterator[Finding]:
    """Yield what this machine has for a build of a recipe, then what the rest would like."""
    workspace, recipe = request.workspace, request.recipe
    tree = workspace.tree(recipe, request.platform)

    def python() -> str:
        check_python(recipe, sys.version_info[:2])
        return ".".join(map(str, sys.version_info[:3]))

    def compiler() -> str:
        if request.cross:
            return "pinned in the recipe and fetched with it"
        return the_compiler(request, tree).identity

    def disk() -> str:
        check_disk(workspace.cache)
        place = next(p for p in (workspace.cache, *workspace.cache.parents) if p.exists())
        if not os.access(place, os.W_OK):
            raise BuildError(
                f"{place} cannot be written", hint="set ORTMILL_CACHE to a folder of yours"
            )
        return f"{shutil.disk_usage(place).free / GIB:.0f} GiB free for {workspace.cache}"

    yield _needed("Python", python)
    yield _needed("compiler", compiler)
    yield _needed("disk", disk)
    jobs = parallel_jobs()
    yield Finding(name="cores", state="ready", found=f"{jobs} compilers at once")
    yield from _inputs(request)
    for names, purpose, mend in _PROGRAMS:
        ways = (shutil.which(name, path=request.env.get("PATH")) for name in names)
        where = next(filter(None, ways), None)
        if not where:
            missing = f"missing: to {purpose}"
            yield Finding(name=names[0], state="optional", found=missing, mend=mend)
        elif names == _BUILDERS and ask([where, "info"], env=request.env, seconds=_SECONDS).code:
            broken = f"{where} cannot build here: `{Path(where).name} info` fails"
            start = "start its service, or install podman, which needs none"
            yield Finding(name=Path(where).name, state="optional", found=broken, mend=start)
        else:
            yield Finding(name=Path(where).name, state="ready", found=where)


def _needed(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, state="ready", found=look())
    except BuildError as error:
        return Finding(name=name, state="lacking", found=error.problem, mend=error.hint)


def _inputs(request: Request) -> Iterator[Finding]:
    """Yield how much is in the cache, and who answers for the rest."""
    items = plan_fetch(
        request.recipe, request.platform, "auto", host=request.host, cross=request.cross
    )
    cache = ContentCache(request.workspace.cache)
    # What comes with the recipe needs no cache, and a git commit has no hash of a file.
    hashed = [
        pins
        for item in items
        if item.role in ("source", "dependency")
        and not any(isinstance(each, OverlayOrigin) for each in item.origins)
        and (pins := [pin for each in item.origins if (pin := getattr(each, "sha256", None))])
    ]
    here = sum(any(cache.path_for(pin).exists() for pin in pins) for pins in hashed)
    yield Finding(
        name="inputs", state="ready", found=f"{here} of {len(hashed)} sources are in the cache"
    )
    answers = [_answers(*each, request.env) for each in _addresses(request).items()]
    complete = here == len(hashed)
    reached = any(each.state == "ready" for each in answers)
    for each in answers:
        # Without any of them a build ends, unless everything is here already.
        yield each if complete or reached else replace(each, state="lacking")


def _addresses(request: Request) -> Mapping[str, Callable[[], str]]:
    origins = [each for item in request.recipe.dependencies for each in item.origins]
    kinds = (*request.recipe.source.origins, *origins)
    found: dict[str, Callable[[], str]] = {}
    if any(isinstance(each, ArchiveOrigin) for each in kinds):
        url = next(each.url for each in kinds if isinstance(each, ArchiveOrigin))
        found["upstream"] = lambda: url
    if any(isinstance(each, DebianOrigin) for each in kinds):
        found["Debian mirror"] = lambda: find_mirrors(request.env).addresses[0] + "/"
    if any(isinstance(each, PypiOrigin) for each in kinds):
        found["package index"] = lambda: read_pip_settings(request.env).index_urls[0]
    return found


def _answers(name: str, address: Callable[[], str], env: Mapping[str, str]) -> Finding:
    mend = (
        "check the network, HTTPS_PROXY and NO_PROXY; a mirror of your own is named by "
        "ORTMILL_MIRROR, ORTMILL_DEBIAN_MIRROR or pip's settings"
    )
    try:
        options = HttpOptions(connect_timeout=_SECONDS, read_timeout=_SECONDS, attempts=1).of(env)
        url = mirrored(address(), options.mirrors)
        if url.startswith("file:"):
            return Finding(name=name, state="ready", found="a folder of this machine")
        with make_session(DeadHosts(), options) as session:
            answer = session.head(url, allow_redirects=True, **request_arguments(options))
    except BuildError as error:
        return Finding(name=name, state="optional", found=error.problem, mend=error.hint or mend)
    except requests.RequestException as error:
        said = type(error).__name__
        return Finding(name=name, state="optional", found=f"does not answer ({said})", mend=mend)
    found = f"{host_of(url)} answers"
    if answer.status_code >= 500 or answer.status_code in (401, 403, 407):
        found = f"{host_of(url)} answers {answer.status_code}"
        return Finding(name=name, state="optional", found=found, mend=mend)
    return Finding(name=name, state="ready", found=found)
