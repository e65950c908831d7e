"""Type encodings, the documentation's table and pyobjc's records, without a compiler."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.errors import WheelError
from tests.kit.surface_examples import HEADER, declaration, surface
from tests.surface import oracle as surface_oracle
from tests.surface.encodings import Signature, block_parts, plain, split_encoding
from tests.surface.model import Surface
from tests.surface.oracle import Metadata, oracle_text, protocol_names, read_metadata
from tests.surface.records import Oracle, Recorded, Row, Table, check_table, read_oracle, read_table
from tests.surface.types import compare_documented, compare_recorded

APPLE = Path(__file__).resolve().parents[2] / "recipes" / "overlays" / "apple"
PAGE = "Foundation > NSThing > copyBytes:with:error:"
NAME = "-[NSThing copyBytes:with:error:]"
TYPES = ("BOOL", "const void *", "void (^)(void *, NSInteger)", "NSError **")
PARTS = ("B", "@", ":", "r^v", "@?<v@?^vq>", "^@")

simple = st.sampled_from(list("cislqCISLQfdBv*@#:"))
names = st.from_regex(r"[A-Z][A-Za-z]{0,8}", fullmatch=True)
types = st.recursive(
    simple
    | names.map(lambda n: f'@"{n}"')
    | names.map(lambda n: f'@"<{n}>"')
    | st.integers(1, 64).map(lambda n: f"b{n}"),
    lambda inner: st.one_of(
        inner.map(lambda t: f"^{t}"),
        st.tuples(names, st.lists(inner, max_size=3)).map(lambda p: f"{{{p[0]}={''.join(p[1])}}}"),
        st.tuples(st.integers(1, 9), inner).map(lambda p: f"[{p[0]}{p[1]}]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda p: f"@?<{p[0]}@?{''.join(p[1:])}>"),
    ),
    max_leaves=6,
)
qualified = st.tuples(st.sampled_from(["", "r", "n", "o", "N", "V"]), types).map("".join)


@given(st.lists(st.tuples(qualified, st.integers(0, 999)), min_size=1, max_size=6))
def test_an_encoding_is_taken_apart_where_its_types_end(parts: list[tuple[str, int]]) -> None:
    # A bit field's width and an offset are both digits: nothing could tell them apart.
    text = "".join(f"{t}{'' if re.search(r'b[0-9]+$', t) else offset}" for t, offset in parts)
    assert split_encoding(text) == tuple(t for t, _ in parts)


@pytest.mark.parametrize("text", ["{x=", "^", "r", '@"NSString', "@?<v@?", "[3q", "b"])
def test_what_is_no_encoding_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text)[1:-1].lstrip("'"))):
        split_encoding(text)


def test_blocks_and_bare_types() -> None:
    assert block_parts("@?<v@?r^vq>") == ("v", "@?", "r^v", "q")
    assert block_parts("@?") is None
    assert [plain(each) for each in ('r^@"NSError"', "@?<v@?>", "n^v", 'r@"X"', "B")] == [
        "^@",
        "@?",
        "^v",
        "@",
        "B",
    ]


def thing(result: str, *parameters: str) -> Surface:
    return surface(
        declaration(
            "method", "copyBytes:with:error:", owner="NSThing", result=result,
            parameters=parameters,
        )
    )  # fmt: skip


def signature(*parts: str) -> dict[str, Signature]:
    return {NAME: Signature(name=NAME, parts=parts, where=f"{HEADER}:3")}


TABLE = Table(rows={NAME: Row(page=PAGE, types=TYPES, encoding=PARTS)}, constants={})
DECLARED = (
    "BOOL",
    "const void * _Nonnull",
    "void (^ _Nonnull __strong)(void * _Nonnull, NSInteger)",
    "NSError * _Nullable __autoreleasing * _Nullable",
)


def test_nullability_ownership_and_spacing_make_no_difference() -> None:
    assert compare_documented(thing(*DECLARED), signature(*PARTS), TABLE) == []


@pytest.mark.parametrize(
    ("place", "spelt", "encoded", "said"),
    [
        (0, "int", "i", "the result is encoded as 'i', and as 'B' by its documentation page"),
        (1, "void *", "^v", "argument 1 is encoded as '^v', and as 'r^v'"),
        (
            2,
            "void (^)(void *, int)",
            "@?<v@?^vi>",
            "argument 2 is encoded as '@?<v@?^vi>', and as '@?<v@?^vq>'",
        ),
        (3, "NSError *", '@"NSError"', "argument 3 is encoded as '@\"NSError\"', and as '^@'"),
    ],
)
def test_a_type_that_differs_from_its_page(place: int, spelt: str, encoded: str, said: str) -> None:
    written, parts = list(DECLARED), list(PARTS)
    written[place], parts[place if place == 0 else place + 2] = spelt, encoded
    found = compare_documented(thing(*written), signature(*parts), TABLE)
    assert len(found) == 2
    assert found[0].startswith(f"{HEADER}:3: {NAME}: {said}")
    assert "is spelt as" in found[1]


def test_a_type_whose_encoding_hides_the_difference_is_seen_by_its_spelling() -> None:
    written = list(DECLARED)
    written[2] = "void (^)(const void *, NSInteger)"
    found = compare_documented(thing(*written), signature(*PARTS), TABLE)
    assert found == [
        f"{HEADER}:3: {NAME}: argument 2 is spelt as 'void(^)(const void*,NSInteger)', and as "
        "'void(^)(void*,NSInteger)' by its documentation page"
    ]


def test_a_missing_argument() -> None:
    found = compare_documented(thing(*DECLARED[:3]), signature(*PARTS[:5]), TABLE)
    assert found[0] == f"{HEADER}:3: {NAME} takes 2 arguments, and 3 by its documentation page"


def test_a_name_that_one_side_lacks() -> None:
    assert compare_documented(surface(), {}, TABLE) == [
        f"encodings.toml has a row for {NAME}, which the surface does not declare"
    ]
    found = compare_documented(thing(*DECLARED), signature(*PARTS), Table(rows={}, constants={}))
    assert found == [f"{HEADER}:3: {NAME} is declared and encodings.toml has no row for it"]


def test_another_page_than_the_tables() -> None:
    one = thing(*DECLARED).declarations[0]
    other = surface(replace(one, documentation="Foundation > NSThing > other"))
    assert compare_documented(other, signature(*PARTS), TABLE) == [
        f"{HEADER}:3: {NAME} names the page 'Foundation > NSThing > other', encodings.toml {PAGE!r}"
    ]


def test_constants_beside_both_records() -> None:
    mine = surface(
        declaration("constant", "NSBig", value=4), declaration("constant", "NSNew", value=1)
    )
    table = Table(rows={}, constants={"NSBig": ("x", 2), "NSGone": ("x", 1)})
    assert compare_documented(mine, {}, table) == [
        f"{HEADER}:3: NSBig is 4, and 2 in encodings.toml",
        f"{HEADER}:3: NSNew is declared and encodings.toml does not know it",
        "encodings.toml has NSGone, which the surface does not declare",
    ]
    oracle = Oracle(constants={"NSBig": 3, "NSNew": 1}, functions={}, methods={})
    assert compare_recorded(mine, {}, oracle) == [f"{HEADER}:3: NSBig is 4, and 3 in oracle.toml"]


RECORDED = Recorded(parts={0: "Z"}, blocks={4: ("v", "^v", "q")}, pointers=(5,))


def recorded(*parts: str, **functions: Recorded) -> list[str]:
    oracle = Oracle(constants={}, functions=functions, methods={NAME: RECORDED})
    return compare_recorded(surface(), signature(*parts), oracle)


def test_pyobjc_agrees_with_what_is_right() -> None:
    assert recorded(*PARTS) == []


@pytest.mark.parametrize(
    ("place", "part", "said"),
    [
        (0, "i", "the result is encoded as 'i', and as 'Z' in pyobjc"),
        (4, "@?<v@?^vi>", "the block in argument 2 is 'v ^v i', and 'v ^v q' in pyobjc"),
        (4, "@?<v@?^v>", "the block in argument 2 is 'v ^v', and 'v ^v q' in pyobjc"),
        (4, '@"NSString"', "argument 2 is no block"),
        (5, '@"NSError"', "argument 3 is no pointer ('@\"NSError\"'), and is passed by reference"),
    ],
)
def test_pyobjc_disagrees(place: int, part: str, said: str) -> None:
    parts = list(PARTS)
    parts[place] = part
    found = recorded(*parts)
    assert len(found) == 1
    assert said in found[0]


def test_a_function_beside_pyobjc() -> None:
    mine = surface(declaration("function", "CFThing"))
    truth = {"CFThing": Signature(name="CFThing", parts=("C", "^v"), where=f"{HEADER}:3")}
    known = Recorded(parts={0: "Z", 1: "@"}, blocks={})
    assert (
        compare_recorded(
            mine, truth, Oracle(constants={}, functions={"CFThing": known}, methods={})
        )
        == []
    )
    more = replace(known, parts={0: "Z", 1: "@", 2: "q"}, variadic=True)
    found = compare_recorded(
        mine, truth, Oracle(constants={}, functions={"CFThing": more}, methods={})
    )
    assert found == [
        f"{HEADER}:3: CFThing and pyobjc differ in whether it takes any number of arguments",
        f"{HEADER}:3: CFThing takes 1 arguments, and 2 in pyobjc",
    ]
    unknown = compare_recorded(mine, truth, Oracle(constants={}, functions={}, methods={}))
    assert unknown == [f"{HEADER}:3: pyobjc records no function CFThing"]


METADATA = '''
import objc
def sel32or64(a, b): return b
enums = """$NSBig@2$NSVersion@1404.5$NSSmall@-1$"""
functions = {
    "NSLog": (b"v@", "", {"variadic": True}),
    "NSThingGet": (sel32or64(b"i^v", b"q^v"),),
}
r = objc.registerMetaDataForSelector
r(b"NSThing", b"copyBytes:with:error:", {
    "retval": {"type": "Z"},
    "arguments": {
        3: {"callable": {"retval": {"type": b"v"},
                         "arguments": {0: {"type": b"^v"}, 1: {"type": b"^v"}, 2: {"type": b"q"}}}},
        4: {"type_modifier": b"o"},
        7: {"type_modifier": b"o"},
    },
})
r(b"NSObject", b"countFor:", {"retval": {"type": b"Q"}})
'''


def make_wheel(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{name}/_metadata.py", text)
    return path


def test_pyobjcs_metadata_is_read_and_never_run(tmp_path: Path) -> None:
    trap = METADATA + "\nraise SystemExit('it was run')\n"
    wheel = make_wheel(tmp_path / "pyobjc.whl", NSThing=trap)
    table = Table(
        rows={
            NAME: TABLE.rows[NAME],
            "NSLog": Row(page="x", types=("void",), encoding=("v",)),
            "NSThingGet": Row(page="x", types=("long",), encoding=("q",)),
            "-[NSCounting countFor:]": Row(page="x", types=("long",), encoding=("Q", "@", ":")),
        },
        constants={"NSBig": ("x", 2), "NSSmall": ("x", -1), "NSUnknown": ("x", 0)},
    )
    (tmp_path / "oracle.toml").write_text(oracle_text([wheel], table, {"NSCounting"}))
    found = read_oracle(tmp_path)
    assert found.constants == {"NSBig": 2, "NSSmall": -1}
    assert found.functions == {
        "NSLog": Recorded(parts={0: "v", 1: "@"}, blocks={}, variadic=True),
        "NSThingGet": Recorded(parts={0: "q", 1: "^v"}, blocks={}),
    }
    assert found.methods == {
        NAME: RECORDED,  # place 8 does not exist: the selector takes three arguments
        "-[NSCounting countFor:]": Recorded(parts={0: "Q"}, blocks={}),
    }


def test_a_file_that_is_not_pyobjcs(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=r"empty\.whl holds no _metadata\.py"):
        oracle_text([make_wheel(tmp_path / "empty.whl")], TABLE, ())
    with pytest.raises(WheelError, match="is no Python"):
        read_metadata("def (", Metadata())


def test_the_command_asks_for_wheels(capsys: pytest.CaptureFixture[str]) -> None:
    assert surface_oracle.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_repositorys_table_has_no_slip() -> None:
    table = read_table(APPLE)
    assert check_table(table) == []
    assert len([name for name in table.rows if name[0] in "+-"]) == 45
    assert all(row.page.startswith(("Foundation > ", "Core ML > ", "Core Foundation > "))
               for row in table.rows.values())  # fmt: skip


def test_a_slip_in_the_table_is_named() -> None:
    broken = Table(
        rows={
            "-[A b]": Row(page="x", types=("void",), encoding=("v", "@", "{x")),
            "c": Row(page="x", types=("void", "int"), encoding=("vi",)),
        },
        constants={},
    )
    found = check_table(broken)
    assert found[0].startswith("encodings.toml: -[A b]: ")
    assert found[1:] == [
        "encodings.toml: c: a part of ('vi',) is not one type",
        "encodings.toml: c has 1 encoded parts, not 2",
    ]


def test_the_repositorys_records_agree_with_each_other() -> None:
    table, oracle = read_table(APPLE), read_oracle(APPLE)
    assert {name: value for name, (_, value) in table.constants.items()} == oracle.constants
    assert set(oracle.methods) < set(table.rows)
    assert len(oracle.methods) >= 16
    functions = {name for name, row in table.rows.items() if name[0] not in "+-"}
    types = {
        "CFTypeRef",
        "CFIndex",
        "CFStringRef",
        "CFStringEncoding",
        "CFStringBuiltInEncodings",
        "CFTimeZoneRef",
        "NSFastEnumerationState",
        "MLMultiArrayDataType",
        "MLComputeUnits",
    }
    assert set(oracle.functions) == functions - types
    encoded = {
        name: Signature(name=name, parts=row.encoding, where="table")
        for name, row in table.rows.items()
    }
    everything = surface(
        *(declaration("constant", n, value=v) for n, v in oracle.constants.items())
    )
    assert compare_recorded(everything, encoded, oracle) == []


def test_the_repositorys_protocols() -> None:
    assert protocol_names(APPLE) == {"MLFeatureProvider", "NSCopying", "NSFastEnumeration"}
