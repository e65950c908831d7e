"""One commit of a git repository, as a tar file in the cache."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import FetchError, IntegrityError
from ...recipe.format import GitOrigin
from ...system.digest import hash_file
from ...system.environment import network_environment
from ...system.files import write_whole
from ...system.process import Outcome, capture
from ..cache import ContentCache
from ..download import Transfer
from ..http import TransferError, redact, unreachable

_PROBE_SECONDS = 60.0
_FETCH_SECONDS = 3600.0
_NOT_REACHED = {
    r"could ?n[o']t resolve (host|proxy)": "name resolution failed",
    r"connection refused": "connection refused",
    r"(failed to|could ?n[o']t) connect|connection timed out|network is unreachable": (
        "connection failed"
    ),
    r"certificate": "its certificate was not accepted",
}
# What the user's own settings must not change about the tar file's bytes, and what is checked.
_SETTINGS = (
    "core.autocrlf=false",
    "core.eol=lf",
    "core.attributesFile=/dev/null",
    "tar.umask=0022",
    "transfer.fsckObjects=true",
    "fetch.fsckObjects=true",
    "advice.detachedHead=false",
    "gc.auto=0",
)


def record_path(cache: ContentCache, commit: str) -> Path:
    """Return where the cache notes which tar file belongs to a commit."""
    return cache.root / "git" / f"{commit}.json"


def find_git(cache: ContentCache, origin: GitOrigin) -> Path | None:
    """Return the commit's tar file from the cache, hashed again, or None.

    The pin is the commit. A tag counts as checked where the record says that it pointed at the
    commit when the commit was fetched; a tag that was never checked makes this return None.
    """
    record = cache.read_record(record_path(cache, origin.commit))
    if record is None or (origin.tag and origin.tag not in record.get("tags", [])):
        return None
    sha256 = record.get("sha256")
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return None
    path = cache.find(sha256)
    if path is None or path.stat().st_size != record.get("size"):
        return None
    return path


def fetch_git(origin: GitOrigin, *, transfer: Transfer, env: Mapping[str, str], label: str) -> Path:
    """Fetch exactly one commit, without history, and return it as a tar file in the cache.

    The tar file is what ``git archive`` writes of the commit, with the commit as its single top
    folder; its sha256 and size are noted in ``git/<commit>.json`` and checked on every use.
    Objects are checked by git while they arrive (``fsckObjects``).

    Raises
    ------
    IntegrityError
        The tag points at another commit, or is gone.
    TransferError
        The repository could not be reached, or does not hold the commit.
    FetchError
        There is no git on this machine.
    """

    def waiting() -> None:
        transfer.progress.say(f"{label}: waiting for another fetch of the same commit")

    cache = transfer.cache
    with cache.lock(f"git-{origin.commit}", waiting):
        if found := find_git(cache, origin):
            return found
        transfer.hosts.check(origin.url)
        folder = cache.scratch_folder()
        try:
            git = _Git(folder=folder, env=_environment(env), cancel=transfer.cancel)
            try:
                _check_tag(git, origin, label)
                transfer.progress.say(f"{label}: fetching commit {origin.commit[:12]} with git")
                _fetch_commit(git, origin, label)
            except TransferError as error:
                if error.host:
                    transfer.hosts.note(error.host, error.brief)
                raise
            return _keep(git, cache, origin)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    kept = network_environment(env, prefixes=("GIT_SSL_", "GIT_PROXY_SSL_", "GIT_SSH"))
    return kept | {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": kept.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
        "GIT_HTTP_LOW_SPEED_TIME": "60",
        "LC_ALL": "C",
    }


@dataclass(frozen=True, kw_only=True)
class _Git:
    folder: Path
    env: Mapping[str, str]
    cancel: threading.Event

    def __call__(self, *arguments: str, seconds: float = _FETCH_SECONDS) -> Outcome:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        try:
            return capture(
                ["git", *settings, *arguments],
                env=self.env,
                seconds=seconds,
                cancel=self.cancel,
                cwd=self.folder,
            )
        except FileNotFoundError as error:
            raise TransferError(
                "there is no git on this machine, and the origin is a git repository",
                brief="no git on this machine",
                hint="install git, or take the inputs from elsewhere with --origin registry",
            ) from error


def _refused(origin: GitOrigin, outcome: Outcome, what: str) -> TransferError:
    for pattern, reason in _NOT_REACHED.items():
        if re.search(pattern, outcome.err, re.IGNORECASE):
            return unreachable(origin.url, reason)
    lines = [line for line in outcome.err.strip().splitlines() if line.strip()] or ["no message"]
    return TransferError(
        f"{what} ({lines[-1].removeprefix('fatal: ')})",
        brief=lines[-1].removeprefix("fatal: "),
        hint="check the address and the commit in the recipe",
        context={
            "url": redact(origin.url),
            "commit": origin.commit,
            "git said": " | ".join(lines[-3:]),
        },
    )


def _check_tag(git: _Git, origin: GitOrigin, label: str) -> None:
    """Ask where the tag points; without a tag, only whether the repository answers."""
    refs = [f"refs/tags/{origin.tag}", f"refs/tags/{origin.tag}^{{}}"] if origin.tag else ["HEAD"]
    try:
        outcome = git("ls-remote", origin.url, *refs, seconds=_PROBE_SECONDS)
    except TimeoutError:
        raise unreachable(origin.url, f"no answer in {_PROBE_SECONDS:.0f} s") from None
    if outcome.code:
        raise _refused(origin, outcome, f"{label}: {redact(origin.url)} cannot be read with git")
    if not origin.tag:
        return
    found = {ref: commit for commit, _, ref in map(_split_ref, outcome.out.splitlines())}
    # An annotated tag is an object of its own; the second line is the commit that it names.
    points_at = found.get(refs[1]) or found.get(refs[0])
    if points_at == origin.commit:
        return
    state = f"points at {points_at}" if points_at else "is gone"
    raise IntegrityError(
        f"{label}: tag {origin.tag} moved: it {state}, the recipe pins {origin.commit}",
        hint="find out why upstream moved the tag before the recipe is changed",
        context={
            "url": redact(origin.url),
            "expected commit": origin.commit,
            "actual commit": points_at or "none",
        },
    )


def _split_ref(line: str) -> tuple[str, str, str]:
    return line.partition("\t")


def _fetch_commit(git: _Git, origin: GitOrigin, label: str) -> None:
    made = git("init", "--quiet", "--bare", ".")
    if made.code:
        raise FetchError(
            f"git init failed in {git.folder}: {made.err.strip()}",
            hint="check that the cache can be written (ORTMILL_CACHE)",
        )
    fetch = ("fetch", "--quiet", "--no-tags", "--depth", "1", origin.url)
    try:
        outcome = git(*fetch, origin.commit)
        if outcome.code and origin.tag:
            # Some servers hand out tips only. The tag was just seen to point at the commit.
            outcome = git(*fetch, f"refs/tags/{origin.tag}")
    except TimeoutError:
        raise unreachable(origin.url, "the fetch did not end within an hour") from None
    if outcome.code:
        raise _refused(
            origin, outcome, f"{label}: {redact(origin.url)} did not hand out {origin.commit}"
        )
    actual = git("rev-parse", "--verify", "FETCH_HEAD^{commit}").out.strip()
    if actual != origin.commit:
        raise IntegrityError(
            f"{label}: git delivered commit {actual or 'none'}, the recipe pins {origin.commit}",
            hint="find out what the repository holds before the recipe is changed",
            context={
                "url": redact(origin.url),
                "expected commit": origin.commit,
                "actual commit": actual or "none",
            },
        )


def _keep(git: _Git, cache: ContentCache, origin: GitOrigin) -> Path:
    tar = git.folder / "commit.tar"
    written = git(
        "archive",
        "--format=tar",
        f"--prefix={origin.commit}/",
        f"--output={tar}",
        origin.commit,
    )
    if written.code:
        raise FetchError(
            f"git archive failed for {origin.commit}: {written.err.strip()}",
            hint="check the free space below the cache (ORTMILL_CACHE)",
        )
    hashes = hash_file(tar)
    path = cache.adopt(tar, hashes.sha256)
    record = record_path(cache, origin.commit)
    tags = set((cache.read_record(record) or {}).get("tags", [])) | ({origin.tag} - {""})
    facts = {
        "commit": origin.commit,
        "url": redact(origin.url),
        "tags": sorted(tags),
        "sha256": hashes.sha256,
        "size": hashes.size,
    }
    write_whole(record, json.dumps(facts, indent=1) + "\n")
    return path
