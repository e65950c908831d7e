"""The reference texts under the emulator: tokenised here, run there, pooled and judged here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.emulation.qemu import Ended, Profile, command, environment, run
from tests.emulation.root import Emulator
from verify.checks.embedding_inside import Comparison, compare
from verify.encoder import reference
from verify.encoder.embedder import pool
from verify.encoder.graph import ensure_graph
from verify.encoder.model_recipe import EncoderSpec
from verify.encoder.sessions import load_tokenizer

Say = Callable[[str], None]
Rows = list[int]
GUEST = Path(__file__).resolve().parent / "guest.py"
_PATIENCE = 300.0
_SHORT = 16
_QUICK = 64


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the emulated Python is given, and how its answers are put together.

    Parameters
    ----------
    path : Path
        ``ids_N`` and ``mask_N`` for each batch.
    graph : Path
    alone : dict
        Row of a text to the batch that holds it alone.
    together : tuple of int
        Rows of the short texts that stand padded in the last batch.
    names : tuple of str
        The texts' names, by row.
    expected : ndarray
        float32 ``[texts, hidden]``, unit vectors.
    """

    path: Path
    graph: Path
    alone: dict[int, int]
    together: tuple[int, ...]
    names: tuple[str, ...]
    expected: NDArray[np.float32]

    @property
    def batches(self) -> int:
        """How many batches there are."""
        return len(self.alone) + 1


def make_job(model_dir: Path, encoder: EncoderSpec, work: Path, *, quick: bool) -> Job:
    """Tokenise the reference texts and build the graph.

    Every text is run alone, shortest first; the short ones are run once more together, padded to
    the longest of them, so that the mask counts.

    Raises
    ------
    VerifyError
        The model's files or the references are not there.
    """
    known = reference.load(encoder)
    tokenizer = load_tokenizer(model_dir / "tokenizer.json", encoder)
    encoded = [tokenizer.encode(entry.text).ids for entry in known.texts]
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
    if quick:
        order = [row for row in order if len(encoded[row]) <= _QUICK][::3]
    short = tuple(row for row in order if len(encoded[row]) <= _SHORT)
    arrays: dict[str, NDArray[np.int64]] = {}
    for number, rows in enumerate([*([row] for row in order), list(short)]):
        width = max(len(encoded[row]) for row in rows)
        ids = np.full((len(rows), width), encoder.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(encoded[row])] = encoded[row]
            mask[line, : len(encoded[row])] = 1
        arrays[f"ids_{number}"], arrays[f"mask_{number}"] = ids, mask
    path = work / "texts.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return Job(
        path=path,
        graph=ensure_graph(model_dir, encoder, work / "graphs"),
        alone={row: number for number, row in enumerate(order)},
        together=short,
        names=tuple(entry.id for entry in known.texts),
        expected=known.embeddings,
    )


def run_job(
    emulator: Emulator, profile: Profile, job: Job, *, site: Sequence[Path], work: Path, say: Say
) -> tuple[Ended, Path]:
    """Run a job with one wheel on one processor; return how it ended and where the answers are."""
    log, out = work / "embed.log", work / "embed.npz"
    out.unlink(missing_ok=True)

    def line(text: str) -> None:
        words = text.split()
        if words[:1] == ["batch"] and (int(words[1]) % 10 == 0 or int(words[1]) == job.batches):
            say(f"embeddings: {text}")

    argv = command(emulator, profile, [str(GUEST), "embed", *map(str, (job.path, job.graph, out))])
    ended = run(
        argv,
        environment(*site),
        log=log,
        still=lambda: log.stat().st_size,
        patience=_PATIENCE,
        line=line,
    )
    return ended, out


def read_answers(job: Job, out: Path) -> list[Comparison]:
    """Compare the answers of :func:`run_job` with the references, each way of running apart."""
    with np.load(job.path) as given, np.load(out) as got:
        pooled = [
            pool(np.asarray(got[f"states_{number}"]), given[f"mask_{number}"])
            for number in range(job.batches)
        ]
    found = []
    rows = list(job.alone)
    alone = np.concatenate([pooled[job.alone[row]] for row in rows])
    found.append(_compare(job, "one by one", alone, rows))
    found.append(_compare(job, "short ones together, padded", pooled[-1], list(job.together)))
    return found


def _compare(job: Job, way: str, pooled: NDArray[np.float32], rows: Rows) -> Comparison:
    names = [job.names[row] for row in rows]
    return compare(way, pooled, job.expected[rows], names)
