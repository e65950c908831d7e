"""The surface beside what the sources use: sentences for each way in which they can differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import SourceError
from tests.kit.surface_examples import HEADER, declaration, surface
from tests.surface.check import (
    check_availability,
    check_declarations,
    check_object,
    check_uses,
    summary,
)
from tests.surface.symbols import MachSymbols
from tests.surface.uses import (
    Use,
    ninja_flags,
    read_sources,
    replaced_uses,
    unnamed_sources,
    uses_in_tree,
)

THING = declaration("class", "NSThing", bases=("NSBase", "NSCounting"))
BASE = declaration("class", "NSBase")
COUNTING = declaration("protocol", "NSCounting")
COUNT = declaration("method", "countFor:", owner="NSCounting", result="NSSize", parameters=("id",))
SIZE = declaration("type", "NSSize", result="long")
MAKE = declaration(
    "method", "make", name="+[NSThing make]", owner="NSThing", class_level=True, result="NSThing *"
)
ALL = surface(THING, BASE, COUNTING, COUNT, SIZE, MAKE)


def message(name: str, receiver: str, **more: bool) -> Use:
    return Use(kind="message", name=name, receiver=receiver, source="model.mm", **more)


def test_a_surface_in_order_has_nothing_to_say() -> None:
    uses = [message("make", "NSThing", class_level=True), message("countFor:", "NSThing")]
    assert check_declarations(ALL) == []
    assert check_uses(ALL, uses) == []
    assert summary(ALL) == {"class": 2, "protocol": 1, "method": 2, "type": 1}


def test_a_declaration_that_stands_twice_is_named_with_both_places() -> None:
    again = replace(MAKE, line=9)
    assert check_declarations(surface(MAKE, again)) == [
        f"{HEADER}:9: +[NSThing make] is declared twice, first at {HEADER}:3"
    ]


def test_an_instance_and_a_class_method_of_one_name_are_two() -> None:
    other = replace(MAKE, name="-[NSThing make]", class_level=False)
    assert check_declarations(surface(MAKE, other)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"documentation": ""}, "names no documentation page"),
        ({"documentation": "Foundation > NSThing > other"}, "ends in other"),
        ({"documentation": "Foundation > NSOther > make"}, "is not below NSThing"),
        ({"available": ""}, "has no API_AVAILABLE"),
        ({"stated": "yes"}, "does not say since which macOS"),
        ({"stated": "10.1"}, "says macOS 10.1 and its attribute says 10.0"),
    ],
)
def test_what_a_declaration_must_say_of_itself(change: dict[str, str], said: str) -> None:
    found = check_declarations(surface(replace(MAKE, **change)))
    assert len(found) == 1
    assert said in found[0]
    assert (
        found[0].startswith(f"{HEADER}:3: +[NSThing make] ")
        or "page of +[NSThing make]" in (found[0])
    )


def test_a_declaration_newer_than_the_promised_macos_is_named() -> None:
    found = check_availability(surface(replace(MAKE, available="14.0"), SIZE), "13.3")
    assert found == [
        f"{HEADER}:3: +[NSThing make] is available since macOS 14.0, and the wheel promises 13.3"
    ]


def test_a_message_that_nothing_declares_is_named_with_its_source() -> None:
    found = check_uses(
        ALL,
        [
            message("countFor:", "NSThing"),
            message("draw", "NSThing"),
            message("make", "NSThing", class_level=True),
        ],
    )
    assert found == ["model.mm sends -[NSThing draw], which the surface does not declare"]


def test_a_class_method_does_not_answer_for_an_instance() -> None:
    found = check_uses(ALL, [message("make", "NSThing"), message("countFor:", "NSThing")])
    assert "model.mm sends -[NSThing make], which the surface does not declare" in found


def test_the_runtimes_own_methods_need_no_declaration() -> None:
    uses = [
        message("alloc", "NSThing", class_level=True),
        message("init", "NSThing"),
        message("make", "NSThing", class_level=True),
        message("countFor:", "NSThing"),
    ]
    assert check_uses(ALL, uses) == []


def test_what_no_source_uses_is_too_much() -> None:
    found = check_uses(ALL, [message("make", "NSThing", class_level=True)])
    assert found == [
        f"{HEADER}:3: NSCounting is declared and no source uses it",
        f"{HEADER}:3: -[NSCounting countFor:] is declared and no source uses it",
        f"{HEADER}:3: NSSize is declared and no source uses it",
    ]


def test_a_superclass_and_a_type_in_a_signature_count_as_used() -> None:
    found = check_uses(ALL, [message("countFor:", "NSThing")])
    assert not any("NSSize" in each or "NSCounting " in each for each in found)
    assert f"{HEADER}:3: NSThing is declared and no source uses it" in found


def test_an_object_keeps_the_walk_through_the_source_honest() -> None:
    functions = surface(*ALL.declarations, declaration("function", "NSLog"))
    symbols = MachSymbols(
        undefined={"_OBJC_CLASS_$_NSThing": "", "_NSLog": "", "_memcpy": "", "_OBJC_CLASS_$_X": ""},
        selectors=frozenset({"make", "hidden"}),
    )
    found = check_object(
        functions, "model.mm", [message("make", "NSThing", class_level=True)], symbols
    )
    assert found == [
        "the object of model.mm sends hidden, which the walk through the source did not find",
        "the object of model.mm refers to NSLog, which the walk through the source did not find",
        "the object of model.mm refers to X, which the walk through the source did not find",
    ]


def test_uses_are_found_in_a_syntax_tree() -> None:
    tree = [
        {
            "kind": "FunctionDecl",
            "inner": [
                {
                    "kind": "ObjCMessageExpr",
                    "selector": "count",
                    "type": {"qualType": "NSUInteger"},
                    "inner": [{"kind": "X", "type": {"qualType": "const NSArray<NSNumber *> *"}}],
                },
                {
                    "kind": "ObjCMessageExpr",
                    "selector": "make",
                    "classType": {"qualType": "NSThing"},
                },
                {
                    "kind": "ObjCMessageExpr",
                    "selector": "featureValueForName:",
                    "inner": [{"kind": "X", "type": {"qualType": "id<MLFeatureProvider>"}}],
                },
                {
                    "kind": "DeclRefExpr",
                    "referencedDecl": {"kind": "FunctionDecl", "name": "NSLog"},
                },
                {"kind": "ObjCStringLiteral", "type": {"qualType": "NSString *"}},
                {
                    "kind": "ObjCForCollectionStmt",
                    "inner": [{"kind": "X"}, {"kind": "X", "type": {"qualType": "NSSet *"}}],
                },
            ],
        }
    ]
    found = {(u.kind, u.name, u.receiver, u.class_level) for u in uses_in_tree(tree, "a.mm")}
    assert {
        ("message", "count", "NSArray", False),
        ("message", "make", "NSThing", True),
        ("message", "featureValueForName:", "MLFeatureProvider", False),
        ("message", "countByEnumeratingWithState:objects:count:", "NSSet", False),
        ("function", "NSLog", "", False),
        ("type", "NSString", "", False),
        ("type", "NSNumber", "", False),
    } <= found


def test_a_construct_that_the_walk_does_not_know_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(SourceError, match=r"a\.mm holds a ObjCBoxedExpr"):
        list(uses_in_tree([{"kind": "ObjCBoxedExpr"}], "a.mm"))


def make_tree(tmp_path: Path, ninja: str) -> tuple[Path, Path]:
    surface_folder, tree = tmp_path / "apple", tmp_path / "tree"
    (surface_folder / "System/Library/Frameworks/Foundation.framework").mkdir(parents=True)
    (surface_folder / "sources.toml").write_text(
        '[[source]]\nfile = "a.mm"\nwithin = "ort"\nlike = "b.cc"\n'
    )
    (tree / "build" / "Release").mkdir(parents=True)
    (tree / "a.mm").write_text("#import <Foundation/Foundation.h>\n")
    (tree / "b.cc").write_text("#include <vector>\n#include <Accelerate/Accelerate.h>\n")
    (tree / "c.cc").write_text("  #  include <Foundation/NSString.h>\n")
    (tree / "build" / "Release" / "build.ninja").write_text(ninja.replace("@", str(tree)))
    return surface_folder, tree


NINJA = (
    "build a.o: OBJCXX_COMPILER__x @/a.mm\n  DEFINES = -DA\n"
    "build b.o: CXX_COMPILER__x @/b.cc\n  DEFINES = -DB\n"
    "build c.o: CXX_COMPILER__x @/c.cc\n"
)


def test_a_source_that_includes_a_framework_and_is_not_named(tmp_path: Path) -> None:
    assert unnamed_sources(*make_tree(tmp_path, NINJA)) == [
        "c.cc includes <Foundation/…>, and sources.toml does not name it"
    ]


def test_a_source_has_its_own_flags_or_its_neighbours(tmp_path: Path) -> None:
    surface_folder, tree = make_tree(tmp_path, NINJA)
    (source,) = read_sources(surface_folder, tree)
    assert source.arguments == ("-DA", "-fobjc-arc", str(tree / "a.mm"))
    ninja = tree / "build" / "Release" / "build.ninja"
    ninja.write_text("\n".join(ninja.read_text().splitlines()[2:]))
    (source,) = read_sources(surface_folder, tree)
    assert source.flags == ("-DB", "-std=gnu++20")


def test_a_tree_that_lacks_something_is_named(tmp_path: Path) -> None:
    surface_folder, tree = make_tree(tmp_path, "")
    with pytest.raises(SourceError, match=r"nothing says how a\.mm is compiled"):
        read_sources(surface_folder, tree)
    (tree / "a.mm").unlink()
    with pytest.raises(SourceError, match=r"a\.mm is not in"):
        read_sources(surface_folder, tree)
    (tree / "build" / "Release" / "build.ninja").unlink()
    with pytest.raises(SourceError, match="has not been configured"):
        read_sources(surface_folder, tree)


def test_flags_of_a_ninja_file() -> None:
    text = (
        "build a.o: CXX_COMPILER__x_unscanned_Release /s/a.cc || y\n"
        "  DEFINES = -DA=1 -DB\n"
        "  FLAGS = -O3 -Wall -std=gnu++20 -arch arm64\n"
        "  INCLUDES = -I/s/include -isystem /s/gsl\n"
        "\n"
        "build b.o: C_COMPILER__x /s/b.c\n"
        "  DEFINES = -DC\n"
        "build lib.a: CXX_STATIC_LIBRARY_LINKER__x a.o\n"
        "  FLAGS = -DNOT\n"
    )
    assert ninja_flags(text) == {
        "/s/a.cc": ("-DA=1", "-DB", "-std=gnu++20", "-I/s/include", "-isystem", "/s/gsl"),
        "/s/b.c": ("-DC",),
    }


def test_what_a_patch_replaces_is_used_by_a_build_without_it(tmp_path: Path) -> None:
    patch = "--- a/m.mm\n+++ b/m.mm\n@@ -1,2 +1,2 @@\n-x = [NSURL URLWithString:p];\n"
    patch += "+x = [NSURL fileURLWithPath:p];\n y = [NSThing make:x];\n"
    (tmp_path / "one.patch").write_text(patch)
    (found,) = replaced_uses(tmp_path)
    assert (found.receiver, found.name, found.class_level) == ("NSURL", "URLWithString:", True)
