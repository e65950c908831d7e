"""What a wheel says about itself, changed in every place at once and compared afterwards.

The version is in five places: the file's name, the ``.dist-info`` folder's name, METADATA,
``__version__`` of the package and ``capi/build_and_package_info.py``; RECORD holds a hash of
each. Formats: the binary distribution format and PEP 639 on packaging.python.org.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from ..errors import WheelError
from .licences import LicenceText, placed_licences

_ASSIGNED = re.compile(rb"^(__version__[ \t]*=[ \t]*)(['\"])([^'\"\r\n]*)\2", re.MULTILINE)
_PACKAGE_INFO = "capi/build_and_package_info.py"
_FIRST_WITH_LICENCE_FILES = (2, 4)
_REBUILD = "remove the raw wheel and build again"


def dist_info(files: Iterable[str]) -> str:
    """Return the name of the wheel's one ``.dist-info`` folder.

    Raises
    ------
    WheelError
        There is none, or more than one.
    """
    tops = {name.split("/", 1)[0] for name in files if "/" in name}
    found = sorted(top for top in tops if top.endswith(".dist-info"))
    if len(found) != 1:
        raise WheelError(
            f"the wheel has {len(found)} .dist-info folders, not one",
            hint=_REBUILD,
            context={"found": ", ".join(found) or "none"},
        )
    return found[0]


def _part(files: Mapping[str, bytes], name: str) -> bytes:
    try:
        return files[name]
    except KeyError:
        raise WheelError(f"the wheel has no {name}", hint=_REBUILD) from None


def _split_headers(content: bytes) -> tuple[list[str], bytes]:
    text = content.replace(b"\r\n", b"\n")
    head, gap, body = text.partition(b"\n\n")
    return head.decode("utf-8").rstrip("\n").split("\n"), gap + body if gap else b"\n"


def headers(content: bytes, name: str) -> list[str]:
    """Return the values of one header of METADATA or WHEEL, in order."""
    prefix = f"{name.lower()}:"
    lines, _ = _split_headers(content)
    return [line[len(prefix) :].strip() for line in lines if line.lower().startswith(prefix)]


def _header(content: bytes, name: str, where: str) -> str:
    values = headers(content, name)
    if len(values) != 1:
        raise WheelError(f"{where} has {len(values)} {name} headers, not one", hint=_REBUILD)
    return values[0]


def _with_version(content: bytes, version: str) -> bytes:
    lines, rest = _split_headers(content)
    changed = [
        f"Version: {version}" if line.lower().startswith("version:") else line for line in lines
    ]
    return "\n".join(changed).encode() + rest


def _assign(content: bytes, where: str, old: str, version: str) -> bytes:
    found = _ASSIGNED.findall(content)
    if [value.decode() for _, _, value in found] not in ([old], [version]):
        raise WheelError(
            f"{where} does not set __version__ to {old} exactly once",
            hint="the source tree is of another version than the recipe, or was changed",
            context={"found": ", ".join(value.decode() for *_, value in found) or "nothing"},
        )
    return _ASSIGNED.sub(rb"\g<1>\g<2>" + version.encode() + rb"\g<2>", content)


def _package(metadata: bytes) -> str:
    return canonicalize_name(_header(metadata, "Name", "METADATA")).replace("-", "_")


def set_version(files: Mapping[str, bytes], version: str) -> dict[str, bytes]:
    """Return the wheel's files with another local version, in every place but RECORD.

    Raises
    ------
    WheelError
        The version is not in PEP 440's normal form, is of another release, or is nowhere or twice
        in a file.
    """
    info = dist_info(files)
    metadata = _part(files, f"{info}/METADATA")
    package = _package(metadata)
    old = _header(metadata, "Version", "METADATA")
    try:
        normal = str(Version(version)) == version
        same = normal and Version(version).public == Version(old).public
    except InvalidVersion:
        normal = same = False
    if not same:
        raise WheelError(
            f"a wheel of version {old} cannot become {version}",
            hint="the recipe's version must be the source tree's, with a PEP 440 local part"
            if normal
            else "write the version in PEP 440's normal form",
        )
    renamed = {
        f"{package}-{old}.{kind}": f"{package}-{version}.{kind}" for kind in ("dist-info", "data")
    }
    if info not in renamed:
        raise WheelError(
            f"the wheel's folder {info} does not fit its METADATA, {package} {old}", hint=_REBUILD
        )
    result: dict[str, bytes] = {}
    for name, content in files.items():
        top, slash, below = name.partition("/")
        result[renamed.get(top, top) + slash + below] = content
    result[f"{renamed[info]}/METADATA"] = _with_version(metadata, version)
    for where in (f"{package}/__init__.py", f"{package}/{_PACKAGE_INFO}"):
        if where in result or not where.endswith(_PACKAGE_INFO):
            result[where] = _assign(_part(result, where), where, old, version)
    return result


def set_platforms(files: Mapping[str, bytes], platforms: Sequence[str]) -> dict[str, bytes]:
    """Return the files with other platforms in WHEEL's ``Tag`` lines, one line for each.

    The interpreter and the ABI stay. RECORD is not written anew.

    Raises
    ------
    WheelError
        WHEEL is missing, or a ``Tag`` is not of three parts.
    """
    name = f"{dist_info(files)}/WHEEL"
    content = _part(files, name)
    pairs = []
    for tag in headers(content, "Tag"):
        parts = tag.split("-")
        if len(parts) != 3:
            raise WheelError(f"WHEEL has the tag {tag!r}, which is none", hint=_REBUILD)
        pairs.append(f"{parts[0]}-{parts[1]}")
    lines, rest = _split_headers(content)
    kept = [line for line in lines if not line.lower().startswith("tag:")]
    kept += [f"Tag: {pair}-{platform}" for pair in sorted({*pairs}) for platform in platforms]
    return {**files, name: "\n".join(kept).encode() + rest}


def add_licences(files: Mapping[str, bytes], licences: Iterable[LicenceText]) -> dict[str, bytes]:
    """Return the files with licence texts below ``.dist-info/licenses/<name>/``.

    METADATA gets a ``License-File`` header for each where its version knows them (2.4, PEP 639).
    """
    info = dist_info(files)
    placed = placed_licences(licences)
    result = dict(files)
    result.update({f"{info}/licenses/{path}": text for path, text in placed.items()})
    metadata = _part(files, f"{info}/METADATA")
    declared = _header(metadata, "Metadata-Version", "METADATA")
    if tuple(int(part) for part in declared.split(".")) >= _FIRST_WITH_LICENCE_FILES:
        lines, rest = _split_headers(metadata)
        known = set(headers(metadata, "License-File"))
        lines += [f"License-File: {path}" for path in placed if path not in known]
        result[f"{info}/METADATA"] = "\n".join(lines).encode() + rest
    return result


def _hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


def with_record(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the files with RECORD written anew; signatures of an older RECORD are dropped."""
    record = f"{dist_info(files)}/RECORD"
    kept = {
        name: content
        for name, content in files.items()
        if name not in (record, f"{record}.jws", f"{record}.p7s")
    }
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name in sorted(kept):
        rows.writerow((name, _hash(kept[name]), len(kept[name])))
    rows.writerow((record, "", ""))
    return {**kept, record: text.getvalue().encode()}


