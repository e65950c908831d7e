"""The queue before the model and the one thread that empties it, by groups of like length.

Nobody waits for a group to fill: the thread takes what is there. The oldest request leads every
group; others join it where that costs little. A request with many texts takes turns with the rest.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..encoder.batches import BatchLimits
from ..encoder.model_recipe import Kind
from ..errors import VerifyError
from .counters import Counters
from .embedding import Floats, Model

# A group is what the Embedder runs at once, so that joining one costs little.
GROUP = BatchLimits()
_LETTERS_A_TOKEN = 4
# What a vector is taken to need until it is sent.
VECTOR_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the service takes at most; what would be more is refused or waits.

    Parameters
    ----------
    message_bytes : int
        One line, frame or HTTP body.
    texts, text_bytes : int
        Texts of a request, and UTF-8 bytes of one text.
    pending, pending_bytes : int
        Requests that are not answered, and the bytes of their texts and vectors.
    """

    message_bytes: int = 8 * 2**20
    texts: int = 2048
    text_bytes: int = 256 * 2**10
    pending: int = 256
    pending_bytes: int = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An error as data: a code that programs read, a sentence, and what to do next."""

    code: str
    message: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """An answer: float32 ``[texts, dimensions]``, and the tokens that were read for it."""

    rows: Floats
    tokens: int


CANCELLED = Refusal(code="cancelled", message="The request was cancelled.")
SHUTTING_DOWN = Refusal(
    code="shutting_down", message="The service is ending.", hint="Start it again."
)


@dataclass(eq=False, kw_only=True)
class Job:
    """A request on its way. ``done`` is called once, from any thread."""

    texts: Sequence[str]
    done: Callable[[Vectors | Refusal], None]
    kind: Kind | None = None
    began: float = field(default_factory=time.monotonic)
    cost: int = 0
    tokens: int = 0
    order: list[int] = field(default_factory=list)  # texts not yet run, the shortest last
    rows: Floats | None = None
    left: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        """Put texts of like length together, and say what the job holds in memory."""
        self.left = len(self.texts)
        self.order = sorted(range(self.left), key=lambda at: -len(self.texts[at]))
        self.cost = sum(
            len(text.encode(errors="surrogatepass")) + VECTOR_BYTES for text in self.texts
        )


class Engine:
    """Embeds what is submitted, in a thread of its own that also loads the model."""

    def __init__(self, load: Callable[[], Model], limits: Limits, counters: Counters) -> None:
        self.limits = limits
        self.counters = counters
        self.state = "loading"
        self._load = load
        self.model: Model | None = None
        self.failure: Refusal | None = None
        self._waiting: list[Callable[[Model | Refusal], None]] = []
        self._jobs: deque[Job] = deque()
        self._pending: set[Job] = set()
        self._bytes = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="embed", daemon=True)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def when_loaded(self, callback: Callable[[Model | Refusal], None]) -> None:
        """Call back with the model, or with why there is none; at once where that is known."""
        with self._changed:
            if self.state == "loading":
                self._waiting.append(callback)
                return
        found = self.model or self.failure
        if found is not None:
            callback(found)

    @property
    def pending(self) -> int:
        """Requests that are not answered."""
        return len(self._pending)

    @property
    def pending_bytes(self) -> int:
        """Bytes of their texts and vectors."""
        return self._bytes

    def backlog_seconds(self) -> float:
        """Return about how long the model needs for what is pending, in s."""
        with self._changed:
            texts = sum(job.left for job in self._pending)
        return texts * self.counters.seconds_a_text()

    def submit(self, job: Job) -> bool:
        """Take a job; ``False`` where there is no room for it now."""
        refusal: Refusal | None = None
        with self._changed:
            if self.state in {"failed", "ended"}:
                refusal = self.failure or SHUTTING_DOWN
            elif self._pending and (
                len(self._pending) >= self.limits.pending
                or self._bytes + job.cost > self.limits.pending_bytes
            ):
                return False
            self._pending.add(job)
            self._bytes += job.cost
            if refusal is None:
                self._jobs.append(job)
                self._changed.notify_all()
        if refusal is not None:
            self._finish(job, refusal)
        return True

    def wait_for_room(self, seconds: float) -> None:
        """Wait until something is answered, at most so long."""
        with self._changed:
            self._changed.wait(seconds)

    def drained(self, seconds: float) -> bool:
        """Wait until everything is answered, at most so long, and say whether it is."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._pending or self._waiting) or self.state == "ended", seconds
            )

    def cancel(self, job: Job) -> bool:
        """Answer a job with ``cancelled``; ``False`` where it was answered before."""
        return self._finish(job, CANCELLED)

    def close(self, seconds: float) -> bool:
        """Take nothing more and refuse what is pending; whether the thread has ended by then."""
        with self._changed:
            self.state = "ended"
            pending = list(self._pending)
            self._changed.notify_all()
        for job in pending:
            self._finish(job, SHUTTING_DOWN)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            found: Model | Refusal = self._load()
        except VerifyError as error:
            found = Refusal(code="model", message=error.problem, hint=error.hint)
        except Exception as error:
            # onnxruntime and tokenizers raise what they like.
            found = Refusal(code="model", message=f"{type(error).__name__}: {error}")
        with self._changed:
            if isinstance(found, Refusal):
                self.failure = found
            else:
                self.model = found
            if self.state != "ended":
                self.state = "failed" if self.failure else "ready"
        for callback in self._waiting:
            callback(found)
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        if not isinstance(found, Refusal):
            try:
                while (group := self._next_group(found.batches)) is not None:
                    self._run(found, group)
                return
            except Exception as error:
                # Nothing that is foreseen. A queue that nobody empties must not look well.
                with self._changed:
                    self.failure, self.state = _refusal(error), "failed"
        for job in list(self._pending):
            self._finish(job, self.failure or SHUTTING_DOWN)

    def _next_group(self, batches: bool) -> list[tuple[Job, int]] | None:
        """Wait for texts and return those to run together; ``None`` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self.state == "ended")
            if self.state == "ended":
                return None
            group: list[tuple[Job, int]] = []
            lengths: list[int] = []
            leader = self._jobs[0]
            for job in [each for each in self._jobs if each.kind == leader.kind]:
                while job.order and GROUP.joins(lengths, length := _next_length(job)):
                    group.append((job, job.order.pop()))
                    lengths.append(length)
                    if not batches:
                        break
                if not batches or len(group) == GROUP.texts:
                    break
            self._jobs.rotate(-1)  # a long request goes behind the others
            for job in {job for job, _ in group}:
                if not job.order:
                    self._jobs.remove(job)
            return group

    def _run(self, model: Model, group: list[tuple[Job, int]]) -> None:
        """Run a group; where that fails, each of its requests alone, so that one fails alone."""
        try:
            texts = [job.texts[at] for job, at in group]
            kind, began = group[0][0].kind, time.monotonic()
            rows, tokens = model.embed(texts, kind)
        except Exception as error:
            jobs = list(dict.fromkeys(job for job, _ in group))
            if len(jobs) > 1:
                for job in jobs:
                    self._run(model, [each for each in group if each[0] is job])
            else:
                self._finish(jobs[0], _refusal(error))
            return
        self.counters.ran(len(group), sum(tokens), time.monotonic() - began)
        # A zero or a NaN before normalising is a zero or a NaN after it.
        sound = [bool(np.isfinite(row).all() and row.any()) for row in rows]
        for (job, at), row, count, good in zip(group, rows, tokens, sound, strict=True):
            if not good:
                self._finish(
                    job,
                    Refusal(
                        code="not_finite",
                        message=f"The model's answer to text {at} is not finite, or is zero.",
                        hint="`python -m verify run` tells whether the wheel computes rightly.",
                    ),
                )
                continue
            if job.rows is None:
                job.rows = np.empty((len(job.texts), model.dimensions), dtype=np.float32)
            job.rows[at] = row
            job.tokens += count
            job.left -= 1
            if not job.left:
                self._finish(job, Vectors(rows=job.rows, tokens=job.tokens))

    def _finish(self, job: Job, outcome: Vectors | Refusal) -> bool:
        """Give a job its one answer."""
        with self._changed:
            if job.finished:
                return False
            job.finished = True
            job.order.clear()
            if job in self._jobs:
                self._jobs.remove(job)
        try:
            if isinstance(outcome, Refusal):
                self.counters.refused(outcome.code)
            else:
                self.counters.answered(time.monotonic() - job.began)
            job.done(outcome)
        finally:
            # Only now: what a slow reader has not taken counts as pending.
            with self._changed:
                self._pending.discard(job)
                self._bytes -= job.cost
                self._changed.notify_all()
        return True


def _next_length(job: Job) -> int:
    """Return about how many tokens a job's next text has; reading them all would cost more."""
    letters = len(job.texts[job.order[-1]])
    return min(letters // _LETTERS_A_TOKEN + 2, GROUP.tokens)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, VerifyError):
        return Refusal(code="invalid_text", message=error.problem, hint=error.hint)
    return Refusal(code="internal", message=f"{type(error).__name__}: {error}")
