"""What each generated file must hold."""

from __future__ import annotations

from pathlib import Path

from build.package import manifest
from build.recipe.schema import SCHEMAS, schema_text
from tests.gen import commands, reference, verify_document
from tests.gen.check_table import check_table
from tests.house import picture


def generated(root: Path) -> dict[str, str]:
    """Return the text of every generated file, by its path below ``root``.

    Of a page that is written by hand but for one part, the rest is taken from the page itself.
    """
    return {
        **{f"recipes/{name}": schema_text(name) for name in SCHEMAS},
        "wheels/manifest.schema.json": manifest.schema_text(),
        "verify/report/verify.schema.json": verify_document.schema_text(),
        picture.FILE: picture.draw(Path(__file__).resolve().parents[2]),
        "docs/commands.md": commands.page(),
        "docs/reference.md": reference.page(Path(__file__).resolve().parents[2]),
        "docs/verification.md": _renewed(root / "docs/verification.md", "checks", check_table()),
        "docs/verification-report.md": _renewed(
            root / "docs/verification-report.md", "fields", verify_document.field_tables()
        ),
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
