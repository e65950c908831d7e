"""One commit of real repositories on this machine, fetched with the real git."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from build.errors import IntegrityError, Interrupted
from build.fetch.cache import ContentCache, sha256_of
from build.fetch.download import Transfer
from build.fetch.http import TransferError
from build.fetch.origins.git import fetch_git, find_git
from build.recipe.format import GitOrigin

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


@dataclass(frozen=True)
class Repository:
    path: Path
    env: dict[str, str]

    def git(self, *arguments: str) -> str:
        result = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            check=True,
            text=True,
        )
        return result.stdout.strip()

    def commit(self, text: str) -> str:
        (self.path / "VERSION_NUMBER").write_text(text)
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", text)
        return self.git("rev-parse", "HEAD")

    def origin(self, commit: str, tag: str = "") -> GitOrigin:
        return GitOrigin(kind="git", url=self.path.as_uri(), commit=commit, tag=tag)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    path = tmp_path / "up stream"
    path.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "GIT_AUTHOR_NAME": "n",
        "GIT_AUTHOR_EMAIL": "e@invalid",
        "GIT_COMMITTER_NAME": "n",
        "GIT_COMMITTER_EMAIL": "e@invalid",
    }
    made = Repository(path=path, env=env)
    made.git("init", "--quiet")
    (path / "sub").mkdir()
    (path / "sub" / "run.sh").write_text("#!/bin/sh\r\necho\r\n")
    (path / "sub" / "run.sh").chmod(0o755)
    made.commit("1.0.0\n")
    return made


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    return Transfer(cache=ContentCache(tmp_path / "cache"))


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        files = [entry for entry in tar if entry.isfile()]
        return {entry.name: tar.extractfile(entry).read() for entry in files}


def fetch(origin: GitOrigin, transfer: Transfer, env: dict[str, str]) -> Path:
    return fetch_git(origin, transfer=transfer, env=env, label="demo")


def test_exactly_one_commit(repository: Repository, transfer: Transfer) -> None:
    commit = repository.git("rev-parse", "HEAD")
    repository.commit("2.0.0\n")
    got = fetch_git(repository.origin(commit), transfer=transfer, env=repository.env, label="demo")
    assert members(got) == {
        f"{commit}/VERSION_NUMBER": b"1.0.0\n",
        f"{commit}/sub/run.sh": b"#!/bin/sh\r\necho\r\n",
    }
    with tarfile.open(got) as tar:
        assert tar.getmember(f"{commit}/sub/run.sh").mode == 0o755
        assert tar.pax_headers["comment"] == commit
    assert sha256_of(got) == hashlib.sha256(got.read_bytes()).hexdigest()
    # Nothing of the repository stays behind.
    assert not list((transfer.cache.root / "partial").iterdir())


def test_same_commit_gives_the_same_bytes(
    repository: Repository, transfer: Transfer, tmp_path: Path
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    settings = tmp_path / "home" / ".gitconfig"
    one = fetch(repository.origin(commit), transfer, repository.env).read_bytes()
    settings.parent.mkdir()
    settings.write_text("[core]\n autocrlf = true\n eol = crlf\n[tar]\n umask = 0077\n")
    other = Transfer(cache=ContentCache(tmp_path / "other cache"))
    assert fetch(repository.origin(commit), other, repository.env).read_bytes() == one


def test_second_fetch_uses_the_cache(repository: Repository, transfer: Transfer) -> None:
    origin = repository.origin(repository.git("rev-parse", "HEAD"))
    path = fetch(origin, transfer, repository.env)
    shutil.rmtree(repository.path)
    assert fetch(origin, transfer, repository.env) == path
    path.write_bytes(b"damaged")
    assert find_git(transfer.cache, origin) is None
    with pytest.raises(TransferError):
        fetch(origin, transfer, repository.env)


@pytest.mark.parametrize("annotated", [True, False])
def test_tag_that_points_at_the_commit(
    repository: Repository, transfer: Transfer, annotated: bool
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    repository.git("tag", *(["-a", "-m", "x"] if annotated else []), "v1")
    assert fetch(repository.origin(commit, "v1"), transfer, repository.env).is_file()


@pytest.mark.parametrize("annotated", [True, False])
def test_moved_tag(repository: Repository, transfer: Transfer, annotated: bool) -> None:
    commit = repository.git("rev-parse", "HEAD")
    later = repository.commit("1.0.1\n")
    repository.git("tag", *(["-a", "-m", "x"] if annotated else []), "v1")
    with pytest.raises(IntegrityError) as caught:
        fetch(repository.origin(commit, "v1"), transfer, repository.env)
    assert f"tag v1 moved: it points at {later}, the recipe pins {commit}" in caught.value.problem
    assert caught.value.exit_code == 5


def test_tag_that_is_gone(repository: Repository, transfer: Transfer) -> None:
    commit = repository.git("rev-parse", "HEAD")
    with pytest.raises(IntegrityError, match="is gone"):
        fetch(repository.origin(commit, "v1"), transfer, repository.env)


def test_tag_is_checked_even_where_the_commit_is_cached(
    repository: Repository, transfer: Transfer
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    fetch(repository.origin(commit), transfer, repository.env)
    repository.commit("1.0.1\n")
    repository.git("tag", "v1")
    with pytest.raises(IntegrityError, match="moved"):
        fetch(repository.origin(commit, "v1"), transfer, repository.env)


def test_commit_that_the_repository_does_not_hold(
    repository: Repository, transfer: Transfer
) -> None:
    with pytest.raises(TransferError) as caught:
        fetch(repository.origin("5" * 40), transfer, repository.env)
    assert "5" * 40 in caught.value.problem
    assert caught.value.host is None
    assert not list((transfer.cache.root / "partial").iterdir())


@pytest.mark.parametrize("tagged", [True, False])
def test_server_that_hands_out_tips_only(
    repository: Repository, transfer: Transfer, tmp_path: Path, tagged: bool
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    if tagged:
        repository.git("tag", "v1")
    repository.commit("2.0.0\n")
    home = tmp_path / "home"
    home.mkdir()
    # Only with protocol 0 does a server refuse a commit that no ref points at.
    (home / ".gitconfig").write_text("[protocol]\n version = 0\n")
    if not tagged:
        with pytest.raises(TransferError, match="did not hand out"):
            fetch(repository.origin(commit), transfer, repository.env)
        return
    repository.git("config", "uploadpack.allowAnySHA1InWant", "false")
    assert (
        members(fetch(repository.origin(commit, "v1"), transfer, repository.env))[
            f"{commit}/VERSION_NUMBER"
        ]
        == b"1.0.0\n"
    )


def test_git_variables_of_the_caller_do_not_leak(
    repository: Repository, transfer: Transfer, tmp_path: Path
) -> None:
    commit = repository.git("rev-parse", "HEAD")
    env = repository.env | {"GIT_DIR": str(tmp_path / "no.git"), "GIT_INDEX_FILE": "/none"}
    assert fetch(repository.origin(commit), transfer, env).is_file()


def test_host_that_does_not_exist(transfer: Transfer, repository: Repository) -> None:
    origin = GitOrigin(kind="git", url="https://nowhere.invalid/r.git", commit="1" * 40)
    with pytest.raises(TransferError) as caught:
        fetch(origin, transfer, repository.env)
    assert (caught.value.host, caught.value.brief) == ("nowhere.invalid", "name resolution failed")
    # The next repository there is not asked at all, with or without git.
    with pytest.raises(TransferError, match="name resolution failed"):
        fetch(origin, transfer, {"PATH": "/nonexistent"})


def test_machine_without_git(transfer: Transfer, repository: Repository) -> None:
    commit = repository.git("rev-parse", "HEAD")
    with pytest.raises(TransferError, match="no git on this machine") as caught:
        fetch(repository.origin(commit), transfer, {"PATH": "/nonexistent"})
    assert "install git" in caught.value.hint


def test_stopped(transfer: Transfer, repository: Repository, tmp_path: Path) -> None:
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / "git").write_text("#!/bin/sh\nsleep 60\n")
    (slow / "git").chmod(0o755)
    transfer.cancel.set()
    env = {"PATH": f"{slow}:{os.environ['PATH']}"}
    with pytest.raises(Interrupted):
        fetch(repository.origin("1" * 40), transfer, env)
