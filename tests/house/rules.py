"""The rules of the house. Each takes a checkout and returns what breaks it, one line each."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.house.repeats import same_shape
from tests.house.source import PACKAGES, House, Import, Module, When, circles

MODULES_IN_A_FOLDER = 14
REPEATED_NAMES = 3
LINES_OF_A_FUNCTION = 80
PARAMETERS = 8
PRODUCT_LINES = 32_500
# `python -m tests.house.repeats` at 7a7d56a, of the same shape; none had the same lines.
REPEATS_AT_FIRST = 13
# The wheel under test, and what it cannot be imported without.
BARE = frozenset({"numpy", "onnxruntime"})
MODULES_OF = {"protobuf": "google"}


def packages_apart(house: House) -> list[str]:
    """`build` and `verify` never import each other."""
    return [
        str(each)
        for found in house.imports.values()
        for each in found
        if (other := each.target.partition(".")[0]) in PACKAGES
        and other != each.source.partition(".")[0]
    ]


def no_circle_between_rooms(house: House) -> list[str]:
    """No folder reaches itself through another one, lazy and typing imports included."""
    rooms: dict[str, set[str]] = defaultdict(set)
    by: dict[tuple[str, str], Import] = {}
    for found in house.imports.values():
        for each in found:
            if each.target in house.modules:
                ends = house.modules[each.source].room, house.modules[each.target].room
                if ends[0] != ends[1]:
                    rooms[ends[0]].add(ends[1])
                    by.setdefault(ends, each)
    problems = []
    for group in circles({room: frozenset(others) for room, others in rooms.items()}):
        inner = [str(each) for ends, each in sorted(by.items()) if {*ends} <= {*group}]
        problems.append(f"{', '.join(group)}: {'; '.join(inner)}")
    return problems


def no_circle_at_load(house: House) -> list[str]:
    """No module reaches itself while it is being loaded."""
    return [", ".join(group) for group in circles(house.edges(When.LOAD))]


def small_folders(house: House) -> list[str]:
    """No folder holds more modules than a reader keeps apart, its ``__init__`` counted."""
    sizes = Counter(module.file.parent for module in house.modules.values())
    return [
        f"{folder.relative_to(house.root)}: {count} modules"
        for folder, count in sorted(sizes.items())
        if count > MODULES_IN_A_FOLDER
    ]


def names_tell_apart(house: House) -> list[str]:
    """A base name is used once in a package; at most three are used again, in another room."""
    problems = []
    for package in PACKAGES:
        rooms: dict[str, list[str]] = defaultdict(list)
        for module in house.modules.values():
            if module.package == package and module.file.stem not in {"__init__", "__main__"}:
                rooms[module.file.stem].append(module.room)
        again = {name: where for name, where in sorted(rooms.items()) if len(where) > 1}
        problems += [
            f"{package}: {name} twice in one room ({', '.join(where)})"
            for name, where in again.items()
            if len(where) != len({*where})
        ]
        if sum(len(where) - 1 for where in again.values()) > REPEATED_NAMES:
            told = "; ".join(f"{name} in {', '.join(where)}" for name, where in again.items())
            problems.append(
                f"{package}: more than {REPEATED_NAMES} modules have a name again: {told}"
            )
    return problems


def short_functions(house: House) -> list[str]:
    """No function is longer than a screen: its docstring counts, its decorators do not."""
    return [
        f"{module.name}:{function.lineno} {function.name}: {lines} lines"
        for module, function, _ in _functions(house)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LINES_OF_A_FUNCTION
    ]


def short_signatures(house: House) -> list[str]:
    """No function asks for more than eight things, `self` and `cls` not counted."""
    problems = []
    for module, function, bound in _functions(house):
        given = function.args
        count = len([*given.posonlyargs, *given.args, *given.kwonlyargs]) - bound
        count += sum(each is not None for each in (given.vararg, given.kwarg))
        if count > PARAMETERS:
            problems.append(f"{module.name}:{function.lineno} {function.name}: {count} parameters")
    return problems


def _functions(
    house: House,
) -> Iterator[tuple[Module, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Yield every function with whether its first parameter is `self` or `cls`."""
    for module in house.modules.values():
        methods = {
            id(each)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.ClassDef)
            for each in node.body
        }
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                static = any(
                    isinstance(each, ast.Name) and each.id == "staticmethod"
                    for each in node.decorator_list
                )
                yield module, node, id(node) in methods and not static


def inside_is_bare(house: House) -> list[str]:
    """`_inside` modules load with the bare environment, and call nothing that is not in it.

    What they load, directly or not, is the standard library, numpy and onnxruntime. A function of
    an `_inside` module may import what `verify/requirements/target.in` installs as well.
    """
    inside = [name for name in house.modules if name.endswith("_inside")]
    if not inside:
        return ["no module is named _inside"]
    installed = BARE | _installed(house.root / "verify" / "requirements" / "target.in")
    problems = []
    for start in inside:
        for each, chain in _loaded(house, start):
            problems += _strangers(house, each, chain, BARE, When.LOAD)
        for later in house.imports[start]:
            if later.when is When.CALL and later.target in house.modules:
                for each, chain in _loaded(house, later.target):
                    problems += _strangers(house, each, [start, *chain], installed, When.LOAD)
        problems += _strangers(house, start, [start], installed, When.CALL)
    return sorted({*problems})


def _installed(file: Path) -> frozenset[str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    names = [re.split(r"[^\w.-]", line)[0] for line in lines if line.strip() and line[0] != "#"]
    return frozenset(MODULES_OF.get(name, name.replace("-", "_")) for name in names)


def _loaded(house: House, start: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what loading a module loads, the folders' ``__init__`` too, and the way there."""
    edges = house.edges(When.LOAD)
    waiting = [(start, [start])]
    seen = set()
    while waiting:
        name, chain = waiting.pop(0)
        if name in seen or name not in house.modules:
            continue
        seen.add(name)
        yield name, chain
        folders = [name.rsplit(".", up)[0] for up in range(1, name.count(".") + 1)]
        waiting += [(each, [*chain, each]) for each in (*sorted(edges[name]), *folders)]


def _strangers(
    house: House, name: str, chain: list[str], allowed: frozenset[str], when: When
) -> Iterator[str]:
    for each in house.imports[name]:
        top = each.target.partition(".")[0]
        ours = top in PACKAGES
        if each.when is when and not (ours or top in allowed or top in sys.stdlib_module_names):
            yield f"{' -> '.join([*chain, each.target])} (line {each.line})"


def few_lines(house: House) -> list[str]:
    """The product, Python of both packages, stays small enough to be read."""
    lines = sum(len(module.text.splitlines()) for module in house.modules.values())
    return [f"{lines} lines"] if lines > PRODUCT_LINES else []


def few_repeats(house: House) -> list[str]:
    """At most a third of the repeated passages that there were before the rooms."""
    found = same_shape(house)
    limit = REPEATS_AT_FIRST // 3
    if len(found) <= limit:
        return []
    return [
        "\n  ".join([f"{len(found)} passages are repeated, more than {limit}", *map(str, found)])
    ]
