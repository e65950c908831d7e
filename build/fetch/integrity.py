"""What is known in advance about a file, and whether a file is that one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import IntegrityError, RecipeError
from ..system.digest import FileHashes, hash_file
from .cache import ContentCache
from .network import HEAD, PAGE_HINT, POINTER, POINTER_HINT, page_instead


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A file's expected size in bytes and hashes; None where it is not known."""

    size: int | None = None
    sha256: str | None = None
    sha1: str | None = None

    @property
    def strength(self) -> Literal["sha256", "sha1"]:
        """The strongest hash that is pinned.

        Raises
        ------
        RecipeError
            No hash is pinned at all.
        """
        if self.sha256:
            return "sha256"
        if self.sha1:
            return "sha1"
        raise RecipeError(
            "an origin without any hash cannot be fetched",
            hint="add sha256 (or, for an upstream archive, sha1) to the origin in the recipe",
        )

    @property
    def key(self) -> str:
        """A name for locks and partial files: the pinned hash."""
        return self.sha256 or f"sha1-{self.sha1}"

    def differences(self, actual: FileHashes) -> dict[str, str]:
        """Return what differs, as named facts to print; empty where the file is the pinned one."""
        found: dict[str, str] = {}
        if self.size is not None and actual.size != self.size:
            found |= {"expected size": f"{self.size} bytes", "actual size": f"{actual.size} bytes"}
        if self.sha1 and actual.sha1 != self.sha1:
            found |= {"expected sha1": self.sha1, "actual sha1": actual.sha1}
        if self.sha256 and actual.sha256 != self.sha256:
            found |= {"expected sha256": self.sha256, "actual sha256": actual.sha256}
        return found


def find_pinned(cache: ContentCache, pin: Pin) -> Path | None:
    """Return the pinned file from the cache, hashed again, or None.

    Raises
    ------
    IntegrityError
        The file with the pinned sha256 has another size or sha1 than the recipe says: the
        recipe contradicts itself, and no download can mend that.
    """
    if pin.strength == "sha256" and pin.sha256:
        path = cache.find(pin.sha256)
        if path is None:
            return None
        # The sha256 has just been checked; a second reading serves the sha1 alone.
        hashes = (
            hash_file(path)
            if pin.sha1
            else FileHashes(size=path.stat().st_size, sha256=pin.sha256, sha1="")
        )
    else:
        found = cache.find_sha1(pin.sha1 or "")
        if found is None:
            return None
        path, hashes = found
    if wrong := pin.differences(hashes):
        raise mismatch(path.name, str(path), wrong)
    return path


def adopt(cache: ContentCache, path: Path, hashes: FileHashes, pin: Pin) -> Path:
    """Move a verified file into the cache and return its new path."""
    kept = cache.adopt(path, hashes.sha256)
    if pin.strength == "sha1":
        cache.remember_sha1(hashes.sha1, hashes.sha256)
    return kept


def not_pinned(what: str, file: Path, expected: str, actual: str, *, hint: str) -> IntegrityError:
    """Return the error for a file of this machine whose sha256 is not the recipe's."""
    return IntegrityError(
        f"{what} is not the pinned one",
        hint=hint,
        context={"file": str(file), "expected sha256": expected, "actual sha256": actual},
    )


def mismatch(
    label: str, origin: str, facts: dict[str, str], *, kept: Path | None = None
) -> IntegrityError:
    """Return the error for a file that is not the pinned one."""
    which = next((n for n in ("sha256", "sha1", "size") if f"actual {n}" in facts), "size")
    context = {"origin": origin, **facts}
    problem = (
        f"{label}: what {origin} holds is not the pinned file: its {which} is "
        f"{facts[f'actual {which}']}, the recipe pins {facts[f'expected {which}']}"
    )
    hint = "find out which of the two is right before the recipe is changed"
    if kept:
        context["kept at"] = str(kept)
        with kept.open("rb") as stream:
            page = page_instead(stream.read(HEAD))
        if page:
            problem = f"{label}: {origin} answered with {page}: not the pinned file"
            hint = POINTER_HINT if page == POINTER else PAGE_HINT
    return IntegrityError(
        problem, hint=f"{hint}; nothing was used and nothing was deleted", context=context
    )
