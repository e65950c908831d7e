"""Bring every input of a build into the cache: verified, in parallel, origin after origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ..errors import BuildError, FetchError
from .context import FetchContext
from .http import TransferError
from .origins.order import (
    Input,
    PinnedBy,
    expected_size,
    find_cached,
    locator,
    obtain,
    pinned_by,
    was_settled_on,
)
from .wanted import UPSTREAM, Candidate, FetchItem, plan_fetch

__all__ = ["Fetched", "fetch_all", "fetch_item", "missing_from_cache", "plan_fetch"]

_WORKERS = 4


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One input, verified and on disk.

    ``path`` is a file in the cache; for an overlay its folder, for the tools the folder of
    wheels. ``sha256`` is the file's, the overlay's tree digest, or the lock file's. ``pinned``
    says what the recipe pins it by: ``sha1`` means that the sha256 was computed here and pinned
    by nobody. ``sha1`` is set only where the recipe pins one, and has been checked.
    ``origin_index`` counts the recipe's origins from 0. ``extras`` are files that belong to it:
    the wheel of an overlay's descriptors.
    """

    name: str
    kind: str
    origin_index: int
    path: Path
    sha256: str
    size: int
    locator: str
    version: str
    pinned: PinnedBy
    sha1: str | None = None
    extras: tuple[Fetched, ...] = ()


def fetch_item(item: FetchItem, context: FetchContext) -> Fetched | None:
    """Bring one input into the cache.

    The order is the recipe's, but an origin whose bytes are in the cache goes first: what an
    earlier build settled on is settled on again. Every step from one origin to the next is
    announced in one line that says why. A wrong hash, size or tag ends the fetch at once, in
    every mode: another origin is never tried instead.

    Returns
    -------
    Fetched or None
        None where the input is not required and cannot be had; a line says what is done
        instead.

    Raises
    ------
    IntegrityError
        Bytes that are not the pinned ones.
    FetchError
        No origin is allowed, or none could deliver.
    """
    for candidate in item.candidates:
        if not _cache_alone(item, context) and not was_settled_on(candidate.origin, context):
            continue
        if found := find_cached(candidate.origin, context):
            return _fetched(item, candidate, found)
    if _cache_alone(item, context):
        return _without(item, context, "it is not in the cache", _not_cached([item]))
    failures: dict[str, TransferError] = {}
    for position, candidate in enumerate(item.candidates):
        try:
            return _fetched(item, candidate, obtain(candidate.origin, context, item.name))
        except TransferError as error:
            failures[locator(candidate.origin)] = error
            following = item.candidates[position + 1 : position + 2]
            if following:
                state = "not reached" if error.host else "not to be had"
                context.progress.say(
                    f"{item.name}: {_title(candidate)} {state} ({error.brief}), "
                    f"trying {_title(following[0])}"
                )
    nothing = _nothing_delivered(item, failures)
    return _without(item, context, _summary(item, failures), nothing)


def fetch_all(
    items: Sequence[FetchItem], context: FetchContext, *, workers: int = _WORKERS
) -> tuple[Fetched | None, ...]:
    """Bring every input into the cache, up to four at a time; results keep the items' order.

    Offline (or with the choice ``cache``), everything that is missing is listed in one error.
    Online, an input that cannot be had does not stop the others, so that the next run has less
    to fetch; all such inputs are named in one error at the end. A wrong hash stops everything
    at once: ``context.cancel`` is then set and the context is of no more use.

    Raises
    ------
    IntegrityError
        Bytes that are not the pinned ones.
    FetchError
        An input that no origin could deliver.
    """
    alone = [item for item in items if _cache_alone(item, context)]
    if missing := missing_from_cache(alone, context):
        raise _not_cached(missing)
    failures: dict[int, FetchError] = {}
    results: dict[int, Fetched | None] = {}
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="fetch") as pool:
        pending: dict[Future[Fetched | None], int] = {
            pool.submit(fetch_item, item, context): index for index, item in enumerate(items)
        }
        try:
            while pending:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
                # In the items' order, so that the error that is told does not depend on chance.
                for future in sorted(done, key=pending.__getitem__):
                    index = pending.pop(future)
                    try:
                        results[index] = future.result()
                    except FetchError as error:
                        failures[index] = error
        except BaseException:
            context.cancel.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if failures:
        raise _several([failures[index] for index in sorted(failures)])
    return tuple(results[index] for index in range(len(items)))


