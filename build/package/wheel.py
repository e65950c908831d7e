"""The raw wheel of upstream's build made into the one that is shipped."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..binary.elf import elf_facts
from ..binary.machine_paths import find_path
from ..binary.macho import macho_facts
from ..binary.rules import elf_weaknesses, macho_weaknesses
from ..errors import WheelError
from ..system.digest import file_sha256
from ..system.files import check_writable, replacing
from ..system.process import Run
from .archive import read_wheel, write_wheel
from .metadata import (
    add_licences,
    disagreements,
    dist_info,
    interpreter_disagreements,
    set_version,
    with_record,
)
from .release import MAC_ARCHITECTURE, Release
from .repair import Repair, repair_wheel

SBOM_NAME = "ortmill.cdx.json"


@dataclass(frozen=True, kw_only=True)
class FinishedWheel:
    """A wheel that may be shipped.

    ``tag`` is the compressed tag of the file's name, ``cp311-cp311-manylinux_2_35_x86_64``;
    ``files`` the sha256 of every file inside by its path, RECORD included.
    """

    path: Path
    sha256: str
    size: int
    tag: str
    files: dict[str, str]


def check_paths(files: Mapping[str, bytes], forbidden: Sequence[str]) -> None:
    """Make sure that no file holds a path of the machine that built it.

    Raises
    ------
    WheelError
        One does; the first is named with its path.
    """
    for name in sorted(files):
        if hit := find_path(files[name], forbidden):
            raise WheelError(
                f"{name} holds a path of the machine that built it",
                hint="the compiler's -ffile-prefix-map must cover this folder",
                context={"path": hit.text, "offset": str(hit.offset)},
            )


def check_binaries(files: Mapping[str, bytes], *, minimum_os: str) -> None:
    """Make sure that every library among the files is fit to be shipped.

    Raises
    ------
    WheelError
        One has a weakness; the first is named, the rest is in the context.
    """
    weaknesses = {
        name: elf_weaknesses(facts) for name, facts in elf_facts(sorted(files.items())).items()
    }
    for name, facts in macho_facts(sorted(files.items()), architecture=MAC_ARCHITECTURE).items():
        weaknesses[name] = macho_weaknesses(
            facts, architecture=MAC_ARCHITECTURE, minimum_os=minimum_os, file=name
        )
    for name, weak in weaknesses.items():
        if weak:
            raise WheelError(
                f"{name} is not fit to be shipped: {weak[0]}",
                hint="check the linker flags among the recipe's defines",
                context={"all of it": "; ".join(weak)},
            )


def _check_agreement(filename: str, files: Mapping[str, bytes], version: str) -> None:
    found = disagreements(filename, files, version) + interpreter_disagreements(filename, files)
    if found:
        raise WheelError(
            f"{filename} contradicts itself: {found[0]}",
            hint="remove the raw wheel and build again",
            context={"all of it": "; ".join(found[:10])},
        )


def _named(filename: str, version: str) -> str:
    distribution, _, *tags = filename.removesuffix(".whl").split("-")
    return "-".join((distribution, version, *tags)) + ".whl"


def finish_wheel(
    raw: Path, release: Release, *, sbom: bytes | None, repair: Repair, run: Run
) -> FinishedWheel:
    """Turn a raw wheel into the one that is shipped; the same input gives the same bytes.

    The version's local part is set everywhere at once, licence texts and the SBOM are put into
    ``.dist-info`` (PEP 639, PEP 770), auditwheel, delocate or :mod:`build.package.mac_wheel` gives
    the platform tag, RECORD is written anew, and the result is read back and compared before it
    gets its name. Finishing a finished wheel again changes nothing.

    Raises
    ------
    WheelError
        The wheel is unsafe, contradicts itself, has weak binaries, a forbidden path, or needs
        libraries that the platform does not promise.
    ResourceError
        The folder cannot be written.
    """
    check_writable(release.into)
    version, epoch = release.version, release.source_date_epoch
    files = add_licences(set_version(read_wheel(raw), version), release.licences)
    if sbom is not None:
        files[f"{dist_info(files)}/sboms/{SBOM_NAME}"] = sbom
    with tempfile.TemporaryDirectory(prefix="ortmill-wheel-") as name:
        scratch = Path(name).resolve()
        staged, repaired = scratch / "staged", scratch / "repaired"
        staged.mkdir()
        repaired.mkdir()
        unrepaired = staged / _named(raw.name, version)
        write_wheel(with_record(files), unrepaired, source_date_epoch=epoch, compression=1)
        written = repair_wheel(
            unrepaired, into=repaired, repair=repair, source_date_epoch=epoch, run=run
        )
        filename, final = written.name, with_record(read_wheel(written))
    check_binaries(final, minimum_os=repair.deployment_target)
    check_paths(final, release.forbidden_paths)
    target = release.into / filename
    with replacing(target) as part:
        write_wheel(final, part, source_date_epoch=epoch)
        _check_agreement(filename, read_wheel(part), version)
    return FinishedWheel(
        path=target,
        sha256=file_sha256(target),
        size=target.stat().st_size,
        tag="-".join(target.stem.split("-")[-3:]),
        files={path: hashlib.sha256(final[path]).hexdigest() for path in sorted(final)},
    )
