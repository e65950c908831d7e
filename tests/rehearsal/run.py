"""Walk the way through upstream, with the real commands, where no network is but loopback."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from build.fetch.cache import ContentCache
from build.recipe.format import HubOrigin
from build.recipe.load import load_model_recipe, load_recipe
from build.tree.workspace import host_platform, open_workspace
from tests.rehearsal import namespace
from tests.rehearsal.commands import (
    HERE,
    Failed,
    copy_checkout,
    run,
    say,
    step,
    sweep,
    told_where,
)
from tests.rehearsal.compare import compare, tree_contents, wheel_contents
from tests.rehearsal.forge import make_forge
from tests.rehearsal.new_recipe import differences, spoilt
from tests.rehearsal.web import Asked, Site, make_certificate, serving

RECIPE, MODEL = "onnxruntime-1.21.0", "all-minilm-l6-v2"
# GitHub's and the hub's other hosts: what an address redirects to.
STORAGE = {"github.com": "codeload.github.com", "huggingface.co": "cdn-lfs.huggingface.co"}
_SHARED = ("sccache", "wheelhouse")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the rehearsal takes place.

    ``folder`` holds everything that it makes; ``build`` and ``verify`` are the interpreters of the
    two packages' environments; ``cache`` is the user's cache, whose place the rehearsal's own
    takes; ``against`` is a folder with a wheel that was built from the registries.
    """

    folder: Path
    build: Path
    verify: Path
    cache: Path
    against: Path
    until: str

    @property
    def checkout(self) -> Path:
        """A copy of this checkout, with the rehearsal's recipe in place of the shipped one."""
        return self.folder / "checkout"

    @property
    def own_cache(self) -> Path:
        """What stands at the cache's place inside."""
        return self.folder / "cache"

    @property
    def reports(self) -> Path:
        """The verification's reports: all that is kept of a rehearsal that ended well."""
        return self.folder / "reports"

    @property
    def certificate(self) -> Path:
        """The sites' certificate, which is its own authority."""
        return self.folder / "site.pem"


def prepare(stage: Stage) -> None:
    """Make everything that the inside needs: here there may be a network."""
    with step("Inputs of the registries, as `nox -s fetch` brings them"):
        run(stage.build, ["build", "fetch", "--origin", "registry"], folder=HERE)
        printed = run(
            stage.build, ["build", "fetch-model", "--origin", "registry", "--json"], folder=HERE
        )
        if stage.until == "verify":
            locks = HERE / "verify" / "requirements"
            words = ["pip", "download", "--quiet", "--disable-pip-version-check"]
            words += ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
            words += ["--dest", str(stage.folder / "wheels")]
            words += ["-r", str(locks / "target.txt"), "-r", str(locks / "official.txt")]
            run(stage.verify, words, folder=HERE)
    cache, recipe = ContentCache(stage.cache), HERE / "recipes" / f"{RECIPE}.toml"
    with step("A GitHub of our own"):
        forge = make_forge(
            recipe, stage.folder / "forge", platform=host_platform(), cache=cache, say=say
        )
        site = {
            "archives": {url: str(path) for url, path in forge.archives.items()},
            "repositories": {url: str(path) for url, path in forge.repositories.items()},
            "files": _hub_files(json.loads(printed)),
        }
        (stage.folder / "site.json").write_text(json.dumps(site, indent=1), encoding="utf-8")
    copy_checkout(stage.checkout)
    (stage.checkout / "recipes" / recipe.name).write_text(forge.recipe, encoding="utf-8")
    _make_own_cache(stage, cache)
    make_certificate(stage.folder, _hosts(site))


def _hub_files(model: Mapping[str, Any]) -> dict[str, str]:
    recipe = load_model_recipe(HERE / "recipes" / "models" / f"{MODEL}.toml")
    hub = next(each for each in recipe.origins if isinstance(each, HubOrigin))
    folder = Path(model["directory"])
    return {
        f"{hub.url}/{hub.revision}/{path}": str(folder / name) for name, path in hub.paths.items()
    }


def _hosts(site: Mapping[str, Mapping[str, str]]) -> list[str]:
    named = {urlsplit(url).netloc for addresses in site.values() for url in addresses}
    return sorted(named | {STORAGE[host] for host in named if host in STORAGE})


