"""Compile the Mach-O files that the tests read and damage: ``images.zip`` beside this script.

Run by hand on Linux when ``fixture.mm`` or the Apple surface changes::

    python tests/data/macho/make.py --zig ZIG --lld ld64.lld

``library`` and ``extension`` are right; the others differ by one wrong declaration each, as if a
header of the surface were wrong. The tests show that a check catches every one of them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURE = HERE / "fixture.mm"
SURFACE = HERE.parents[2] / "recipes" / "overlays" / "apple"

NUMBER, ARRAY, SETTINGS = "NSValue.h", "MLMultiArray.h", "MLModelConfiguration.h"
MUTANTS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "argument-double": ((NUMBER, "WithLongLong:(long long)", "WithLongLong:(double)"),),
    "argument-32-bit": ((NUMBER, "WithLongLong:(long long)", "WithLongLong:(int)"),),
    "result-double": ((NUMBER, ") long long longLongValue", ") double longLongValue"),),
    "result-float": ((ARRAY, "nonatomic) NSInteger count", "nonatomic) float count"),),
    "result-32-bit": ((ARRAY, "nonatomic) NSInteger count", "nonatomic) int count"),),
    "property-double": ((SETTINGS, "(readwrite) MLComputeUnits", "(readwrite) double"),),
    "float-among-six": ((ARRAY, "dataType:(MLMultiArrayDataType)", "dataType:(float)"),),
    "wrong-getter": ((ARRAY, "tomic) MLMultiArrayD", "tomic, getter=datatype) MLMultiArrayD"),),
    "wrong-setter": ((SETTINGS, "(readwrite) BOOL", "(readwrite, setter=setLow:) BOOL"),),
    "block-argument-32-bit": (
        (ARRAY, "bytes, NSInteger size", "bytes, int size"),
        ("fixture.mm", "bytes, NSInteger size", "bytes, int size"),
    ),
    "wrong-enumerator": ((ARRAY, "0x10000 | 16", "0x10000 | 8"),),
    "wrong-small-enumerator": ((SETTINGS, "= 3,", "= 4,"),),
    "not-variadic": (
        (
            "NSObjCRuntime.h",
            "format, ...) __attribute__((format(__NSString__, 1, 2)))",
            "format, const char *text)",
        ),
    ),
    "result-wider": (("NSFileManager.h", "(BOOL)fileExists", "(NSInteger)fileExists"),),
    "index-float": (("NSArray.h", "atIndex:(NSUInteger)", "atIndex:(float)"),),
    "function-argument-float": (("CFString.h", "(CFIndex length, ", "(float length, "),),
}
"""Name to edits: a file, what stands there, and what a careless hand might have written."""


def compile_image(
    options: argparse.Namespace,
    surface: Path,
    source: Path,
    target: Path,
    *,
    extension: bool = False,
    stubs: bool = False,
) -> None:
    """Compile and link one image against a surface."""
    library = options.zig.parent / "lib"
    entry = "PyInit_onnxruntime_pybind11_state" if extension else "OrtGetApiBase"
    built = target.with_suffix(".o")
    subprocess.run(
        [
            str(options.zig), "clang", "--target=arm64-apple-macosx13.3", "-nostdinc",
            f"-isystem{library}/include", f"-isystem{surface}/usr/include",
            f"-isystem{library}/libc/include/any-darwin-any",
            f"-iframework{surface}/System/Library/Frameworks",
            "-std=c++20", "-O2", "-fobjc-arc", "-fblocks", "-fvisibility=hidden",
            "-fno-exceptions", "-fno-rtti", "-w",
            *(["-DEXTENSION"] if extension else []), *(["-DSTUBS"] if stubs else []),
            "-c", str(source), "-o", str(built),
        ],
        check=True,
    )  # fmt: skip
    name = "onnxruntime_pybind11_state.so" if extension else "libonnxruntime.1.21.0.dylib"
    exports = target.with_suffix(".exports")
    exports.write_text(f"_{entry}\n", encoding="utf-8")
    stub = target.with_name("libSystem.tbd")
    listed = (library / "libc" / "darwin" / "libSystem.tbd").read_text(encoding="utf-8")
    # LLD 19 does not know the newest architecture, and looks for arm64 where only arm64e stands.
    listed = re.sub(r",\s+arm64e\.x1-\w+", "", listed).replace("arm64e-", "arm64-")
    stub.write_text(listed, encoding="utf-8")
    subprocess.run(
        [
            str(options.lld), "-arch", "arm64", "-platform_version", "macos", "13.3", "13.3",
            "-dylib", "-adhoc_codesign", "-install_name", f"@rpath/{name}", "-x", "-S",
            *(["-undefined", "dynamic_lookup", "-rpath", "@loader_path"] if extension else []),
            "-exported_symbols_list", str(exports),
            f"-F{surface}/System/Library/Frameworks", "-framework", "CoreML",
            "-framework", "Foundation", "-framework", "CoreFoundation",
            *(str(surface / f"usr/lib/{name}.tbd") for name in ("libiconv", "libc++", "libobjc")),
            str(stub), str(built), "-o", str(target),
        ],
        check=True,
    )  # fmt: skip


def main() -> None:
    """Write ``images.zip``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zig", type=Path, required=True, help="the zig program of ziglang")
    parser.add_argument("--lld", type=Path, required=True, help="LLD's ld64.lld")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        compile_image(options, SURFACE, FIXTURE, folder / "library")
        compile_image(options, SURFACE, FIXTURE, folder / "extension", extension=True)
        compile_image(options, SURFACE, FIXTURE, folder / "with-stubs", stubs=True)
        for name, edits in MUTANTS.items():
            changed = folder / "changed" / name
            shutil.copytree(SURFACE, changed)
            shutil.copy(FIXTURE, changed)
            for file, old, new in edits:
                (path,) = changed.rglob(file)
                text = path.read_text(encoding="utf-8")
                if text.count(old) != 1:
                    raise SystemExit(f"{name}: {old} stands {text.count(old)} times in {file}")
                path.write_text(text.replace(old, new), encoding="utf-8")
            compile_image(options, changed, changed / "fixture.mm", folder / name)
        archive = HERE / "images.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for name in ("library", "extension", "with-stubs", *MUTANTS):
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, (folder / name).read_bytes(), compresslevel=9)
    print(f"{archive}: {3 + len(MUTANTS)} images, {archive.stat().st_size} bytes")


if __name__ == "__main__":
    main()
