"""``python -m tests.gen [--check]``: write every generated file, or name those that are stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.gen.files import generated

ROOT = Path(__file__).resolve().parents[2]


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write or compare; 1 when ``--check`` finds a stale file."""
    parser = argparse.ArgumentParser(prog="nox -s gen --", description="Write generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if one is stale")
    check = parser.parse_args(argv).check
    stale = different(generated(root), root)
    for name, text in stale.items():
        if not check:
            (root / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{'stale' if check else 'written'}: {name}")
    if check and stale:
        print("write them again with `nox -s gen`")
        return 1
    print(f"{len(generated(root))} generated files are fresh")
    return 0


def different(wanted: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return the files that are missing or hold another text."""
    return {
        name: text
        for name, text in wanted.items()
        if not (root / name).is_file() or (root / name).read_text(encoding="utf-8") != text
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
