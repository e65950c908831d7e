"""Every rule of the house on a tiny tree that breaks it, and on the same tree mended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.house import rules
from tests.house.source import House, When

Rule = Callable[[House], list[str]]


def house(root: Path, files: dict[str, str]) -> House:
    """Write a checkout; every folder gets an empty ``__init__`` unless one is given."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
        for folder in file.relative_to(root).parents:
            if str(folder) != "." and not (root / folder / "__init__.py").exists():
                (root / folder / "__init__.py").touch()
    return House(root)


def function(lines: int, signature: str = "") -> str:
    return f"def long({signature}):\n" + "    x = 1\n" * (lines - 1)


BROKEN: dict[str, tuple[Rule, dict[str, str], str]] = {
    "an absolute import": (
        rules.packages_apart,
        {"build/a.py": "import verify.b", "verify/b.py": ""},
        "build.a:1 imports verify.b",
    ),
    "an import in a function": (
        rules.packages_apart,
        {"build/a.py": "", "verify/b/c.py": "def f():\n    from build.a import x"},
        "verify.b.c:2 imports build.a",
    ),
    "an import for the types": (
        rules.packages_apart,
        {
            "build/a.py": """\
            import typing
            if typing.TYPE_CHECKING:
                from verify import b
            """,
            "verify/b.py": "",
        },
        "build.a:3 imports verify.b",
    ),
    "an import by its name": (
        rules.packages_apart,
        {"build/a.py": "import importlib\nimportlib.import_module('verify.b')", "verify/b.py": ""},
        "build.a:2 imports verify.b",
    ),
    "two rooms, one way lazy": (
        rules.no_circle_between_rooms,
        {
            "build/fetch/origins/git.py": "def f():\n    from ...tree import lay",
            "build/tree/lay.py": "from ..fetch.cache import x",
            "build/fetch/cache.py": "",
        },
        "build.fetch, build.tree: build.fetch.origins.git:2 imports build.tree.lay; "
        "build.tree.lay:1 imports build.fetch.cache",
    ),
    "two rooms, one way for the types": (
        rules.no_circle_between_rooms,
        {
            "verify/run/a.py": "from ..policy import b",
            "verify/policy/b.py": """\
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from verify.run.a import A
            """,
        },
        "verify.policy, verify.run: verify.policy.b:3 imports verify.run.a; "
        "verify.run.a:1 imports verify.policy.b",
    ),
    "three rooms": (
        rules.no_circle_between_rooms,
        {
            "build/a/x.py": "import build.b.y",
            "build/b/y.py": "from ..c import z",
            "build/c/z.py": "from ..a.x import name",
        },
        "build.a, build.b, build.c: build.a.x:1 imports build.b.y; "
        "build.b.y:1 imports build.c.z; build.c.z:1 imports build.a.x",
    ),
    "a module on top and a room": (
        rules.no_circle_between_rooms,
        {"build/cli.py": "from .a import x", "build/a/x.py": "from build.cli import main"},
        "build.a, build.cli: build.a.x:1 imports build.cli; build.cli:1 imports build.a.x",
    ),
    "two modules of one room": (
        rules.no_circle_at_load,
        {
            "build/a/x.py": "from . import y",
            "build/a/deep/z.py": "from ..x import name",
            "build/a/y.py": "try:\n    from .deep.z import name\nexcept ImportError:\n    pass",
        },
        "build.a.deep.z, build.a.x, build.a.y",
    ),
    "a folder and what is in it": (
        rules.no_circle_at_load,
        {"verify/a/__init__.py": "from .x import name", "verify/a/x.py": "from . import other"},
        "verify.a, verify.a.x",
    ),
    "fifteen modules": (
        rules.small_folders,
        {f"build/a/m{number}.py": "" for number in range(14)},
        "build/a: 15 modules",
    ),
    "one name twice in a room": (
        rules.names_tell_apart,
        {"build/a/x.py": "", "build/a/deep/x.py": ""},
        "build: x twice in one room (build.a, build.a)",
    ),
    "one name in five rooms": (
        rules.names_tell_apart,
        {f"build/{room}/x.py": "" for room in "abcde"},
        "build: more than 3 modules have a name again: "
        "x in build.a, build.b, build.c, build.d, build.e",
    ),
    "a function of 81 lines": (
        rules.short_functions,
        {"verify/a.py": "@decorated\n" + function(81)},
        "verify.a:2 long: 81 lines",
    ),
    "nine parameters": (
        rules.short_signatures,
        {"build/a.py": "def f(a, /, b, c, d, e, *, f, g, h, **i): ..."},
        "build.a:1 f: 9 parameters",
    ),
    "nine parameters of a method": (
        rules.short_signatures,
        {"build/a.py": "class A:\n    def f(self, a, b, c, d, e, f, g, h, *i): ..."},
        "build.a:2 f: 9 parameters",
    ),
    "nine parameters of a static method": (
        rules.short_signatures,
        {"build/a.py": "class A:\n    @staticmethod\n    def f(a, b, c, d, e, f, g, h, i): ..."},
        "build.a:3 f: 9 parameters",
    ),
    "a stranger loaded by another module": (
        rules.inside_is_bare,
        {
            "verify/a/x_inside.py": "import json\nimport numpy.linalg\nfrom .y import name",
            "verify/a/y.py": "from ..b import z",
            "verify/b/z.py": "import pydantic",
        },
        "verify.a.x_inside -> verify.a.y -> verify.b.z -> pydantic (line 1)",
    ),
    "a stranger loaded by a folder": (
        rules.inside_is_bare,
        {"verify/a/__init__.py": "import rich", "verify/a/x_inside.py": ""},
        "verify.a.x_inside -> verify.a -> rich (line 1)",
    ),
    "a stranger in a function": (
        rules.inside_is_bare,
        {
            "verify/a/x_inside.py": "def f():\n    import scipy",
            "verify/requirements/target.in": "# what it holds\nonnx>=1\n",
        },
        "verify.a.x_inside -> scipy (line 2)",
    ),
    "a stranger loaded by a function": (
        rules.inside_is_bare,
        {
            "verify/a/x_inside.py": "def f():\n    from .y import name",
            "verify/a/y.py": "import scipy",
        },
        "verify.a.x_inside -> verify.a.y -> scipy (line 1)",
    ),
    "what is installed, but loaded": (
        rules.inside_is_bare,
        {"verify/a/x_inside.py": "import onnx", "verify/requirements/target.in": "onnx\n"},
        "verify.a.x_inside -> onnx (line 1)",
    ),
    "no module inside": (
        rules.inside_is_bare,
        {"verify/a/x.py": ""},
        "no module is named _inside",
    ),
    "too many lines": (
        rules.few_lines,
        {"build/a.py": "x = 1\n" * 32_000, "verify/a.py": "x = 1\n" * 501},
        "32501 lines",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_reported(name: str, tmp_path: Path) -> None:
    rule, files, problem = BROKEN[name]
    assert rule(house(tmp_path, files)) == [problem]


KEPT: dict[str, tuple[Rule, dict[str, str]]] = {
    "each imports its own": (
        rules.packages_apart,
        {
            "build/a.py": "from . import b\nimport verify_something",
            "build/b.py": "",
            "verify/c.py": "import verify.d",
            "verify/d.py": "",
        },
    ),
    "rooms in order": (
        rules.no_circle_between_rooms,
        {
            "build/fetch/origins/git.py": "from ..cache import x",
            "build/fetch/cache.py": "def f():\n    from .origins import git",
            "build/tree/lay.py": "from ..fetch.cache import x\nfrom ..errors import E",
            "build/errors.py": "",
            "build/cli.py": "from .tree import lay",
        },
    ),
    "a circle that is not closed at load": (
        rules.no_circle_at_load,
        {
            "build/a/x.py": "from . import y",
            "build/a/y.py": """\
            from typing import TYPE_CHECKING
            if TYPE_CHECKING:
                from .x import name
            def f():
                from .x import name
            """,
        },
    ),
    "fourteen modules": (
        rules.small_folders,
        {f"build/a/m{number}.py": "" for number in range(13)},
    ),
    "three names again": (
        rules.names_tell_apart,
        {
            **{f"build/{room}/{name}.py": "" for room in "ab" for name in "xyz"},
            "build/__main__.py": "",
            "build/a/__main__.py": "",
            "verify/a/x.py": "",
        },
    ),
    "a function of 80 lines": (
        rules.short_functions,
        {"verify/a.py": "@decorated\n@twice\n" + function(80)},
    ),
    "eight parameters": (
        rules.short_signatures,
        {
            "build/a.py": """\
            class A:
                a: int; b: int; c: int; d: int; e: int; f: int; g: int; h: int; i: int
                def f(self, a, b, c, d, e, *, f, g, h): ...
                @classmethod
                def g(cls, a, b, c, d, e, *, f, g, h): ...
            def f(a, b, c, d, e, f, g, *, h): ...
            """
        },
    ),
    "a bare module": (
        rules.inside_is_bare,
        {
            "verify/a/x_inside.py": """\
            from typing import TYPE_CHECKING
            import json, numpy, onnxruntime
            from . import y
            if TYPE_CHECKING:
                from pydantic import BaseModel
            def f():
                import psutil, google.protobuf, numpy
            """,
            "verify/a/y.py": "def host():\n    import scipy",
            "verify/requirements/target.in": "psutil\nprotobuf>=5\n",
        },
    ),
    "few lines": (rules.few_lines, {"build/a.py": "x = 1\n" * 32_500}),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_rule_is_silent(name: str, tmp_path: Path) -> None:
    rule, files = KEPT[name]
    assert rule(house(tmp_path, files)) == []


def test_imports_are_resolved(tmp_path: Path) -> None:
    tree = house(
        tmp_path,
        {
            "build/__init__.py": "from .a import b as c",
            "build/a/__init__.py": "from . import b, name",
            "build/a/b.py": "from .. import a, other\nfrom os import path",
        },
    )
    assert [each.target for each in tree.imports["build"]] == ["build.a.b"]
    assert [each.target for each in tree.imports["build.a"]] == ["build.a.b", "build.a"]
    assert [each.target for each in tree.imports["build.a.b"]] == ["build.a", "build", "os"]
    assert tree.edges(When.LOAD)["build.a"] == {"build.a.b"}
