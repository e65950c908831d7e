"""What the natively built wheel has that the cross-built one has not, each with its reason."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lief

from tests.rehearsal.compare import compare, wheel_contents

_VERSION = "the version's local part is the recipe's digest, and the rehearsal's recipe is another"
EXPLAINED = (
    (r"onnxruntime/(__init__|capi/build_and_package_info)\.py", _VERSION),
    (r".*\.dist-info/(METADATA|RECORD)", _VERSION),
    (r".*\.dist-info/WHEEL", "delocate, which the native way runs, adds its name as a generator"),
    (r".*\.dist-info/licenses/protoc_.*", "protoc has the name of a Mac's"),
    (r".*\.dist-info/sboms/.*", f"{_VERSION}; protoc has the name of a Mac's"),
)
"""Names in a wheel without the version's local part, and why they differ; the first that fits."""
_LOCAL = re.compile(rb"\+ortmill\.[0-9a-f]{8}")
NAMED = (
    "equal but for the version's local part, which is in the model cache's key, and what is "
    "computed from it: the hashes of its pages, and the library's UUID"
)
MOVED = (
    "the same libraries, imports, exports and sections of the same sizes; the cross build's flags "
    "give it an LC_RPATH that CMake gives it natively only where it needs one, and addresses move"
)


def differences(native: Path, cross: Path) -> Sequence[tuple[str, str]]:
    """Return each file that differs, and why; empty where nobody knows.

    Parameters
    ----------
    native, cross : Path
        The wheels.
    """
    found = compare(wheel_contents(native), wheel_contents(cross))
    names = {
        **dict.fromkeys(found.here, "only in the native wheel"),
        **dict.fromkeys(found.there, "only in the cross-built wheel"),
        **dict.fromkeys(found.changed, "other content"),
    }
    rows = []
    for name, what in sorted(names.items()):
        how = what
        why = next((why for pattern, why in EXPLAINED if re.fullmatch(pattern, name)), "")
        if not why and name in found.changed and name.endswith((".dylib", ".so")):
            pair = [_member(wheel, name) for wheel in (native, cross)]
            shapes = [shape(each) for each in pair]
            other = sorted(key for key in shapes[0] if shapes[0][key] != shapes[1][key])
            why = MOVED if other == ["rpaths"] else ""
            if not other and equal_but_for_the_version(
                *(_member(w, name) for w in (native, cross))
            ):
                why = NAMED
            how = f"other {', '.join(other) or 'content'}"
        rows.append((f"{name} ({how})", why))
    return rows


def shape(library: bytes) -> Mapping[str, Any]:
    """Return what a Mach-O library is made of, without its addresses."""
    parsed = lief.MachO.parse(list(library))
    image = parsed.at(0) if parsed else None
    if image is None:
        return {}
    return {
        "libraries": [str(each.name) for each in image.libraries],
        "imports": sorted(str(each.name) for each in image.imported_symbols),
        "exports": sorted(str(each.name) for each in image.exported_symbols),
        "sections": [(each.segment_name, each.name, each.size) for each in image.sections],
        "rpaths": [each.path for each in image.rpaths],
    }


def equal_but_for_the_version(one: bytes, other: bytes) -> bool:
    """Return whether all sections of two Mach-O libraries hold the same bytes, the digest aside."""
    images = [parsed.at(0) for parsed in (lief.MachO.parse(list(each)) for each in (one, other))
              if parsed]  # fmt: skip
    held = [[_LOCAL.sub(b"", bytes(each.content)) for each in image.sections] for image in images
            if image]  # fmt: skip
    return len(held) == 2 and held[0] == held[1]


def _member(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as zipped:
        return zipped.read(name)
