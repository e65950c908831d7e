"""Where the time goes, operator by operator, in several wheels of onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from ..environment.channel import Answer
from ..environment.context import TargetContext
from ..errors import VerifyError
from ..sentence import Say
from ..statistics.ratio import ratio_interval
from .sides import Side

_SECONDS, _CALLS = 300.0, 10


def profile(
    context: TargetContext,
    sides: Sequence[Side],
    asked: Mapping[str, Any],
    *,
    rounds: int,
    say: Say,
) -> list[dict[str, Any]]:
    """Run the graph in every side's environment in turns, in another order each round.

    ``asked`` is the payload of :func:`.profile_inside.serve`. For each side its ``title`` is
    returned; of runs without the profile the medians in ms of ``wall``, ``processor`` (all threads)
    and ``rest`` (how long threads were busy afterwards, in steps of 10), and ``slower``, its median
    over the first side's with the interval; and what :func:`.profile_inside.by_operator` says.

    Raises
    ------
    VerifyError
        When a wheel cannot run it.
    """
    order = np.random.default_rng(5)
    took: list[list[dict[str, Any]]] = [[] for _ in sides]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                context.worker(".beside.profile_inside:serve", asked, role=side.role)
            )
            for side in sides
        ]
        versions = [_value(worker.answer(_SECONDS))["version"] for worker in workers]
        for number in range(rounds):
            for place in order.permutation(len(sides)):
                took[place].append(_value(workers[place].ask({"calls": _CALLS}, _SECONDS)))
            say(f"round {number + 1} of {rounds}")
        tables = [_value(worker.ask(None, _SECONDS)) for worker in workers]
    walls = [[block["wall"] for block in blocks] for blocks in took]
    return [
        {
            "title": f"{side.title}: {versions[place]}",
            "slower": ratio_interval(walls[place], walls[0]),
            **{
                name: float(np.median([block[name] for block in took[place]])) / 1e6
                for name in ("wall", "processor", "rest")
            },
            **tables[place],
        }
        for place, side in enumerate(sides)
    ]


def rows(
    profiles: Sequence[Mapping[str, Any]], table: str
) -> list[tuple[str, list[tuple[float, int]]]]:
    """Return operators (or kernels) with their ms and nodes in each wheel.

    That with the largest difference between the last wheel and the first one comes first.
    """
    found = [each[table] for each in profiles]
    names = dict.fromkeys(name for each in found for name in each)
    lines = [(name, [each.get(name, (0.0, 0)) for each in found]) for name in names]
    return sorted(lines, key=lambda line: -abs(line[1][-1][0] - line[1][0][0]))


def _value(answer: Answer) -> Any:
    if answer.failure:
        raise VerifyError(
            f"The profile could not be taken: its process {answer.failure.rstrip('.')}.",
            hint=answer.hint or "A setting that this version does not know?",
            context={"last lines": answer.tail},
        )
    return answer.value