def _record_disagreements(files: Mapping[str, bytes], record: str) -> list[str]:
    rows = list(csv.reader(io.StringIO(files.get(record, b"").decode("utf-8"))))
    listed = [row[0] for row in rows if row]
    found = [f"RECORD lists {name} twice" for name in {*listed} if listed.count(name) > 1]
    found += [f"RECORD does not list {name}" for name in sorted(set(files) - set(listed))]
    for name, recorded, size in (row for row in rows if len(row) == 3):
        if name not in files:
            found.append(f"RECORD lists {name}, which is not there")
        elif name != record and (recorded, size) != (_hash(files[name]), str(len(files[name]))):
            found.append(f"RECORD has another hash or size for {name}")
    return found


def _tags(filename: str) -> tuple[str, Version, set[str], frozenset[Tag]]:
    try:
        name, version, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        raise WheelError(f"{filename} is no wheel's name: {error}", hint=_REBUILD) from error
    if build:
        raise WheelError(f"{filename} has a build number, which ortmill never sets")
    return name, version, {str(tag) for tag in tags}, tags


def disagreements(filename: str, files: Mapping[str, bytes], version: str) -> list[str]:
    """Return every place where a wheel contradicts its name, its version or its RECORD.

    An empty list means that all five places, the tags, the licence headers and RECORD agree.
    """
    name, named, tags, _ = _tags(filename)
    info = dist_info(files)
    metadata = _part(files, f"{info}/METADATA")
    package = _package(metadata)
    found: list[str] = []

    def same(where: str, actual: object, wanted: object) -> None:
        if actual != wanted:
            found.append(f"{where} says {actual}, not {wanted}")

    same("the file's name", str(named), version)
    same("the file's name", name, canonicalize_name(package))
    same("the folder", info, f"{package}-{version}.dist-info")
    same("METADATA", _header(metadata, "Version", "METADATA"), version)
    same("WHEEL", sorted(headers(_part(files, f"{info}/WHEEL"), "Tag")), sorted(tags))
    for where in (f"{package}/__init__.py", f"{package}/{_PACKAGE_INFO}"):
        if where in files or not where.endswith(_PACKAGE_INFO):
            values = [value.decode() for *_, value in _ASSIGNED.findall(_part(files, where))]
            same(where, values, [version])
    found += [
        f"METADATA names the licence {path}, which is not there"
        for path in headers(metadata, "License-File")
        if f"{info}/licenses/{path}" not in files and f"{info}/{path}" not in files
    ]
    return found + _record_disagreements(files, f"{info}/RECORD")


def interpreter_disagreements(filename: str, files: Mapping[str, bytes]) -> list[str]:
    """Return where a wheel's Python tag is not honest about the Python that compiled it.

    The tag must name one CPython and its ABI, ``cp311-cp311``. An extension's ABI suffix must be
    the same, and a pybind11 module must hold the version that it refuses to differ from at import
    (``PYBIND11_CHECK_PYTHON_VERSION`` compares against a string literal such as ``3.11``).
    """
    *_, tags = _tags(filename)
    pairs = {(tag.interpreter, tag.abi) for tag in tags}
    if len(pairs) != 1:
        return [f"the tag names {len(pairs)} interpreters, not one"]
    interpreter, abi = pairs.pop()
    match = re.fullmatch(r"cp3(\d+)", interpreter)
    if match is None or abi not in (interpreter, f"{interpreter}t"):
        return [f"{interpreter}-{abi} is not the tag of one CPython"]
    found = []
    minor = match[1]
    for name, content in files.items():
        suffix = re.search(r"\.cpython-3(\d+)t?-[^/]*\.so$", name)
        if suffix is not None and suffix[1] != minor:
            found.append(f"{name} is compiled for CPython 3.{suffix[1]}, the tag says 3.{minor}")
        if "_pybind11_" in name and name.endswith(".so"):
            compiled = {hit.decode() for hit in re.findall(rb"\x003\.(\d{1,2})\x00", content)}
            if minor not in compiled:
                versions = ", ".join(f"3.{one}" for one in sorted(compiled)) or "none"
                found.append(
                    f"{name} does not hold the version 3.{minor} that the tag says: {versions}"
                )
    return found
