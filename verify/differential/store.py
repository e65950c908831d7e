"""Cases and results on disk: lines of JSON beside one file of raw bytes.

A case set is a folder with ``index.json`` and ``data.bin``. A run's results are a journal of JSON
lines and ``<journal>.bin``: the bytes of a line are written before the line, so a process that
dies leaves a journal whose every line can be read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..errors import VerifyError
from .values import STRING, Absent, Items, Tensor, Value

FORMAT = 1
Group = Literal["node", "generated"]


class Blobs:
    """Append-only bytes, each distinct content once, in a stream open for binary appending."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._known: dict[bytes, int] = {}
        self._end = stream.seek(0, 2)

    def put(self, data: bytes) -> tuple[int, int]:
        """Store some bytes and return their offset and length."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._known:
            self._known[digest] = self._end
            self._end += self._stream.write(data)
        return self._known[digest], len(data)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._stream.flush()


def to_json(value: Value, blobs: Blobs) -> dict[str, Any]:
    """Describe a value, its bytes put aside in ``blobs``."""
    if isinstance(value, Items):
        return {"items": [to_json(item, blobs) for item in value.items]}
    if isinstance(value, Absent):
        return {"absent": True}
    described: dict[str, Any] = {"element": value.element, "shape": list(value.shape)}
    if value.element == STRING:
        described["strings"] = list(value.strings)
    else:
        described["at"] = blobs.put(value.data)
    return described


def from_json(described: Mapping[str, Any], data: bytes) -> Value:
    """Read back what :func:`to_json` wrote, ``data`` being the whole file of bytes."""
    if "items" in described:
        return Items(items=tuple(from_json(item, data) for item in described["items"]))
    if described.get("absent"):
        return Absent()
    shape = tuple(described["shape"])
    if "strings" in described:
        return Tensor(element=STRING, shape=shape, strings=tuple(described["strings"]))
    start, length = described["at"]
    return Tensor(element=described["element"], shape=shape, data=data[start : start + length])


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model with one set of inputs.

    Parameters
    ----------
    id : str
        Readable and unique, such as ``binary/Min/float/17+scalar/nan-left``.
    group : {"node", "generated"}
        ``node`` carries expected outputs from the ONNX archive.
    model : bytes
        A serialised ``ModelProto``.
    inputs : tuple[tuple[str, Value], ...]
        In the order of the graph's inputs.
    expected : tuple[Value, ...], optional
        In the order of the graph's outputs; None when the case has no reference of its own.
    rtol, atol : float
        Tolerances for ``expected``.
    undefined : str
        Why C++ and ONNX both leave the values of the outputs open, so that one compiler may give
        others than the next from the same source; empty where they do not.
    """

    id: str
    group: Group
    model: bytes
    inputs: tuple[tuple[str, Value], ...]
    expected: tuple[Value, ...] | None = None
    rtol: float = 1e-3
    atol: float = 1e-7
    undefined: str = ""


