"""What each generated file must hold."""

from __future__ import annotations

import functools
from pathlib import Path

from build.recipe.schema import SCHEMAS, schema_text
from tests.gen import build_manifest, commands, reference, verify_document
from tests.gen.check_table import check_table
from tests.house import picture


def generated(root: Path) -> dict[str, str]:
    """Return the text of every generated file, by its path below ``root``.

    Of a page that is written by hand but for one part, the rest is taken from the page itself.
    """
    return {
        **_of_the_code(),
        "docs/verification.md": _renewed(root / "docs/verification.md", "checks", check_table()),
        "docs/verification-report.md": _renewed(
            root / "docs/verification-report.md", "fields", verify_document.field_tables()
        ),
    }


@functools.cache
def _of_the_code() -> dict[str, str]:
    """Return what follows from the code alone, which takes seconds and stays as it is."""
    own = Path(__file__).resolve().parents[2]
    return {
        **{f"recipes/{name}": schema_text(name) for name in SCHEMAS},
        "wheels/manifest.schema.json": build_manifest.schema_text(),
        "verify/report/verify.schema.json": verify_document.schema_text(),
        picture.FILE: picture.draw(own),
        "docs/commands.md": commands.page(),
        "docs/reference.md": reference.page(own),
    }


def _renewed(page: Path, name: str, part: str) -> str:
    """Return a page with its generated part renewed.

    Raises
    ------
    ValueError
        When the page has lost the marks around that part.
    """
    begin, end = f"<!-- {name}: begin (generated) -->", f"<!-- {name}: end -->"
    before, opened, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"{page.name} has lost the lines {begin} and {end}: put them back")
    return f"{before}{begin}\n{part}\n{end}{after}"
