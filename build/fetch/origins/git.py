"""One commit of a git repository, as a tar file in the cache."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import requests

from ...errors import FetchError, IntegrityError
from ...recipe.format import GitOrigin
from ...system.digest import hash_file
from ...system.environment import network_environment, network_settings
from ...system.files import write_whole
from ...system.process import Outcome, capture
from ..cache import ContentCache
from ..download import Transfer
from ..http import TransferError, make_session, redact, request_arguments, unreachable
from ..network import PAGE_HINT, SIGN_IN_HINT, mirrored, page_instead

_PROBE_SECONDS = 60.0
_FETCH_SECONDS = 3600.0
_NOT_REACHED = {
    r"could ?n[o']t resolve (host|proxy)": "name resolution failed",
    r"connection refused": "connection refused",
    r"(failed to|could ?n[o']t) connect|connection timed out|network is unreachable": (
        "connection failed"
    ),
    r"certificate": "its certificate was not accepted",
    r"(code|response) 407": "the proxy wants a name and a password",
}
# What a later attempt may mend, what wants a name, and what is no git server at all.
_PASSING = re.compile(
    r"error: (429|5\d\d)\b|HTTP (429|5\d\d)\b|early EOF|hung up|unexpected disconnect|Empty reply"
    r"|non-properly terminated|unexpected eof|SSL_ERROR_SYSCALL|handshake"
)
_SIGN_IN = re.compile(r"could not read (Username|Password)|Authentication failed|error: 40[13]\b")
_NO_SERVER = re.compile(r"not valid: is this a git repository|invalid server response")
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
        origin = replace(origin, url=mirrored(origin.url, transfer.options.mirrors))
        transfer.hosts.check(origin.url)
        folder = cache.scratch_folder()
        try:
            git = _Git(folder=folder, env=_environment(env), transfer=transfer)
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
    return {
        **kept,
        **network_settings(env),
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
    transfer: Transfer

    def __call__(self, *arguments: str, seconds: float = _FETCH_SECONDS) -> Outcome:
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        try:
            return capture(
                ["git", *settings, *arguments],
                env=self.env,
                seconds=seconds,
                cancel=self.transfer.cancel,
                cwd=self.folder,
            )
        except FileNotFoundError as error:
            raise TransferError(
                "there is no git on this machine, and the origin is a git repository",
                brief="no git on this machine",
                hint="install git, or take the inputs from elsewhere with --origin registry",
            ) from error

    def ask(self, *arguments: str, seconds: float = _FETCH_SECONDS) -> Outcome:
        """Run a command that speaks to a server; repeat it where that was busy or down."""
        options = self.transfer.options
        for attempt in range(1, options.attempts):
            outcome = self(*arguments, seconds=seconds)
            if not outcome.code or not _PASSING.search(outcome.err):
                return outcome
            self.transfer.cancel.wait(options.pause(attempt))
        return self(*arguments, seconds=seconds)


def _page_there(url: str, transfer: Transfer) -> str:
    """Return what answers in place of a git server, which git itself does not tell."""
    address = f"{url}/info/refs?service=git-upload-pack"
    arguments = request_arguments(transfer.options)
    try:
        with make_session(transfer.hosts, transfer.options) as session:
            return page_instead(session.get(address, **arguments).content)
    except (requests.RequestException, TransferError):
        return ""


def _refused(git: _Git, url: str, outcome: Outcome, what: str, **more: str) -> TransferError:
    page = ""
    if _NO_SERVER.search(outcome.err):
        page = _page_there(url, git.transfer)
    for pattern, reason in _NOT_REACHED.items():
        if re.search(pattern, outcome.err, re.IGNORECASE):
            return unreachable(url, reason)
    lines = [line for line in outcome.err.strip().splitlines() if line.strip()] or ["no message"]
    said = f"it answered with {page}" if page else lines[-1].removeprefix("fatal: ")
    hint = "check the address and the commit in the recipe"
    if page or _SIGN_IN.search(outcome.err):
        hint = PAGE_HINT if page else SIGN_IN_HINT
    return TransferError(
        f"{what} ({said})",
        brief=said,
        hint=hint,
        context={"url": redact(url), **more, "git said": " | ".join(lines[-3:])},
    )


def tagged_commit(
    url: str, tag: str, *, transfer: Transfer, env: Mapping[str, str], label: str
) -> str:
    """Return the commit that a repository's tag points at.

    Raises
    ------
    TransferError
        The repository could not be reached, or has no such tag.
    FetchError
        There is no git on this machine.
    """
    folder = transfer.cache.scratch_folder()
    try:
        git = _Git(folder=folder, env=_environment(env), transfer=transfer)
        commit = _points_at(git, mirrored(url, transfer.options.mirrors), tag, label)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not commit:
        raise TransferError(
            f"{label}: {redact(url)} has no tag {tag}",
            brief=f"no tag {tag}",
            hint="check the version: `git ls-remote --tags` lists what there is",
        )
    return commit


def _points_at(git: _Git, url: str, tag: str, label: str) -> str:
    """Return where a tag points, nothing where there is none; without a tag, just ask."""
    refs = [f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}"] if tag else ["HEAD"]
    try:
        outcome = git.ask("ls-remote", url, *refs, seconds=_PROBE_SECONDS)
    except TimeoutError:
        raise unreachable(url, f"no answer in {_PROBE_SECONDS:.0f} s") from None
    if outcome.code:
        raise _refused(git, url, outcome, f"{label}: {redact(url)} cannot be read with git")
    lines = (line.partition("\t") for line in outcome.out.splitlines())
    found = {ref: commit for commit, _, ref in lines}
    # An annotated tag is an object of its own; the second line is the commit that it names.
    return found.get(refs[-1]) or found.get(refs[0]) or ""


def _check_tag(git: _Git, origin: GitOrigin, label: str) -> None:
    points_at = _points_at(git, origin.url, origin.tag, label)
    if not origin.tag or points_at == origin.commit:
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


def _fetch_commit(git: _Git, origin: GitOrigin, label: str) -> None:
    made = git("init", "--quiet", "--bare", ".")
    if made.code:
        raise FetchError(
            f"git init failed in {git.folder}: {made.err.strip()}",
            hint="check that the cache can be written (ORTMILL_CACHE)",
        )
    fetch = ("fetch", "--quiet", "--no-tags", "--depth", "1", origin.url)
    try:
        outcome = git.ask(*fetch, origin.commit)
        if outcome.code and origin.tag:
            # Some servers hand out tips only. The tag was just seen to point at the commit.
            outcome = git.ask(*fetch, f"refs/tags/{origin.tag}")
    except TimeoutError:
        raise unreachable(origin.url, "the fetch did not end within an hour") from None
    if outcome.code:
        what = f"{label}: {redact(origin.url)} did not hand out {origin.commit}"
        raise _refused(git, origin.url, outcome, what, commit=origin.commit)
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
        "archive", "--format=tar", f"--prefix={origin.commit}/", f"--output={tar}", origin.commit
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
