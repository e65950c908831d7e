"""Bring every input into the cache: verified, in parallel, origin after origin."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ..errors import FetchError
from .context import FetchContext
from .fetched import Fetched, expected_size, locator
from .http import TransferError
from .origins.kinds import chosen_before, find_cached, obtain
from .wanted import Wanted, shown_kind

_WORKERS = 4


def fetch_item(item: Wanted, context: FetchContext) -> Fetched | None:
    """Bring one input into the cache; None where it is not required and cannot be had.

    The order is the recipe's, but an origin whose bytes are in the cache goes first: what an
    earlier build settled on is settled on again. Every step from one origin to the next is
    announced in one line that says why, and so is what is done without an input. A wrong hash,
    size or tag ends the fetch at once, in every mode: another origin is never tried instead.

    Raises
    ------
    IntegrityError
        Bytes that are not the pinned ones.
    FetchError
        No origin is allowed, or none could deliver.
    """
    try:
        return deliver(item, context)
    except TransferError as error:
        if item.required:
            raise
        instead = item.instead or "building without it"
        context.progress.say(f"{item.name}: {error.brief}: {instead}")
        return None


def deliver(item: Wanted, context: FetchContext) -> Fetched:
    """Bring one input into the cache, required or not.

    Raises
    ------
    IntegrityError
        Bytes that are not the pinned ones.
    TransferError
        No origin is allowed, or none could deliver.
    """
    alone = _cache_alone(item, context)
    for origin in item.origins:
        if (alone or chosen_before(origin, context)) and (
            found := find_cached(item, origin, context)
        ):
            return found
    if alone and item.origins:
        raise _not_cached([item])
    failures: list[TransferError] = []
    for position, origin in enumerate(item.origins, start=1):
        try:
            return obtain(item, origin, context)
        except TransferError as error:
            failures.append(error)
            for following in item.origins[position : position + 1]:
                state = "not reached" if error.host else "not to be had"
                context.progress.say(
                    f"{item.name}: {shown_kind(origin)} {state} ({error.brief}), "
                    f"trying {shown_kind(following)}"
                )
    raise _nothing_delivered(item, failures)


def fetch_all(
    items: Sequence[Wanted], context: FetchContext, *, workers: int = _WORKERS
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
                # In the items' order, so that the error that is reported does not depend on chance.
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
        raise _joined([failures[index] for index in sorted(failures)])
    return tuple(results[index] for index in range(len(items)))


def missing_from_cache(items: Sequence[Wanted], context: FetchContext) -> list[Wanted]:
    """Return the required items that no allowed origin has in the cache."""
    return [
        item
        for item in items
        if item.required and not any(find_cached(item, origin, context) for origin in item.origins)
    ]


def _cache_alone(item: Wanted, context: FetchContext) -> bool:
    return context.offline or item.choice == "cache"


def _nothing_delivered(item: Wanted, failures: Sequence[TransferError]) -> TransferError:
    excluded = {f"{e.kind} (origin {e.index + 1})": e.reason for e in item.excluded}
    if not failures:
        return TransferError(
            f"{item.name}: no origin in the recipe may be used here",
            brief="no origin is allowed",
            hint="choose other origins with --origin, or add one to the recipe",
            context=excluded,
        )
    if len(failures) == 1 and not excluded:
        return failures[0]
    both = list(zip(item.origins, failures, strict=True))
    summary = "; ".join(f"{shown_kind(origin)}: {error.brief}" for origin, error in both)
    return TransferError(
        f"{item.name}: no origin could deliver it ({summary})",
        brief=summary,
        hint=_hints(failures),
        context={locator(origin): error.problem for origin, error in both} | excluded,
    )


def _hints(errors: Sequence[FetchError]) -> str:
    return "; ".join(dict.fromkeys(error.hint for error in errors if error.hint))


def _joined(errors: Sequence[FetchError]) -> FetchError:
    if len(errors) == 1:
        return errors[0]
    context: dict[str, str] = {}
    for number, error in enumerate(errors, start=1):
        context[f"{number}"] = error.problem
        context |= {f"{number}, {name}": text for name, text in error.context.items()}
    return FetchError(
        f"{len(errors)} inputs could not be fetched", hint=_hints(errors), context=context
    )


def _not_cached(items: Sequence[Wanted]) -> TransferError:
    sizes = [min(filter(None, map(expected_size, item.origins)), default=None) for item in items]
    known = sum(size or 0 for size in sizes)
    model = len(items) == 1 and items[0].role == "model"
    command = f"python -m build fetch-model {items[0].name}" if model else "nox -s fetch"
    count = "1 input is" if len(items) == 1 else f"{len(items)} inputs are"
    return TransferError(
        f"{count} not in the cache ({known} bytes or more), and only the cache may be used",
        brief="it is not in the cache",
        hint=f"run `{command}` once with a network",
        context={
            item.name: f"{'size unknown' if size is None else f'{size} bytes'}: "
            + (" or ".join(map(locator, item.origins)) or "no origin is allowed")
            for item, size in zip(items, sizes, strict=True)
        },
    )
