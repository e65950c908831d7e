"""Trees as git repositories, and the archives that GitHub's own program makes of them."""

from __future__ import annotations

import os
import re
import subprocess
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# Distributions' archives were made by `git archive` once: what attributes ask of it is done.
_AS_IT_IS = "* -text -eol -ident -filter -working-tree-encoding -export-ignore -export-subst\n"
_SUBMODULE = "5" * 40


@dataclass(frozen=True, kw_only=True)
class Release:
    """What an address of GitHub's stands for: repository, ref and the archive's top folder."""

    owner: str
    repository: str
    ref: str
    prefix: str


def release_of(url: str) -> Release | None:
    """Return what ``https://github.com/<owner>/<repository>/archive/….zip`` asks for, or None."""
    found = re.fullmatch(
        r"/([^/]+)/([^/]+)/archive/(?:refs/tags/)?([^/]+)(?:/[^/]+)?\.zip"
        r"|/([^/]+)/([^/]+)/archive/([0-9a-f]{40})/[^/]+\.zip",
        urlsplit(url).path,
    )
    if not found:
        return None
    owner, repository, ref = [group for group in found.groups() if group]
    bare = ref[1:] if re.match(r"v\d", ref) else ref
    return Release(owner=owner, repository=repository, ref=ref, prefix=f"{repository}-{bare}/")


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run git with nobody's settings but its own; return what it prints."""
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_NAME": "Rehearsal" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "rehearsal@example.org" for who in ("AUTHOR", "COMMITTER")},
        **(env or {}),
    }
    done = subprocess.run(
        ["git", "-c", "gc.auto=0", *arguments],
        cwd=folder,
        env=own,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def commit_tree(tree: Path, repository: Path, *, day: str, as_it_is: bool = True) -> str:
    """Make a bare repository with a folder's content as its first commit; return the commit.

    Empty folders become submodules, which is what they were: git knows no other. With the same
    content and day the commit is the same.

    Parameters
    ----------
    as_it_is : bool
        Whether attributes in the tree are to be ignored, by the repository's archives as well.
    """
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet", "--bare", "--initial-branch=main", ".")
    if as_it_is:
        (repository / "info").mkdir(exist_ok=True)
        (repository / "info" / "attributes").write_text(_AS_IT_IS, encoding="utf-8")
    where = ("--git-dir", str(repository), "--work-tree", str(tree))
    git(tree, *where, "-c", "core.autocrlf=false", "add", "--all", "--force", ".")
    for folder, folders, files in os.walk(tree):
        if not folders and not files and Path(folder) != tree:
            name = Path(folder).relative_to(tree).as_posix()
            entry = f"160000,{_SUBMODULE},{name}"
            git(tree, *where, "update-index", "--add", "--cacheinfo", entry)
    when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{day}T00:00:00+00:00")
    git(tree, *where, "commit", "--quiet", "--message", "The tree", env=when)
    return git(repository, "rev-parse", "HEAD")


def archive(repository: Path, commit: str, prefix: str, into: Path) -> None:
    """Write the zip that GitHub's archive addresses answer with."""
    into.parent.mkdir(parents=True, exist_ok=True)
    git(repository, "archive", "--format=zip", f"--prefix={prefix}", f"--output={into}", commit)


def publish(tree: Path, repository: Path, *, tag: str, day: str) -> str:
    """Make a repository as people publish it: a tag on the tree, and the branch has moved on.

    So the tagged commit is no branch's tip, and the tag is an object of its own. Attributes in
    the tree count, as they do upstream. Returns the tagged commit.
    """
    commit = commit_tree(tree, repository, day=day, as_it_is=False)
    when = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"{day}T01:00:00+00:00")
    git(repository, "tag", "--annotate", "--message", tag, tag, commit, env=when)
    root = git(repository, "rev-parse", f"{commit}^{{tree}}")
    later = git(repository, "commit-tree", "-p", commit, "-m", "Later work", root, env=when)
    git(repository, "update-ref", "refs/heads/main", later)
    git(repository, "config", "uploadpack.allowReachableSHA1InWant", "true")
    git(repository, "config", "http.receivepack", "false")
    return commit


def plain_zip(tree: Path, into: Path) -> None:
    """Write a release's own zip: no top folder, execute bits kept, one time for all."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in sorted(path for path in tree.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(file.relative_to(tree).as_posix(), (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100000 | (file.stat().st_mode & 0o777)) << 16
            zipped.writestr(info, file.read_bytes())
