"""`nox -l` is a menu: the groups on top name every session, in the order of the list below them."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 80


def _sessions(tree: ast.Module) -> dict[str, str]:
    """Return the first line about each session, by its name, in the order of definition."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(
            ast.unparse(mark).startswith("nox.session") for mark in node.decorator_list
        ):
            words = [word for mark in node.decorator_list for word in ast.walk(mark)]
            names = [ast.literal_eval(word.value) for word in words if _is_name(word)]
            found[names[0] if names else node.name] = (ast.get_docstring(node) or "").split("\n")[0]
    return found


def _is_name(node: ast.AST) -> TypeGuard[ast.keyword]:
    return isinstance(node, ast.keyword) and node.arg == "name"


def test_the_menu_names_every_session_in_its_order() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    head = ast.get_docstring(tree) or ""
    groups = re.findall(r"^  (?:\w[\w ]*?)?  +(\S.*)$", head, re.MULTILINE)
    named = [name for group in groups for name in group.split()]
    assert named == list(_sessions(tree)), "put a new session into its group on top of noxfile.py"


def test_the_menu_fits_a_narrow_window() -> None:
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    lines = [f"- {name} -> {said}" for name, said in _sessions(tree).items()]
    lines += (ast.get_docstring(tree) or "").splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