def write_cases(cases: Iterable[Case], into: Path) -> int:
    """Write a case set and return how many cases it holds.

    Raises
    ------
    VerifyError
        When two cases have one id.
    """
    into.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    with (into / "data.bin").open("wb") as stream:
        blobs = Blobs(stream)
        for case in cases:
            if case.id in seen:
                raise VerifyError(f"two differential cases are named {case.id}")
            seen.add(case.id)
            expected = None
            if case.expected is not None:
                expected = [to_json(value, blobs) for value in case.expected]
            rows.append(
                {
                    "id": case.id,
                    "group": case.group,
                    "model": blobs.put(case.model),
                    "inputs": [[name, to_json(value, blobs)] for name, value in case.inputs],
                    "expected": expected,
                    "rtol": case.rtol,
                    "atol": case.atol,
                    "undefined": case.undefined,
                }
            )
    index = {"format": FORMAT, "cases": rows}
    (into / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return len(rows)


def read_cases(folder: Path) -> tuple[Case, ...]:
    """Read a case set.

    Raises
    ------
    VerifyError
        When the folder holds none, or one of another format.
    """
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        data = (folder / "data.bin").read_bytes()
    except (OSError, ValueError) as error:
        raise VerifyError(
            f"{folder} holds no differential cases that can be read: {error}",
            hint="Remove the folder; the next run writes it anew.",
        ) from error
    if index.get("format") != FORMAT:
        raise VerifyError(f"{folder} holds cases of format {index.get('format')}, not {FORMAT}")
    return tuple(_case(row, data) for row in index["cases"])


def _case(row: Mapping[str, Any], data: bytes) -> Case:
    start, length = row["model"]
    expected = row["expected"]
    return Case(
        id=row["id"],
        group=row["group"],
        model=data[start : start + length],
        inputs=tuple((name, from_json(value, data)) for name, value in row["inputs"]),
        expected=None if expected is None else tuple(from_json(item, data) for item in expected),
        rtol=row["rtol"],
        atol=row["atol"],
        undefined=row["undefined"],
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one case gave in one session configuration.

    Parameters
    ----------
    status : {"ok", "error", "crash"}
        ``error`` is an exception from ONNX Runtime; ``crash`` ended or hung the process.
    kind : str
        For an error, stage and class, as ``load:NotImplemented``; for a crash, the signal's name
        or ``timeout``.
    message : str
        The whole text of the error.
    outputs : tuple[tuple[str, Value], ...]
    verdict : {"passed", "failed", "error", "crash", ""}
        Against the case's expected outputs; empty where it has none.
    detail : str
        Why the verdict is ``failed``.
    """

    status: Literal["ok", "error", "crash"]
    kind: str = ""
    message: str = ""
    outputs: tuple[tuple[str, Value], ...] = ()
    verdict: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything one wheel gave: by case id, then configuration; its wall time in seconds."""

    version: str
    build_info: str
    seconds: float
    outcomes: Mapping[str, Mapping[str, Outcome]] = field(default_factory=dict)


def outcome_to_json(outcome: Outcome, blobs: Blobs) -> dict[str, Any]:
    """One outcome as a JSON object, empty fields left out."""
    row: dict[str, Any] = {"status": outcome.status}
    for key in ("kind", "message", "verdict", "detail"):
        if text := getattr(outcome, key):
            row[key] = text
    if outcome.outputs:
        row["outputs"] = [[name, to_json(value, blobs)] for name, value in outcome.outputs]
    return row


def outcome_from_json(row: Mapping[str, Any], data: bytes) -> Outcome:
    """Read back what :func:`outcome_to_json` wrote."""
    texts = {key: row.get(key, "") for key in ("kind", "message", "verdict", "detail")}
    outputs = tuple((name, from_json(value, data)) for name, value in row.get("outputs", ()))
    return Outcome(status=row["status"], outputs=outputs, **texts)


def blob_file(journal: Path) -> Path:
    """Name the file of bytes that belongs to a journal."""
    return journal.with_name(journal.name + ".bin")


def read_journal(journal: Path) -> list[dict[str, Any]]:
    """Return all whole lines of a journal; a last line that was cut off is left out."""
    rows: list[dict[str, Any]] = []
    if not journal.exists():
        return rows
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows


def record_crash(journal: Path, case: Case, how: str, configurations: Sequence[str]) -> None:
    """Write down that a case ended the process; a line that was cut off goes."""
    judged = case.expected is not None
    outcome = {"status": "crash", "kind": how, "verdict": "crash" if judged else ""}
    text = journal.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    row = {"id": case.id, "runs": dict.fromkeys(configurations, outcome)}
    journal.write_text(whole + json.dumps(row) + "\n", encoding="utf-8")


def read_results(journal: Path) -> Results:
    """Read a finished run.

    Raises
    ------
    VerifyError
        When the run did not finish.
    """
    rows: Sequence[dict[str, Any]] = read_journal(journal)
    ends = [row["end"] for row in rows if "end" in row]
    if not ends:
        raise VerifyError(
            f"the differential run behind {journal.name} did not finish",
            hint="Look at the runner's output; the journal names the case it had begun.",
            context={"journal": str(journal)},
        )
    data = blob_file(journal).read_bytes()
    outcomes: dict[str, dict[str, Outcome]] = {}
    for row in rows:
        if "id" in row:
            outcomes[row["id"]] = {
                config: outcome_from_json(item, data) for config, item in row["runs"].items()
            }
    return Results(
        version=ends[-1]["version"],
        build_info=ends[-1]["build_info"],
        seconds=ends[-1]["seconds"],
        outcomes=outcomes,
    )
