"""wheel.identity: what is installed is, file by file, what the build wrote down."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ..encoder.model_recipe import file_sha256
from ..environment.context import TargetContext
from ..policy.result import CheckResult

ID = "wheel.identity"
_SHOWN = 8


def wheel_identity(context: TargetContext) -> CheckResult:
    """Compare version, commit and the hash of every file with the manifest.

    Without a manifest the wheel can only be compared with its own RECORD; that proves no origin,
    so the check is then ``not-run``.
    """
    import onnxruntime

    distribution = metadata.distribution("onnxruntime")
    root = Path(str(distribution.locate_file("")))
    problems = _one_runtime(Path(onnxruntime.__file__))
    problems += _record(distribution, root)
    build_info = str(onnxruntime.get_build_info())
    evidence: dict[str, Any] = {
        "version": distribution.version,
        "module_version": onnxruntime.__version__,
        "build_info": build_info,
        "location": "onnxruntime of the clean environment",
    }
    manifest = context.manifest
    if manifest is not None:
        problems += _manifest(manifest, distribution.version, onnxruntime.__version__, build_info)
        problems += _files(manifest["wheel"]["files"], root)
        evidence["files_compared"] = len(manifest["wheel"]["files"])
        evidence["commit"] = manifest["commit"]
        evidence["recipe_digest"] = manifest["recipe"]["digest"]
    evidence["differences"] = problems
    if problems:
        shown = "; ".join(problems[:_SHOWN])
        return CheckResult(
            id=ID,
            status="failed",
            summary=f"{len(problems)} differences: {shown}",
            measured=len(problems),
            limit=0,
            unit="differences",
            evidence=evidence,
            hint="Build the wheel again with `nox -s build`; do not ship this one.",
        )
    if manifest is None:
        return CheckResult(
            id=ID,
            status="not-run",
            summary=f"{distribution.version} agrees with its own RECORD; "
            "no manifest tells where it comes from",
            evidence=evidence,
            hint="Verify the wheel in the folder where `nox -s build` put it with manifest.json.",
        )
    return CheckResult(
        id=ID,
        status="passed",
        summary=f"{distribution.version}, {evidence['files_compared']} files equal the manifest",
        measured=0,
        limit=0,
        unit="differences",
        evidence=evidence,
    )


def _one_runtime(module: Path) -> list[str]:
    names = sorted(
        str(entry.metadata["Name"])
        for entry in metadata.distributions()
        if str(entry.metadata["Name"]).lower().startswith("onnxruntime")
    )
    problems = []
    if names != ["onnxruntime"]:
        problems.append(f"the environment holds {names}, not one onnxruntime")
    if not module.resolve().is_relative_to(Path(sys.prefix).resolve()):
        problems.append(f"onnxruntime was imported from outside the environment ({module})")
    return problems


def _record(distribution: metadata.Distribution, root: Path) -> list[str]:
    """Compare the installed files with the wheel's RECORD."""
    problems = []
    for entry in distribution.files or ():
        if entry.hash is None or entry.hash.mode != "sha256":
            continue
        path = root / entry
        if not path.is_file():
            problems.append(f"{entry} of RECORD is missing")
            continue
        digest = hashlib.sha256(path.read_bytes()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != entry.hash.value:
            problems.append(f"{entry} differs from RECORD")
    return problems


def _manifest(
    manifest: Mapping[str, Any], version: str, module_version: str, build_info: str
) -> list[str]:
    problems = []
    if version != manifest["version"]:
        problems.append(f"version {version} is not the manifest's {manifest['version']}")
    if module_version != manifest["version"]:
        problems.append(f"onnxruntime.__version__ is {module_version}, not {manifest['version']}")
    stated = _stated_commit(build_info)
    if stated is None or not str(manifest["commit"]).startswith(stated):
        problems.append(
            f"the build info names commit {stated}, not the manifest's {manifest['commit'][:10]}"
        )
    return problems


def _stated_commit(build_info: str) -> str | None:
    """Return the commit in ``… git-commit-id=e0b66cad28, …``, or ``None``."""
    for part in build_info.replace(",", " ").split():
        if part.startswith("git-commit-id="):
            return part.removeprefix("git-commit-id=") or None
    return None


def _files(files: Mapping[str, str], root: Path) -> list[str]:
    problems = []
    for name, sha256 in files.items():
        if name.endswith(".dist-info/RECORD"):
            continue  # the installer writes its own
        path = root / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif file_sha256(path) != sha256:
            problems.append(f"{name} differs from the manifest")
    known = set(files)
    for folder in sorted({name.split("/")[0] for name in files if "/" in name}):
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            installed = path.name in {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
            if path.is_file() and name not in known and path.suffix != ".pyc" and not installed:
                problems.append(f"{name} is not in the manifest")
    return problems