def _make_own_cache(stage: Stage, cache: ContentCache) -> None:
    """Make an empty cache that has what comes through pip, whatever the choice of origins."""
    shutil.rmtree(stage.own_cache, ignore_errors=True)
    own = ContentCache(stage.own_cache)
    for entry in load_recipe(HERE / "recipes" / f"{RECIPE}.toml").data:
        found = cache.find(entry.origin.sha256)
        if found is None:
            raise Failed(f"{entry.origin.file} is not in the cache")
        target = own.path_for(entry.origin.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
        say(f"  from the registries' cache, as it has no other origin: {entry.origin.file}")


def inside(stage: Stage) -> None:
    """Walk the way, in a namespace of our own."""
    facts = json.loads((stage.folder / "site.json").read_text(encoding="utf-8"))
    site = Site(
        archives={url: Path(path) for url, path in facts["archives"].items()},
        repositories={url: Path(path) for url, path in facts["repositories"].items()},
        files={url: Path(path) for url, path in facts["files"].items()},
        storage=STORAGE,
        mood="moody",
    )
    with step("A namespace without a network"):
        namespace.bring_up_loopback()
        namespace.name_hosts(_hosts(facts), stage.folder / "hosts")
        registry_tree = stage.folder / "registry-tree"
        registry_tree.mkdir(exist_ok=True)
        if (stage.cache / "trees").is_dir():
            namespace.bind(stage.cache / "trees", registry_tree)
        namespace.replace_cache(stage.cache, stage.own_cache, _SHARED)
        say(f"  interfaces: {', '.join(namespace.interfaces())}")
        say(f"  192.0.2.1 (nobody's): {namespace.outside_is_unreachable()}")
        say(f"  names that mean this machine: {', '.join(_hosts(facts))}")
    with serving(site, port=443, certificate=stage.certificate):
        _walk(stage, site)
    _compare(stage, registry_tree)
    with step("What was contacted"):
        if list(namespace.interfaces()) != ["lo"]:
            raise Failed(f"there are other interfaces: {namespace.interfaces()}")
        say(f"  interfaces: lo alone, {namespace.interfaces()['lo'] / 1e6:.0f} MB sent")
        for answer, count in site.counts().items():
            say(f"  {answer}: {count}")


def _walk(stage: Stage, site: Site) -> None:
    env = {
        "REQUESTS_CA_BUNDLE": str(stage.certificate),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(stage.folder / "wheels"),
    }

    def command(*words: str, python: Path = stage.build, expected: Sequence[int] = (0,)) -> str:
        return run(python, words, folder=stage.checkout, env=env, expected=expected)

    with step("The recipe with the rehearsal's pins"):
        command("build", "recipe", "check", RECIPE)
    with step("fetch --origin upstream"):
        command("build", "fetch", "--origin", "upstream")
        _all_were_asked(site, {**site.archives, **site.repositories})
        asked = len(site.asked)
        command("build", "fetch", "--origin", "upstream", "--offline")
        if len(site.asked) != asked:
            raise Failed("a fetch with --offline asked a server")
    with step("recipe new: what was written by hand, or why not"):
        _write_again(stage, command)
    with step("The model hub: gated, a pointer, a login page, and then the files"):
        for mood, code in (("gated", 4), ("pointer", 5), ("login", 5)):
            site.mood = mood
            command("build", "fetch-model", "--origin", "upstream", expected=(code,))
        site.mood = "moody"
        command("build", "fetch-model", "--origin", "upstream")
        _all_were_asked(site, site.files)
    if stage.until == "fetch":
        return
    with step("source, configure, compile, wheel"):
        command("build", "run", "--origin", "upstream")
    with step("verify"):
        # 2: nothing failed, but this machine is too busy for a verdict about time.
        command("verify", "run", python=stage.verify, expected=(0, 2))


def _write_again(stage: Stage, command: Callable[..., str]) -> None:
    """Let the recipe of this version be written from its tag; compare it with the one by hand."""
    by_hand = (stage.checkout / "recipes" / f"{RECIPE}.toml").read_text(encoding="utf-8")
    like, written = stage.folder / "spoilt.toml", stage.folder / "written.toml"
    like.write_text(spoilt(by_hand, keep="eigen-mirror"), encoding="utf-8")
    written.unlink(missing_ok=True)
    version = RECIPE.rpartition("-")[2]
    words = ("recipe", "new", version, "--like", str(like), "--output", str(written))
    command("build", *words)
    found = differences(by_hand, written.read_text(encoding="utf-8"))
    for path, why in found.items():
        say(f"  {path}: {why or 'UNEXPLAINED'}")
    if unexplained := [path for path, why in found.items() if not why]:
        raise Failed(f"recipe new writes otherwise: {', '.join(unexplained)}")


def _all_were_asked(site: Site, addresses: Mapping[str, Path]) -> None:
    """Check that every file was delivered, from one of its addresses, and nothing else sought."""
    got = [f"https://{each.host}{each.path}" for each in site.asked if each.status < 400]
    delivered = {
        _input_of(path)
        for url, path in addresses.items()
        if any(each.startswith(url) for each in got)
    }
    if missing := {_input_of(path) for path in addresses.values()} - delivered:
        raise Failed(f"never asked for: {', '.join(sorted(missing))}")
    if strange := [each for each in site.asked if each.status == 404]:
        raise Failed(f"asked for what nobody pins: {_told(strange)}")
    statuses = {each.status for each in site.asked}
    say(f"  {len(site.asked)} answers: {', '.join(map(str, sorted(statuses)))}")
    if lacking := {302, 429, 502} - statuses:
        raise Failed(f"no answer was {lacking}: the rehearsal showed too little")


def _input_of(path: Path) -> str:
    return re.sub(r"-\d+$", "", path.stem)


def _told(asked: Sequence[Asked]) -> str:
    return ", ".join(f"{each.host}{each.path}" for each in asked[:5])


def _compare(stage: Stage, registry_tree: Path) -> None:
    platform = host_platform()
    name = f"{RECIPE}-{platform}"
    here, there = stage.cache / "trees" / name, registry_tree / name
    with step("What differs from the build through the registries"):
        if not here.is_dir():
            return say("  nothing was laid out")
        if not there.is_dir():
            return say("  NOT COMPARED: there is no tree that was built from the registries")
        for part in [
            "source",
            *(f"deps/{each.name}" for each in sorted((here / "deps").iterdir())),
        ]:
            found = compare(tree_contents(here / part), tree_contents(there / part))
            say(f"  {part}: {'; '.join(found.told()) if found else 'the same'}")
        wheels = sorted(stage.against.glob("onnxruntime-*.whl"), key=lambda w: w.stat().st_mtime)
        if not wheels:
            return say(f"  NOT COMPARED: there is no wheel in {stage.against}")
        mine = next((stage.checkout / "wheels").glob("onnxruntime-*.whl"))
        found = compare(wheel_contents(mine), wheel_contents(wheels[-1]))
        say(f"  {mine.name} ({mine.stat().st_size} bytes) and {wheels[-1].name} "
            f"({wheels[-1].stat().st_size} bytes):")  # fmt: skip
        for line in found.told(at_most=20) or ["the same"]:
            say(f"    {line}")
        # Each origin has its own licence files, as the recipe says; all else must be there.
        if strange := [name for name in found.names if ".dist-info/licenses/" not in name]:
            raise Failed(f"one wheel alone holds {', '.join(strange)}")
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rehearsal; return 0 where every step ended as it should."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="nox -s rehearse --", description=__doc__)
    parser.add_argument("--build-python", type=Path, required=True)
    parser.add_argument("--verify-python", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=HERE / ".work" / "rehearsal")
    parser.add_argument("--against", type=Path, default=HERE / "wheels",
                        help="a folder with a wheel built from the registries")  # fmt: skip
    parser.add_argument("--until", choices=("fetch", "verify"), default="verify")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if not arguments.against.is_dir():
        parser.error(f"--against: there is no folder {arguments.against}")
    stage = Stage(
        folder=arguments.folder.resolve(),
        # Not resolved: an environment is known by the place of its interpreter's link.
        build=arguments.build_python.absolute(),
        verify=arguments.verify_python.absolute(),
        cache=open_workspace(HERE, os.environ).cache,
        against=arguments.against.resolve(),
        until=arguments.until,
    )
    begun = time.monotonic()
    try:
        if arguments.inside:
            inside(stage)
            return 0
        stage.folder.mkdir(parents=True, exist_ok=True)
        prepare(stage)
        if namespace.go_inside("tests.rehearsal", [*words, "--inside"]):
            raise Failed("the way through upstream is not whole: see above")
        # Outside alone: inside, the user's own compiler cache is mounted in the rehearsal's.
        _keep_the_reports(stage)
        sweep(stage.folder, keep=[stage.reports.name])
    except (Failed, namespace.NoNamespace, AssertionError, FileNotFoundError) as error:
        say(f"\nFAILED: {error}")
        if not arguments.inside:
            say(told_where(stage.folder))
        return 1
    say(f"\nThe way through upstream is whole ({time.monotonic() - begun:.0f} s).")
    return 0


def _keep_the_reports(stage: Stage) -> None:
    """Move what a reader wants out of the copied checkout: its verification's reports."""
    shutil.rmtree(stage.reports, ignore_errors=True)
    made = stage.checkout / ".work" / "reports"
    if made.is_dir():
        made.rename(stage.reports)
        say(f"\nThe reports of its verification: {stage.reports}")
