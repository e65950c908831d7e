"""A part of this machine that takes itself for a Mac: its kernel's name, its Python, its programs.

All of it is mounted over the machine's own folders in a namespace, so that commands whose
environment is clean find it too, and nothing outside sees any of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.rehearsal.commands import Failed

SYSTEM = Path(__file__).resolve().parent / "system"
# A Mac's is below /Applications or /Library; the manifest names it, and must name no place of a
# user's.
SDK = Path("/etc/rehearsal/MacOSX.sdk")


@dataclass(frozen=True, kw_only=True)
class Additions:
    """Files that a folder of the machine gets: text of programs, and links to folders."""

    programs: Mapping[str, str]
    files: Mapping[str, Path]


def compile_kernel_name(into: Path) -> Path:
    """Compile the library that answers ``uname()`` for the kernel.

    Raises
    ------
    Failed
        This machine has no C compiler.
    """
    library = into / "librehearsal_uname.so"
    words = ["-O2", "-fPIC", "-shared", "-nostdlib", "-fno-builtin", "-fno-stack-protector"]
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Failed("there is no C compiler (cc) on the PATH")
    subprocess.run([compiler, *words, "-o", str(library), str(SYSTEM / "uname.c")], check=True)
    return library


def overlay(target: Path, additions: Additions, scratch: Path) -> None:
    """Let a folder of the machine hold more, for this namespace alone."""
    target = target.resolve()
    upper, work = scratch / "upper", scratch / "work"
    for folder in (upper, work):
        folder.mkdir(parents=True)
    for name, text in additions.programs.items():
        (upper / name).write_text(text, encoding="utf-8")
        (upper / name).chmod(0o755)
    for name, source in additions.files.items():
        place = upper / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            place.symlink_to(source)
        else:
            shutil.copyfile(source, place)
    what = f"lowerdir={target},upperdir={upper},workdir={work}"
    done = subprocess.run(
        ["mount", "-t", "overlay", "rehearsal", "-o", what, str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(
            f"{target} cannot be laid over: {done.stderr.strip()}. The rehearsal needs Linux 5.11 "
            "or newer, where overlays are allowed in user namespaces"
        )


def become_a_mac(
    scratch: Path,
    *,
    programs: Mapping[str, str],
    python: Mapping[str, Path],
    sdk: Path | None = None,
) -> None:
    """Lay a Mac over this namespace's machine; every program that starts after it is on one.

    Parameters
    ----------
    scratch : Path
        An empty folder for the layers.
    programs : Mapping[str, str]
        Scripts for ``/usr/bin`` and ``/usr/sbin``, by name.
    python : Mapping[str, Path]
        What the interpreter's library gets beside its start-up file, by path there.
    sdk : Path, optional
        What stands at :data:`SDK`.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    # Memory's own file system: where this machine's root is a layer itself, its folders cannot be
    # the upper one.
    subprocess.run(["mount", "-t", "tmpfs", "rehearsal", str(scratch)], check=True)
    preload = compile_kernel_name(scratch)
    # Copied files and not links: the layers' own folder is hidden by nothing.
    overlay(Path("/usr/bin"), Additions(programs=programs, files={}), scratch / "bin")
    if Path("/usr/sbin").resolve() != Path("/usr/bin").resolve():
        daemons = {name: text for name, text in programs.items() if name == "sysctl"}
        overlay(Path("/usr/sbin"), Additions(programs=daemons, files={}), scratch / "sbin")
    library = {
        "sitecustomize.py": SYSTEM / "sitecustomize.py",
        "_scproxy.py": SYSTEM / "_scproxy.py",
        "rehearsal/__init__.py": SYSTEM / "__init__.py",
        **python,
    }
    stdlib = Path(sysconfig.get_path("stdlib"))
    overlay(stdlib, Additions(programs={}, files=library), scratch / "python")
    preloads = {"ld.so.preload": f"{preload}\n"}
    links = {str(SDK.relative_to("/etc")): sdk} if sdk else {}
    overlay(Path("/etc"), Additions(programs=preloads, files=links), scratch / "etc")


def what_it_says() -> Mapping[str, str]:
    """Return what the rehearsed Mac says of itself, each asked of another program.

    Raises
    ------
    Failed
        One of them says Linux.
    """
    code = "import platform, sys, sysconfig; print(sys.platform, platform.system(), " \
        "platform.machine(), sysconfig.get_platform(), platform.mac_ver()[0])"  # fmt: skip
    asked = {
        "uname -sm": ["uname", "-sm"],
        "python": [os.path.realpath("/proc/self/exe"), "-c", code],
        "sw_vers -productVersion": ["sw_vers", "-productVersion"],
        "xcrun --show-sdk-version": ["xcrun", "--sdk", "macosx", "--show-sdk-version"],
    }
    expected = {"uname -sm": "Darwin arm64", "python": "darwin Darwin arm64 macosx-11.0-arm64 15.5"}
    found = {}
    for name, words in asked.items():
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        found[name] = done.stdout.strip()
        if found[name] != expected.get(name, found[name]) or done.returncode:
            raise Failed(f"`{name}` says {found[name] or done.stderr!r}")
    return found