def missing_from_cache(items: Sequence[FetchItem], context: FetchContext) -> list[FetchItem]:
    """Return the required items that no allowed origin has in the cache."""
    return [
        item
        for item in items
        if item.required
        and not any(find_cached(candidate.origin, context) for candidate in item.candidates)
    ]


def _cache_alone(item: FetchItem, context: FetchContext) -> bool:
    return context.offline or item.choice == "cache"


def _title(candidate: Candidate) -> str:
    kind = candidate.origin.kind
    return f"upstream {kind}" if kind in UPSTREAM else kind


def _fetched(item: FetchItem, candidate: Candidate, found: Input) -> Fetched:
    origin, obtained = candidate.origin, found.obtained
    extras = tuple(
        Fetched(
            name=f"{item.name} (descriptors)",
            kind=extra.kind,
            origin_index=candidate.index,
            path=bytes_of.path,
            sha256=bytes_of.sha256,
            size=bytes_of.size,
            locator=locator(extra),
            version=extra.version or extra.release,
            pinned=pinned_by(extra),
        )
        for extra, bytes_of in found.extras
    )
    return Fetched(
        name=item.name,
        kind=origin.kind,
        origin_index=candidate.index,
        path=obtained.path,
        sha256=obtained.sha256,
        size=obtained.size,
        sha1=obtained.sha1,
        locator=locator(origin),
        version=origin.version or item.version,
        pinned=pinned_by(origin),
        extras=extras,
    )


def _without(
    item: FetchItem, context: FetchContext, reason: str, error: BuildError
) -> Fetched | None:
    if item.required:
        raise error
    context.progress.say(f"{item.name}: {reason}: {item.instead or 'building without it'}")
    return None


def _summary(item: FetchItem, failures: Mapping[str, TransferError]) -> str:
    if not failures:
        return "no origin is allowed"
    return "; ".join(
        f"{_title(candidate)}: {error.brief}"
        for candidate, error in zip(item.candidates, failures.values(), strict=False)
    )


def _nothing_delivered(item: FetchItem, failures: Mapping[str, TransferError]) -> FetchError:
    excluded = {f"{e.kind} (origin {e.index + 1})": e.reason for e in item.excluded}
    if not failures:
        return FetchError(
            f"{item.name}: no origin in the recipe may be used here",
            hint="choose other origins with --origin, or add one to the recipe",
            context=excluded,
        )
    if len(failures) == 1 and not excluded:
        return next(iter(failures.values()))
    hints = dict.fromkeys(error.hint for error in failures.values() if error.hint)
    return FetchError(
        f"{item.name}: no origin could deliver it ({_summary(item, failures)})",
        hint="; ".join(hints),
        context={where: error.problem for where, error in failures.items()} | excluded,
    )


def _several(errors: Sequence[FetchError]) -> FetchError:
    if len(errors) == 1:
        return errors[0]
    hints = dict.fromkeys(error.hint for error in errors if error.hint)
    context: dict[str, str] = {}
    for number, error in enumerate(errors, start=1):
        context[f"{number}"] = error.problem
        context |= {f"{number}, {name}": text for name, text in error.context.items()}
    return FetchError(
        f"{len(errors)} inputs could not be fetched", hint="; ".join(hints), context=context
    )


def _not_cached(items: Sequence[FetchItem]) -> FetchError:
    sizes = [
        min(filter(None, map(expected_size, (c.origin for c in item.candidates))), default=None)
        for item in items
    ]
    known = sum(size or 0 for size in sizes)
    count = "1 input is" if len(items) == 1 else f"{len(items)} inputs are"
    return FetchError(
        f"{count} not in the cache ({known} bytes or more), and only the cache may be used",
        hint="run `nox -s fetch` once with a network",
        context={
            item.name: f"{'size unknown' if size is None else f'{size} bytes'}: "
            + (" or ".join(locator(c.origin) for c in item.candidates) or "no origin is allowed")
            for item, size in zip(items, sizes, strict=True)
        },
    )
