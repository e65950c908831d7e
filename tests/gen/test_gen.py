"""Generated files are fresh, and one that is not is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.gen.__main__ import ROOT, main
from tests.gen.files import generated


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in generated(ROOT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_generated_file_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_every_schema_and_page_is_generated() -> None:
    names = generated(ROOT)
    schemas = {str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.schema.json")}
    assert {name for name in schemas if not name.startswith(".")} <= names.keys()
    assert {"docs/commands.md", "docs/verification.md", "docs/verification-report.md"} <= {*names}


@pytest.mark.parametrize("name", generated(ROOT))
def test_a_stale_file_is_named_and_written_again(
    checkout: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = checkout / name
    fresh = file.read_text(encoding="utf-8")
    words = {
        "docs/verification.md": "`macho.load`",
        "docs/commands.md": "usage:",
        "docs/architecture.svg": "verdict",
    }
    word = words.get(name, "object")
    assert word in fresh
    file.write_text(fresh.replace(word, "?", 1), encoding="utf-8")
    assert main(["--check"], checkout) == 1
    assert f"stale: {name}\n" in capsys.readouterr().out
    assert file.read_text(encoding="utf-8") != fresh
    assert main([], checkout) == 0
    assert capsys.readouterr().out.startswith(f"written: {name}\n")
    assert file.read_text(encoding="utf-8") == fresh


def test_what_is_missing_is_written(checkout: Path) -> None:
    (checkout / "docs" / "commands.md").unlink()
    assert main(["--check"], checkout) == 1
    assert main([], checkout) == 0
    assert main(["--check"], checkout) == 0


def test_a_page_without_its_marks_is_named(checkout: Path) -> None:
    page = checkout / "docs" / "verification.md"
    page.write_text(page.read_text("utf-8").replace("<!-- checks: end -->", ""), encoding="utf-8")
    with pytest.raises(ValueError, match=r"verification\.md has lost the lines"):
        main(["--check"], checkout)


def test_every_command_and_every_check_is_on_its_page() -> None:
    pages = generated(ROOT)
    for command in ("build run", "build recipe check", "verify run", "verify compare"):
        assert f"### python -m {command}\n" in pages["docs/commands.md"]
    for check in ("wheel.identity", "macho.wheel"):
        assert f"\n| `{check}` |" in pages["docs/verification.md"]
