"""A wheel's files read safely, and written so that the same files give the same bytes.

A wheel of ONNX Runtime unpacks to less than 100 MB, so it is held in memory: nothing is ever
written below a path that an archive chose.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..errors import WheelError

MAX_UNPACKED = 1 << 30
_EXECUTABLE_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
# The years that a zip entry can hold.
_FIRST, _LAST = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, tzinfo=UTC)


def _refuse(path: Path, name: str, why: str) -> WheelError:
    return WheelError(
        f"{path.name} holds the entry {name!r}: {why}",
        hint="a wheel like this is not the output of a build; remove it and build again",
        context={"file": str(path), "entry": repr(name)},
    )


def _check_entry(path: Path, info: zipfile.ZipInfo, seen: set[str]) -> None:
    name = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    parts = name.removesuffix("/").split("/")
    if "\0" in name or "\\" in name or ":" in name or not name.isprintable():
        raise _refuse(path, name, "a character that no file name of a wheel has")
    if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise _refuse(path, name, "a path that leaves the folder")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > name.endswith("/"):
        raise _refuse(path, name, "neither a file nor a folder")
    if info.flag_bits & 0x1:
        raise _refuse(path, name, "encrypted")
    if name.casefold() in seen:
        raise _refuse(path, name, "the same name twice")
    seen.add(name.casefold())


def read_wheel(path: Path) -> dict[str, bytes]:
    """Return every file of a wheel by its path; folders have no entries of their own.

    Raises
    ------
    WheelError
        The file is no readable zip archive, an entry is damaged, encrypted, a link, twice there
        or would leave the folder, or the whole is larger than 1 GiB.
    """
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(info.file_size for info in entries) > MAX_UNPACKED:
                raise _refuse(path, "*", f"unpacked it is larger than {MAX_UNPACKED >> 30} GiB")
            for info in entries:
                _check_entry(path, info, seen)
                if not info.is_dir():
                    files[info.filename] = archive.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise WheelError(
            f"{path} cannot be read as a wheel: {error}",
            hint="remove the file and build again",
            context={"file": str(path)},
        ) from error
    for name in files:
        parents = name.split("/")[:-1]
        if any("/".join(parents[: depth + 1]) in files for depth in range(len(parents))):
            raise _refuse(path, name, "below something that is a file itself")
    return files


def _order(name: str) -> tuple[bool, bool, str]:
    # The binary distribution format asks archivers to put .dist-info last, and RECORD is its end.
    top = name.split("/", 1)[0]
    return top.endswith(".dist-info"), name.endswith(".dist-info/RECORD"), name


def file_mode(content: bytes) -> int:
    """Return 0o755 for a binary, 0o644 for anything else, whatever the umask was."""
    return 0o755 if content.startswith(_EXECUTABLE_MAGIC) else 0o644


def write_wheel(
    files: Mapping[str, bytes], path: Path, *, source_date_epoch: int, compression: int = 9
) -> None:
    """Write a wheel: sorted, one time stamp, fixed permissions, no entries for folders.

    ``files`` has RECORD too. ``source_date_epoch`` is in seconds since 1970
    (reproducible-builds.org), moved into what zip can hold, 1980-2107. ``compression`` is zlib's
    level, 0 to 9; a low one for a wheel that is unpacked again at once.
    """
    moment = datetime.fromtimestamp(source_date_epoch, tz=UTC)
    stamp = max(_FIRST, min(_LAST, moment)).timetuple()
    when = (stamp.tm_year, stamp.tm_mon, stamp.tm_mday, stamp.tm_hour, stamp.tm_min, stamp.tm_sec)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=compression) as archive:
        for name in sorted(files, key=_order):
            info = zipfile.ZipInfo(name, date_time=when)
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | file_mode(files[name])) << 16
            archive.writestr(info, files[name], compresslevel=compression)
