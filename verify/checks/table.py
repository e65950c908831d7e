"""The one table of checks, ``table.toml``, and what its entries say."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from ..environment.channel import load_function
from ..policy.result import CheckResult

if TYPE_CHECKING:
    from ..environment.context import TargetContext

Role = Literal["candidate", "official"]
Place = Literal["target", "host", "wheel"]
CheckFunction = Callable[["TargetContext"], CheckResult | Sequence[CheckResult]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One entry of the table: everything that a run, a verdict and the documents say of a check.

    Parameters
    ----------
    id : str
        Dotted name, ``group.name``.
    title : str
        A few words for tables.
    catches : str
        What is measured and which faults that finds, one or two sentences.
    proves : str
        What the verdict may say once the check has passed; a clause without a full stop.
    run : str
        The function, see :func:`~verify.environment.channel.load_function`; imported only where
        the check runs. Checks with the same one are answered by one call of it.
    place : {"target", "host", "wheel"}
        In the environment that holds the wheel; in the verification's own, which starts others
        in it; or on the bytes of the wheel alone, on any host, where nothing is executed.
    needs : tuple of {"official"}
        Environments needed as well as the candidate's.
    limits : tuple of str
        Names of the policy's limits that decide; the first that is judged is the result's
        ``limit``. Whether a number must reach a limit or not exceed it is the limit's own
        (`verify.policy.limits`).
    judged_by : {"numbers", "samples"}
        What ``judge`` decides by when it judges a run again: the numbers in
        ``CheckResult.evidence["judged"]``, or the raw latency samples. A check without limits
        stays as it was.
    advice : str
        What the verdict advises once a number of the check is over its limit; or empty.
    quick : bool
        Whether ``--quick`` runs it.
    timeout : float
        Seconds after which the check is ended and counts as failed; as inconclusive where its
        process waited for a processor most of that time.
    """

    id: str
    title: str
    catches: str
    proves: str
    run: str
    place: Place = "target"
    needs: tuple[Role, ...] = ()
    limits: tuple[str, ...] = ()
    judged_by: Literal["numbers", "samples"] = "numbers"
    advice: str = ""
    quick: bool = True
    timeout: float = 900.0

    def function(self) -> CheckFunction:
        """Import and return the check's function."""
        return cast("CheckFunction", load_function(self.run))


def _read() -> Iterator[Check]:
    path = Path(__file__).with_suffix(".toml")
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["check"]:
        lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
        yield Check(**{**entry, **lists})


CHECKS: tuple[Check, ...] = tuple(_read())


def check_ids() -> list[str]:
    """Return every check's id in the order of the table."""
    return [check.id for check in CHECKS]


def find_check(check_id: str) -> Check:
    """Return the check of that id; there is one."""
    return next(check for check in CHECKS if check.id == check_id)
