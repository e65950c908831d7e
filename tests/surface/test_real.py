"""The Apple surface as Clang reads it, and ten and more wrong declarations that must be noticed.

These need the cross compiler, which `python -m build` unpacks into its cache, and some a tree of
ONNX Runtime that was configured for macOS. ORTMILL_ZIG names another compiler and ORTMILL_CACHE
another cache.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from build.errors import SourceError, ToolchainError, UsageError
from build.fetch.cache import default_cache_root
from tests.surface.clang import SurfaceCompiler, zig_compiler
from tests.surface.headers import read_surface
from tests.surface.report import (
    SurfaceReport,
    all_objects,
    check_read,
    compare_types,
    find_zig,
    main,
    read_all,
    report_surface,
)
from tests.surface.stubs import check_linked, read_stubs
from tests.surface.symbols import read_file
from tests.surface.uses import AppleSource, read_sources

pytestmark = [pytest.mark.integration, pytest.mark.cross]

APPLE = Path(__file__).resolve().parents[2] / "recipes" / "overlays" / "apple"
CACHE = default_cache_root(os.environ)
TREE = CACHE / "trees" / "onnxruntime-1.21.0-macos-arm64"
FRAMEWORKS = "System/Library/Frameworks"
ARRAY = "CoreML.framework/Headers/MLMultiArray.h"


@pytest.fixture(scope="module")
def zig() -> Path:
    try:
        return find_zig(CACHE, os.environ)
    except UsageError as error:
        pytest.skip(f"{error.problem}: nothing of the Apple surface was compiled")


@pytest.fixture(scope="module")
def tree() -> Path:
    wanted = (
        "build/Release/build.ninja",
        "source/onnxruntime/core/providers/coreml/model/model.mm",
    )
    if not all((TREE / name).is_file() for name in wanted):
        pytest.skip(f"{TREE} was not configured: the surface was not held beside the sources")
    return TREE


@pytest.fixture(scope="module")
def compiler(zig: Path) -> SurfaceCompiler:
    return zig_compiler(zig, APPLE)


@pytest.fixture
def copy(zig: Path, tmp_path: Path) -> SurfaceCompiler:
    """Return a compiler for a copy of the surface, which a test may spoil."""
    shutil.copytree(APPLE, tmp_path / "apple")
    return zig_compiler(zig, tmp_path / "apple")


def spoil(copy: SurfaceCompiler, header: str, old: str, new: str) -> None:
    file = copy.surface / FRAMEWORKS / header
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {header}"
    file.write_text(text.replace(old, new))


def test_every_type_is_as_documented_and_as_pyobjc_records_it(compiler: SurfaceCompiler) -> None:
    assert compare_types(compiler) == []


@pytest.fixture(scope="module")
def report(zig: Path, tree: Path) -> SurfaceReport:
    return report_surface(zig=zig, surface=APPLE, tree=tree)


def test_the_sources_use_what_is_declared_and_nothing_else(report: SurfaceReport) -> None:
    assert report.problems == ()
    assert report.counts["sources"] == 5
    assert report.counts["class"] == 18
    assert report.counts["recorded by pyobjc"] >= 32


@pytest.mark.parametrize(
    "words",
    [
        ["-x", "objective-c", "-std=gnu11"],
        ["-x", "objective-c", "-fobjc-arc"],
        ["-x", "objective-c++", "-std=gnu++17", "-fobjc-arc"],
        ["-x", "objective-c++", "-std=gnu++20", "-fobjc-arc"],
    ],
    ids=["c11", "arc", "c++17", "c++20"],
)
def test_each_header_compiles_by_itself_without_a_warning(
    compiler: SurfaceCompiler, words: list[str]
) -> None:
    headers = sorted((APPLE / FRAMEWORKS).glob("*.framework/Headers/*.h"))
    assert len(headers) > 20
    for header in headers:
        text = f"#include <{header.parents[1].stem}/{header.name}>\n"
        # A fixed type for an enumeration is C23, and Clang has it in every C.
        strict = ["-Wall", "-Wextra", "-Werror", "-Wno-nullability-completeness"]
        compiler.run(["-fsyntax-only", *strict, *words, "-"], text=text)


def test_our_c_headers_are_those_that_the_compiler_lacks(zig: Path, tree: Path) -> None:
    ours = APPLE / "usr" / "include"
    names = [path.relative_to(ours) for path in ours.rglob("*.h")]
    assert [name.as_posix() for name in names] == ["sys/syscall.h"]
    theirs = zig.parent / "lib" / "libc" / "include" / "any-darwin-any"
    assert (theirs / "sys" / "types.h").is_file()
    assert not any((theirs / name).exists() for name in names)
    user = tree / "source/onnxruntime/core/platform/posix/env.cc"
    assert "#include <sys/syscall.h>" in user.read_text()


def test_core_foundation_is_plain_c_and_cxx(compiler: SurfaceCompiler) -> None:
    text = "#include <CoreFoundation/CFTimeZone.h>\nCFTimeZoneRef f(void) { return 0; }\n"
    for words in (["-x", "c", "-std=gnu99"], ["-x", "c++", "-std=gnu++17"]):
        compiler.run(["-fsyntax-only", "-Werror", *words, "-"], text=text)


def test_newer_parts_of_core_ml_stay_compiled_out(compiler: SurfaceCompiler) -> None:
    compiler.run(
        ["-fsyntax-only", "-x", "objective-c++", "-"],
        text="#import <CoreML/CoreML.h>\n#if __has_include(<CoreML/MLComputePlan.h>) || "
        "__has_include(<CoreML/MLOptimizationHints.h>)\n#error as with SDK 13.3, they are not\n"
        "#endif\n",
    )


PYTHON = """\
#include <Python.h>
#define SAME(name, type) static_assert(name == sizeof(type))
SAME(SIZEOF_INT, int);
SAME(SIZEOF_LONG, long);
SAME(SIZEOF_LONG_LONG, long long);
SAME(SIZEOF_PID_T, pid_t);
SAME(SIZEOF_SIZE_T, size_t);
SAME(SIZEOF_VOID_P, void *);
SAME(SIZEOF_WCHAR_T, wchar_t);
static_assert(sizeof(Py_ssize_t) == 8 && sizeof(Py_hash_t) == 8 && PYLONG_BITS_IN_DIGIT == 30);
"""


def python_flags() -> list[str]:
    return ["-I", str(APPLE / "python"), "-I", sysconfig.get_path("include")]


def test_python_headers_compile_for_the_target(compiler: SurfaceCompiler) -> None:
    words = ["-fsyntax-only", "-x", "c++", "-std=gnu++20", *python_flags(), "-"]
    compiler.run(words, text=PYTHON)
    wrong = PYTHON.replace("SIZEOF_WCHAR_T, wchar_t", "SIZEOF_WCHAR_T, short")
    with pytest.raises(ToolchainError, match="static assertion failed"):
        compiler.run(words, text=wrong)


def test_pyconfig_speaks_of_every_macro_that_the_public_headers_consult() -> None:
    folder = Path(sysconfig.get_path("include"))
    ours = (APPLE / "python" / "pyconfig.h").read_text()
    configured = set(
        re.findall(r"(?:#define|#undef) (\w+)", (folder / "pyconfig.h").read_text())
    ) - {"Py_PYCONFIG_H"}
    consulted: set[str] = set()
    for header in [*folder.glob("*.h"), *(folder / "cpython").glob("*.h")]:
        if header.name not in ("pyconfig.h", "pymacconfig.h"):
            lines = re.findall(r"^\s*#\s*(?:el)?if.*$", header.read_text(errors="replace"), re.M)
            consulted |= set(re.findall(r"\w+", "\n".join(lines))) & configured
    assert len(consulted) > 20
    assert {name for name in consulted if not re.search(rf"\b{name}\b", ours)} == set()


def test_numpys_headers_compile_for_the_target(compiler: SurfaceCompiler) -> None:
    numpy = pytest.importorskip("numpy")
    text = (
        "#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION\n#include <Python.h>\n"
        "#include <numpy/arrayobject.h>\n"
        "static_assert(NPY_SIZEOF_LONGDOUBLE == sizeof(long double));\n"
        "static_assert(NPY_SIZEOF_LONG == sizeof(long));\n"
        "static_assert(NPY_BYTE_ORDER == NPY_LITTLE_ENDIAN);\n"
    )
    words = ["-fsyntax-only", "-x", "c++", "-std=gnu++20", *python_flags()]
    compiler.run([*words, "-I", numpy.get_include(), "-"], text=text)


FILES = "Foundation.framework/Headers/NSFileManager.h"
VALUE = "Foundation.framework/Headers/NSValue.h"
MODEL = "CoreML.framework/Headers/MLModel.h"
CONFIGURATION = "CoreML.framework/Headers/MLModelConfiguration.h"
TEXT = "CoreFoundation.framework/Headers/CFString.h"
PAGE = "by its documentation page"

# What is spoilt, and the sentences that must be said of it.
MUTATIONS = {
    "float for a long long": (
        VALUE, "numberWithLongLong:(long long)value", "numberWithLongLong:(float)value",
        ["+[NSNumber numberWithLongLong:]: argument 1 is encoded as 'f', and as 'q' " + PAGE],
    ),
    "double for a long long": (
        VALUE, "long long longLongValue", "double longLongValue",
        ["-[NSNumber longLongValue]: the result is encoded as 'd', and as 'q' " + PAGE],
    ),
    "missing argument of a method": (
        MODEL, "                                                  options:"
        "(MLPredictionOptions *_Nonnull)options\n", "",
        [
            "-[MLModel predictionFromFeatures:error:] is declared and encodings.toml has no row",
            "has a row for -[MLModel predictionFromFeatures:options:error:], which the surface "
            "does not declare",
            "pyobjc records -[MLModel predictionFromFeatures:options:error:], which the surface "
            "does not declare",
        ],
    ),
    "missing argument of a function": (
        TEXT, "char *buffer, CFIndex bufferSize,", "char *buffer,",
        [
            "CFStringGetCString takes 3 arguments, and 4 " + PAGE,
            "CFStringGetCString takes 3 arguments, and 4 in pyobjc",
        ],
    ),
    "wrong selector": (
        "CoreML.framework/Headers/MLFeatureProvider.h",
        "- (MLFeatureValue *_Nullable)featureValueForName:",
        "- (MLFeatureValue *_Nullable)featureValueWithName:",
        [
            "-[MLFeatureProvider featureValueWithName:] is declared and encodings.toml has no row",
            "pyobjc records -[MLFeatureProvider featureValueForName:], which the surface does not",
        ],
    ),
    "wrong value of a constant": (
        ARRAY, "0x10000 | 16", "0x10000 | 64",
        [
            "MLMultiArrayDataTypeFloat16 is 65600, and 65552 in encodings.toml",
            "MLMultiArrayDataTypeFloat16 is 65600, and 65552 in oracle.toml",
        ],
    ),
    "two constants changed about": (
        CONFIGURATION, "MLComputeUnitsCPUAndGPU API_AVAILABLE(macos(10.14)) = 1",
        "MLComputeUnitsCPUAndGPU API_AVAILABLE(macos(10.14)) = 2",
        ["MLComputeUnitsCPUAndGPU is 2, and 1 in oracle.toml"],
    ),
    "int for a BOOL": (
        FILES, "(BOOL)fileExistsAtPath", "(int)fileExistsAtPath",
        [
            "fileExistsAtPath:]: the result is encoded as 'i', and as 'B' " + PAGE,
            "fileExistsAtPath:]: the result is encoded as 'i', and as 'Z' in pyobjc",
        ],
    ),
    "wrong result": (
        MODEL, "+ (NSURL *_Nullable)compileModelAtURL", "+ (void)compileModelAtURL",
        ["+[MLModel compileModelAtURL:error:]: the result is encoded as 'v', and as '@\"NSURL\"'"],
    ),
    "wrong signature of a block": (
        ARRAY, "(const void *_Nonnull bytes, NSInteger size)",
        "(const void *_Nonnull bytes, int size)",
        [
            "argument 1 is encoded as '@?<v@?^vi>', and as '@?<v@?^vq>' " + PAGE,
            "the block in argument 1 is 'v ^v i', and 'v n^v q' in pyobjc",
        ],
    ),
    "missing argument of a block": (
        ARRAY, "(void (^_Nullable)(void *_Nonnull bytes))deallocator",
        "(void (^_Nullable)(void))deallocator",
        [
            "argument 5 is encoded as '@?<v@?>', and as '@?<v@?^v>' " + PAGE,
            "the block in argument 5 is 'v', and 'v ^v' in pyobjc",
        ],
    ),
    "wrong class": (
        "CoreML.framework/Headers/MLFeatureValue.h",
        "MLMultiArray *_Nullable multiArrayValue", "NSArray *_Nullable multiArrayValue",
        ["the result is encoded as '@\"NSArray\"', and as '@\"MLMultiArray\"' " + PAGE],
    ),
    "const lost": (
        "Foundation.framework/Headers/NSString.h",
        "const char *_Nullable UTF8String", "char *_Nullable UTF8String",
        ["-[NSString UTF8String]: the result is encoded as '*', and as 'r*' " + PAGE],
    ),
    "const lost in a block, which the encoding does not show": (
        ARRAY, "(const void *_Nonnull bytes, NSInteger size)",
        "(void *_Nonnull bytes, NSInteger size)",
        ["argument 1 is spelt as 'void(^)(void*,NSInteger)', and as "
         "'void(^)(const void*,NSInteger)' " + PAGE],
    ),
    "by value what goes by reference": (
        FILES, "- (BOOL)removeItemAtPath:(NSString *_Nonnull)path\n"
        "                   error:(NSError *_Nullable *_Nullable)error",
        "- (BOOL)removeItemAtPath:(NSString *_Nonnull)path\n"
        "                   error:(NSError *_Nullable)error",
        [
            "argument 2 is encoded as '@\"NSError\"', and as '^@' " + PAGE,
            "argument 2 is no pointer ('@\"NSError\"'), and is passed by reference",
        ],
    ),
    "unsigned for signed": (
        ARRAY, "NSInteger count", "NSUInteger count",
        ["-[MLMultiArray count]: the result is encoded as 'Q', and as 'q' " + PAGE],
    ),
    "narrow type below an enumeration": (
        CONFIGURATION, "typedef enum MLComputeUnits : NSInteger",
        "typedef enum MLComputeUnits : int",
        [
            "MLComputeUnits: the result is encoded as 'i', and as 'q' " + PAGE,
            "-[MLModelConfiguration setComputeUnits:]: argument 1 is encoded as 'i'",
        ],
    ),
    "instance method for a class method": (
        FILES, "@property(class, readonly, strong)", "@property(readonly, strong)",
        ["-[NSFileManager defaultManager] is declared and encodings.toml has no row"],
    ),
    "short array in a struct": (
        "Foundation.framework/Headers/NSEnumerator.h", "extra[5]", "extra[4]",
        ["argument 1 is encoded as '^{?=Q^@^Q[4Q]}', and as '^{?=Q^@^Q[5Q]}' in pyobjc"],
    ),
    "no dots": (
        "Foundation.framework/Headers/NSObjCRuntime.h",
        "(NSString *format, ...) __attribute__((format(__NSString__, 1, 2)))",
        "(NSString *format)",
        ["NSLog and pyobjc differ in whether it takes any number of arguments"],
    ),
    "a setter that is not there": (
        CONFIGURATION, "@property(readwrite) MLComputeUnits", "@property(readonly) MLComputeUnits",
        ["has a row for -[MLModelConfiguration setComputeUnits:], which the surface does not"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_wrong_declaration_is_noticed(copy: SurfaceCompiler, name: str) -> None:
    header, old, new, sentences = MUTATIONS[name]
    spoil(copy, header, old, new)
    found = compare_types(copy)
    for sentence in sentences:
        assert any(sentence in each for each in found), found


def test_a_declaration_too_many_and_one_twice_are_noticed(
    copy: SurfaceCompiler, report: SurfaceReport
) -> None:
    more = (
        "/// Documentation: Foundation > NSNumber > intValue\n/// Availability: macOS 10.0\n"
        "@property(readonly) int intValue API_AVAILABLE(macos(10.0));\n"
    )
    head = "@interface NSNumber : NSValue\n"
    spoil(copy, VALUE, head, head + more)
    again = (
        "/// Documentation: Core Foundation > CFRelease\n/// Availability: macOS 10.0\n"
        "extern void CFRelease(CFTypeRef cf) API_AVAILABLE(macos(10.0));\n"
    )
    tail = "#ifdef __cplusplus\n}\n#endif\n"
    spoil(copy, TEXT, tail, again + tail)
    found = check_read(compiler=copy, read=report.read)
    assert len(found) == 2
    assert "CFRelease is declared twice, first at" in found[0]
    assert "NSNumber.intValue is declared and no source uses it" in found[1]


def test_a_message_that_is_no_longer_declared_is_noticed(
    copy: SurfaceCompiler, report: SurfaceReport
) -> None:
    old = "@property(readonly, nonatomic) void *_Nonnull dataPointer API_AVAILABLE(macos(10.13));"
    spoil(copy, ARRAY, old, "")
    found = check_read(compiler=copy, read=report.read)
    assert found == [
        "model.mm sends -[MLMultiArray dataPointer], which the surface does not declare"
    ]


def model(surface: Path, tree: Path) -> list[AppleSource]:
    return [each for each in read_sources(surface, tree) if each.file.name == "model.mm"]


def test_a_declaration_that_is_missing_stops_the_compiler(
    copy: SurfaceCompiler, tree: Path
) -> None:
    old = "@property(readonly, nonatomic) void *_Nonnull dataPointer API_AVAILABLE(macos(10.13));"
    spoil(copy, ARRAY, old, "")
    with pytest.raises(ToolchainError, match="property 'dataPointer' not found"):
        read_all(copy, model(copy.surface, tree))


def test_a_declaration_newer_than_13_3_is_noticed(
    copy: SurfaceCompiler, tree: Path, report: SurfaceReport
) -> None:
    row = "modelWithContentsOfURL:configuration:error:\n/// Availability: macOS 10.14"
    spoil(copy, MODEL, row, row.replace("10.14", "14.0"))
    end = "\n    API_AVAILABLE(macos(10.14));\n\n/// Documentation: Core ML > MLModel > prediction"
    spoil(copy, MODEL, end, end.replace("10.14", "14.0"))
    found = check_read(compiler=copy, read=report.read)
    assert len(found) == 1
    assert "available since macOS 14.0, and the wheel promises 13.3" in found[0]
    with pytest.raises(ToolchainError, match=r"only available on macOS 14\.0 or newer"):
        read_all(copy, model(copy.surface, tree))


def test_stubs_that_say_too_much_or_too_little_are_noticed(
    copy: SurfaceCompiler, report: SurfaceReport
) -> None:
    stub = copy.surface / FRAMEWORKS / "CoreML.framework" / "CoreML.tbd"
    text = stub.read_text()
    assert text.count("MLFeatureValue") == 1
    stub.write_text(text.replace("MLFeatureValue", "MLNeverHeardOf"))
    name = f"{FRAMEWORKS}/CoreML.framework/CoreML.tbd"
    assert check_read(compiler=copy, read=report.read) == [
        "no stub lists _OBJC_CLASS_$_MLFeatureValue, which an object wants",
        f"{name} lists _OBJC_CLASS_$_MLNeverHeardOf, which no object wants",
        f"{name} lists _OBJC_CLASS_$_MLNeverHeardOf, and no wheel in evidence.toml shows that "
        "/System/Library/Frameworks/CoreML.framework/Versions/A/CoreML has it",
    ]


def test_a_namespace_too_narrow_for_the_walk_is_noticed(copy: SurfaceCompiler, tree: Path) -> None:
    narrow = [
        replace(each, within="onnxruntime::coreml::GetMLMultiArrayCopyInfo")
        for each in model(copy.surface, tree)
    ]
    found = check_read(compiler=copy, read=read_all(copy, narrow))
    assert any("the object of model.mm sends dataType, which the walk" in each for each in found)


def test_a_namespace_that_is_not_there_is_an_error(copy: SurfaceCompiler, tree: Path) -> None:
    nowhere = [replace(each, within="onnxruntime::no") for each in model(copy.surface, tree)]
    with pytest.raises(SourceError, match=r"model\.mm has nothing in the namespace"):
        read_all(copy, nowhere)


def test_the_command_prints_what_is_wrong_and_ends_with_1(
    copy: SurfaceCompiler, zig: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = "@property(readonly, nonatomic) void *_Nonnull dataPointer API_AVAILABLE(macos(10.13));"
    spoil(copy, ARRAY, old, "")
    words = ["--tree", str(tree), "--zig", str(zig), "--surface", str(copy.surface)]
    assert main(words) == 1
    assert "property 'dataPointer' not found" in capsys.readouterr().err
    assert (
        main(["--tree", str(tree), "--zig", str(zig), "--surface", str(copy.surface), "--json"])
        == 1
    )
    outcome = json.loads(capsys.readouterr().out)
    assert "has a row for -[MLMultiArray dataPointer]" in outcome["problems"][0]
    assert "property 'dataPointer' not found" in outcome["problems"][-1]


def test_the_command_says_that_a_tree_is_missing(
    zig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tree", str(tmp_path), "--zig", str(zig)]) > 1
    assert "has not been configured" in capsys.readouterr().err


def test_a_finished_build_binds_what_the_stubs_list(tree: Path) -> None:
    folder = tree / "build" / "Release"
    names = (
        "libonnxruntime.1.21.0.dylib",
        "onnxruntime_pybind11_state.so",
        "onnxruntime_mlas_q4dq",
    )
    linked = {name: folder / name for name in names if (folder / name).is_file()}
    if len(linked) < len(names) or (tree / "running.json").is_file():
        pytest.skip(f"{tree} holds no finished build: nothing linked was looked at")
    symbols = {name: read_file(path) for name, path in linked.items()}
    objects = [read_file(path) for path in all_objects(tree)]
    assert len(objects) > 500
    assert check_linked(read_stubs(APPLE), symbols, objects) == []


def test_what_the_reader_makes_of_the_headers(compiler: SurfaceCompiler) -> None:
    surface = read_surface(compiler)
    named = {each.name: each for each in surface.declarations}
    assert named["NSMutableDictionary"].bases == ("NSDictionary",)
    assert named["NSArray"].generics == ("ObjectType",)
    assert named["MLModelConfiguration.computeUnits"].selectors == (
        "computeUnits",
        "setComputeUnits:",
    )
    assert named["CFStringGetCString"].parameters[-1] == "CFStringEncoding"
    assert named["MLMultiArrayDataTypeFloat16"].available == "12.0"
    assert {"alloc", "init"} <= surface.runtime_selectors
