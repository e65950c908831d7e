"""What a library of ours must be: by itself, and compared with the official one.

Each rule that is broken is a clause that can follow the file's name.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence

from .elf import ElfFacts
from .macho import MachoFacts

_SYSTEM = ("/usr/lib/", "/System/Library/")
_ELF_FOLDER = re.compile(r"\$(ORIGIN|\{ORIGIN\})/?\.?")
_MACHO_FOLDER = re.compile(r"@loader_path/?\.?")
# Every name of Python's C API as the linker writes it.
_PYTHON = re.compile(r"__?Py[A-Z_]\w*")
_RELATIVE = ("@loader_path/", "@rpath/")
_LIBRARY = re.compile(r"(libonnxruntime)\.(\d+)\.(\d+)\.\d+\.dylib")
# The first version whose install name has the major version alone (onnxruntime#28094).
_MAJOR_ALONE = (1, 26)
# More exports than this above the reference: the linker's export list was not applied.
_EXPORT_SLACK = 16
_MOST_TOLD = 5


def version_key(version: str) -> tuple[int, ...]:
    """Return a version of macOS as numbers that compare rightly: ``13`` is ``13.0``."""
    numbers = [int(part) for part in version.split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def install_name(file: str) -> str:
    """Return the install name that a library must have.

    Examples
    --------
    >>> install_name("lib/libonnxruntime.1.21.0.dylib")
    '@rpath/libonnxruntime.1.21.0.dylib'
    >>> install_name("lib/libonnxruntime.1.26.0.dylib")
    '@rpath/libonnxruntime.1.dylib'
    """
    name = posixpath.basename(file)
    found = _LIBRARY.fullmatch(name)
    if found and (int(found[2]), int(found[3])) >= _MAJOR_ALONE:
        name = f"{found[1]}.{found[2]}.dylib"
    return f"@rpath/{name}"


def is_system_library(linked: str) -> bool:
    """Return whether every Mac has the library."""
    return posixpath.normpath(linked) == linked and linked.startswith(_SYSTEM)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_TOLD
    return ", ".join(names[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


def elf_weaknesses(facts: ElfFacts) -> list[str]:
    """Return what no ELF file of ours may have or lack; empty when it is sound."""
    found = []
    if facts.gnu_stack_executable:
        found.append("its stack is executable")
    if facts.text_relocations:
        found.append("its code must be changed while loading (text relocations)")
    if facts.relro != "full":
        found.append(f"its relocations stay writable (RELRO is {facts.relro})")
    if not facts.stripped:
        found.append("it is not stripped")
    return found + _outside(facts.rpath, _ELF_FOLDER)


def compare_elf(facts: ElfFacts, reference: ElfFacts) -> list[str]:
    """Return where an ELF file of ours is weaker than the official one; empty when it is not.

    The clauses of :func:`elf_weaknesses` come first.
    """
    found = elf_weaknesses(facts)
    if reference.bind_now and not facts.bind_now:
        found.append("its symbols are bound late, the reference's at load time")
    if reference.build_id and not facts.build_id:
        found.append("it has no build id")
    return found + _weaker(facts, reference)


def _outside(rpaths: Sequence[str], own: re.Pattern[str]) -> list[str]:
    outside = [path for path in rpaths if not own.fullmatch(path)]
    return [f"it looks for libraries outside its own folder: {_some(outside)}"] if outside else []


def _weaker(facts: ElfFacts | MachoFacts, reference: ElfFacts | MachoFacts) -> list[str]:
    """Compare what both formats have."""
    found = []
    if reference.has_stack_protector and not facts.has_stack_protector:
        found.append("no function has a stack protector")
    if reference.fortified_symbols and not facts.fortified_symbols:
        found.append("no call is fortified (_FORTIFY_SOURCE)")
    if facts.exports_count > reference.exports_count + _EXPORT_SLACK:
        found.append(
            f"it exports {facts.exports_count} symbols, the reference {reference.exports_count}"
        )
    return found


def _target_weaknesses(facts: MachoFacts, architecture: str, minimum_os: str) -> list[str]:
    found = []
    if facts.architectures != (architecture,):
        found.append(f"it is for {', '.join(facts.architectures)} and not for {architecture} alone")
    if facts.filetype not in ("dylib", "bundle"):
        found.append(f"it is no library that can be loaded but of the type {facts.filetype}")
    if facts.platform != "macOS":
        found.append(f"it is for {facts.platform or 'no platform that it names'}, not for macOS")
    if not facts.minos:
        found.append("it does not say which macOS it needs")
    elif minimum_os and version_key(facts.minos) > version_key(minimum_os):
        found.append(f"it needs macOS {facts.minos}, newer than {minimum_os}")
    return found


def _loading_weaknesses(facts: MachoFacts, file: str) -> list[str]:
    found = []
    if not facts.two_level:
        found.append("its symbols are looked for in every library (flat namespace)")
    native = facts.install_name.endswith(".dylib")
    odd = [name for name in facts.flat_lookups if native or not _PYTHON.fullmatch(name)]
    if facts.two_level and odd:
        found.append(f"nothing that it is linked with defines {_some(odd)}")
    if facts.exports != facts.external:
        odd = sorted(facts.exports ^ facts.external)
        found.append(f"its export trie and its symbol table disagree about {_some(odd)}")
    if facts.fixups == "none":
        found.append("it says nothing of what dyld must bind in it")
    found += _outside(facts.rpaths, _MACHO_FOLDER)
    if len(facts.rpaths) != len(set(facts.rpaths)):
        # dyld of macOS 15.4 ends with "duplicate LC_RPATH" where older ones did not look.
        found.append(f"it names the same rpath twice: {_some(facts.rpaths)}")
    foreign = [
        name
        for name in facts.dependencies
        if not is_system_library(name) and not name.startswith(_RELATIVE)
    ]
    if foreign:
        found.append(f"it needs a library that is no part of macOS: {_some(foreign)}")
    wanted = install_name(file) if file else facts.install_name
    below = facts.install_name.startswith("@rpath/")
    if facts.filetype == "dylib" and not (below and facts.install_name == wanted):
        found.append(
            f"its install name is {facts.install_name or 'empty'}, not {wanted or 'below @rpath'}"
        )
    return found


def macho_weaknesses(
    facts: MachoFacts, *, architecture: str, minimum_os: str, file: str = ""
) -> list[str]:
    """Return what no Mach-O file of ours may have or lack; empty when it is sound.

    ``minimum_os`` is the newest macOS that it may ask for, ``13.3``; empty where nothing was
    promised. :func:`install_name` follows from the name ``file``.
    """
    found = _target_weaknesses(facts, architecture, minimum_os)
    if facts.executable_stack:
        found.append("its stack is executable")
    if facts.writable_code:
        found.append(f"its code can be written to: {', '.join(facts.writable_code)}")
    if not facts.stripped:
        found.append(f"it is not stripped: {facts.local_symbols} symbols have no use")
    found += _loading_weaknesses(facts, file)
    signature = facts.signature
    if signature is None:
        found.append("it is not signed, and no Mac with Apple silicon would load it")
    else:
        found += [f"its signature does not hold: {problem}" for problem in signature.problems]
        if not signature.problems and not signature.ad_hoc:
            found.append("its signature is not ad hoc")
    return found


def compare_macho(
    facts: MachoFacts, reference: MachoFacts, *, architecture: str, minimum_os: str, file: str = ""
) -> list[str]:
    """Return where a Mach-O file of ours is weaker than the official one; empty when it is not.

    ``reference`` is the same file of the official wheel, the same architecture of it. The clauses
    of :func:`macho_weaknesses` come first.
    """
    found = macho_weaknesses(facts, architecture=architecture, minimum_os=minimum_os, file=file)
    extra = [name for name in facts.dependencies if name not in reference.dependencies]
    if extra:
        found.append(f"it needs libraries that the reference does not: {_some(extra)}")
    lost = [path for path in reference.rpaths if path not in facts.rpaths]
    if lost:
        found.append(f"it does not look for libraries where the reference does: {_some(lost)}")
    if reference.function_starts and not facts.function_starts:
        found.append("it has no list of function starts, so crash reports cannot name functions")
    if reference.uuid and not facts.uuid:
        found.append("it has no UUID")
    return found + _weaker(facts, reference)
