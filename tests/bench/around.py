"""What the Embedder costs around the matrix products, and what cutting batches by tokens brings.

``python -m tests.bench.around [--precisions P,…] [--budgets N,…] [--blocks N] [--json]``

In the wheel's environment (the newest below ``.work/venvs``, or ``--python``):

- one text of 128 tokens: the clock around each part (tokenise, tensors, inference, pool, normalise)
  of many calls, as a share of the whole call;
- the product's mix of queries in batches: 32 in the given order, padded to the longest, beside the
  Embedder's own for each budget of padded tokens, block by block in turns in one process, with the
  ratio of the times and its 95 % interval.

Exit codes: 0 measured, 3 could not run. Nothing is judged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from verify.encoder.batches import BatchLimits
from verify.encoder.model_recipe import load_model_recipe, recipe_path
from verify.environment.channel import Worker, call
from verify.errors import VerifyError
from verify.statistics.ratio import ratio_interval

AROUND = ("tokenise", "tensors", "pool", "normalise")
_SECONDS = 900.0


def share_rows(parts: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return each part's median share of a call, and ``around``: that of all but inference."""
    totals = np.array(parts["total"], dtype=np.float64)
    found = {
        name: float(np.median(np.array(times) / totals))
        for name, times in parts.items()
        if name != "total"
    }
    inner = np.array(parts["inference"], dtype=np.float64)
    return {**found, "around": float(np.median((totals - inner) / totals))}


def batch_rows(found: Mapping[str, Any], texts: int) -> list[dict[str, Any]]:
    """Return what each way of batching does, and how it stands to the naive one."""
    naive = [[time] for time in found["times"]["naive"]]
    return [
        {
            "way": name,
            "texts_per_second": texts / (float(np.median(times)) / 1e9),
            "padded": found["padded"][name] / found["tokens"],
            "apart": found["apart"][name],
            "ratio": asdict(ratio_interval(naive, [[time] for time in times])),
        }
        for name, times in found["times"].items()
    ]


def show(found: Mapping[str, Any]) -> None:
    """Print both tables."""
    print(f"one text of {found['tokens']} tokens: shares of the call's median")
    for precision, row in found["shares"].items():
        cells = "  ".join(f"{name} {row[name]:.2%}" for name in AROUND)
        print(f"  {precision:<10} {row['total_ms']:.2f} ms  {cells}  together {row['around']:.2%}")
    for precision, rows in found["batches"].items():
        print(f"{found['texts']} queries of the mix, {precision}")
        for row in rows:
            ratio = row["ratio"]
            ends = "" if ratio["low"] is None else f" ({ratio['low']:.3f} to {ratio['high']:.3f})"
            print(
                f"  {row['way']:<12} {row['texts_per_second']:7.1f} texts/s  "
                f"{row['padded']:.2f} padded tokens for each of the texts'  "
                f"ratio {ratio['ratio']:.3f}{ends}  apart {row['apart']:.1e}"
            )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run both measurements in the wheel's environment."""
    recipe = load_model_recipe(recipe_path(options.model))
    found = (options.work / "venvs").glob("candidate*/bin/python")
    python = options.python or next(found, None)
    if python is None:
        raise VerifyError("There is no environment with the wheel.", hint="Run `nox -s verify`.")
    payload = {
        "models": str((options.work / "models" / recipe.name).resolve()),
        "encoder": recipe.encoder.to_json(),
        "tokens": options.tokens,
        "calls": options.calls,
        "texts": options.texts,
        "blocks": options.blocks,
        "budgets": options.budgets,
        "precisions": options.precisions,
    }
    with tempfile.TemporaryDirectory(prefix="ortmill-around-") as folder:
        payload["graphs"] = str((options.graphs or Path(folder) / "graphs").absolute())

        def asked(function: str, **more: Any) -> Any:
            worker = Worker(
                python.absolute(),
                f"tests.bench.around_inside:{function}",
                {**payload, **more},
                work=Path(folder),
            )
            answer = call(worker, _SECONDS)
            if answer.failure:
                raise VerifyError(f"The worker {answer.failure}.\n{answer.tail}")
            return answer.value

        parts = asked("shares") if options.calls else {}
        batches = {
            precision: batch_rows(asked("batches", precision=precision), options.texts)
            for precision in (options.precisions if options.blocks else ())
        }
    shares = {
        name: {**share_rows(each), "total_ms": float(np.median(each["total"])) / 1e6}
        for name, each in parts.items()
    }
    return {"tokens": options.tokens, "texts": options.texts, "shares": shares, "batches": batches}


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.around", description=__doc__)
    parser.add_argument("--python", type=Path, help="default: of a wheel below .work/venvs")
    parser.add_argument("--work", type=Path, default=Path(".work"))
    parser.add_argument("--graphs", type=Path, help="where prepared graphs are kept")
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=["fp32"])
    parser.add_argument(
        "--budgets",
        type=lambda text: [int(each) for each in text.split(",")],
        default=[BatchLimits.tokens],
    )
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--calls", type=int, default=300, help="0 leaves the shares out")
    parser.add_argument("--texts", type=int, default=240)
    parser.add_argument("--blocks", type=int, default=12, help="0 leaves the batches out")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    try:
        found = measure(options)
    except VerifyError as error:
        print(f"{error.problem} {error.hint}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
