"""Functions for workers: some answer, and some end badly, as a wheel under test may."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

from verify.checks.robustness_inside import CASES
from verify.environment.context import TargetContext
from verify.errors import VerifyError

BAD = CASES[6].name


def double(payload: int) -> int:
    print("native code prints", payload)
    return 2 * payload


def environment(payload: list[str]) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in payload}


def reports(context: TargetContext, payload: str) -> str:
    context.say(payload, check="some.check")
    return context.role


def raises(payload: str) -> None:
    if payload == "ours":
        raise VerifyError("A sentence.", hint="A hint.")
    raise ValueError("not this one")


def hangs(payload: str) -> None:
    """Start a child that would outlive the worker, write its number, and wait."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(payload, "w", encoding="ascii") as stream:
        stream.write(str(child.pid))
    time.sleep(600)


def computes(payload: str) -> None:
    """Say that it has begun, and compute for ever."""
    with open(payload, "w", encoding="ascii"):
        pass
    while True:
        pass


def ends(payload: int) -> None:
    print("\x1b[31mlast words\x1b[m", file=sys.stderr, flush=True)
    if payload < 0:
        os.kill(os.getpid(), -payload)
    os._exit(payload)


def crashes_after_its_answer(payload: str) -> Any:
    import atexit

    atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    return payload


def finds_the_disk_full(payload: str) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", payload)


def adds_up(payload: int) -> Generator[int, int]:
    total = payload
    while True:
        total += yield total


def _cases(context: TargetContext, code: int) -> Generator[str | None, str]:
    with (context.work / "started").open("a", encoding="ascii") as stream:
        stream.write("x")
    name = yield None
    while True:
        if name == BAD:
            ends(code)
        name = yield "ok: refused"


def signal_at_one_case(context: TargetContext, payload: Any) -> Generator[str | None, str]:
    yield from _cases(context, -signal.SIGSEGV)


def exit_at_one_case(context: TargetContext, payload: Any) -> Generator[str | None, str]:
    yield from _cases(context, 3)


def does_not_start(context: TargetContext, payload: Any) -> None:
    raise ModuleNotFoundError("No module named onnxruntime")


def sampler(context: TargetContext, payload: Any) -> Generator[dict[str, Any], dict[str, Any]]:
    """Sample four texts without an encoder, each in 5 ms."""
    request = yield {}
    while True:
        order = request.get("order") or [0, 1, 2, 3]
        request = yield {
            "values": [5_000_000 + index for index in order],
            "warmup": [1] * request.get("settle", 0),
            "tokens": [7] * len(order),
            "stages": {"inference": [5] * len(order)},
            "conditions": {"delay": [0] * len(order)},
        }


def sampler_without_provider(context: TargetContext, payload: Any) -> None:
    raise VerifyError("There is no such provider.", hint="Another one.")


def sampler_that_ends(context: TargetContext, payload: Any) -> Generator[dict[str, Any], Any]:
    yield {}
    ends(7)


def sampler_that_crashes(context: TargetContext, payload: Any) -> Generator[dict[str, Any], Any]:
    yield {}
    ends(-signal.SIGKILL)
