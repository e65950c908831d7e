"""``macho.objc``: what the code asks of Objective-C, by Apple's rules and beside the official one.

A wrong declaration compiles and links: the selector is right, and at run time a number is in
the wrong register. So calls are read back from the code: by selector (and by imported C function)
which argument registers every call sets, in which width, which numbers can reach them, and how
the result is read. The official binary, compiled against Apple's own headers, says what is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..policy.findings import Outcome
from .binaries import Binaries, pairs
from .code.callsites import UNREADABLE, CallSite, Reader, selector_references
from .code.registers import Value
from .image import Image

CHECK = "macho.objc"
CLASS = "_OBJC_CLASS_$_"
_FRAMEWORKS = "/System/Library/Frameworks/"
_RECEIVER_AND_SELECTOR = 2

ENUMERATIONS: dict[tuple[str, int], tuple[str, frozenset[int]]] = {
    ("setComputeUnits:", 0): ("MLComputeUnits", frozenset({0, 1, 2, 3})),
    ("initWithDataPointer:shape:dataType:strides:deallocator:error:", 2): (
        "MLMultiArrayDataType",
        frozenset({65552, 65568, 65600, 131080, 131104}),
    ),
    ("_CFStringGetCString()", 3): ("CFStringEncoding", frozenset({0x08000100})),
    ("_CFStringGetMaximumSizeForEncoding()", 1): ("CFStringEncoding", frozenset({0x08000100})),
}
"""Selector or function and argument to the values that Apple's SDK gives the enumeration, as the
wheels pyobjc-framework-CoreML 12.2.2 and -Cocoa 13.0 record them (of encodings, UTF-8 alone)."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What all calls of one selector or function have in common.

    Parameters
    ----------
    calls : int
        How many calls the code holds; inlining changes it.
    missing : frozenset of int
        Arguments that no call sets (by the colons of a selector).
    widths : dict of int to set of str
        Argument to ``64-bit``, ``32-bit``: of calls whose value is not a known number.
    numbers : dict of int to frozenset of int
        Argument to every number that any call can pass, where that is known for all calls.
    floats : frozenset of str
        Float registers that every call sets.
    more : frozenset of int
        General registers beyond the arguments that every call sets and nothing reads.
    results : frozenset of str
        ``general``, ``float``; ``32-bit``, ``64-bit``.
    receivers : frozenset of str
        Classes that it is sent to, where the code shows them.
    """

    calls: int
    missing: frozenset[int] = frozenset()
    widths: dict[int, frozenset[str]] = field(default_factory=dict)
    numbers: dict[int, frozenset[int]] = field(default_factory=dict)
    floats: frozenset[str] = frozenset()
    more: frozenset[int] = frozenset()
    results: frozenset[str] = frozenset()
    receivers: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Use:
    """Everything that one image asks of Objective-C and of the frameworks' C functions."""

    selectors: frozenset[str]
    classes: frozenset[str]
    blocks: tuple[str, ...]
    strings: frozenset[str]
    image_info: str
    profiles: dict[str, Profile]
    unreadable: int


def check_objc(ours: Binaries, official: Binaries | None) -> Outcome:
    """Judge every call; note selectors, classes, blocks, strings and calls that differ."""
    found = Outcome(check=CHECK)
    uses = {image.name: read_use(image) for image in ours.images}
    for name, use in uses.items():
        found.add_problems(name, rules(use))
        found.evidence[name] = {
            "selectors": sorted(use.selectors),
            "calls": sum(profile.calls for profile in use.profiles.values()),
        }
    for role, mine, theirs in pairs(ours, official):
        here, there = uses[mine.name], read_use(theirs)
        found.compare(role, _items(here), _items(there))
        for name in sorted(here.profiles.keys() & there.profiles.keys()):
            mine_said, theirs_said = contrast(here.profiles[name], there.profiles[name])
            found.compare(
                role,
                (f"{name} {fact}" for fact in mine_said),
                (f"{name} {fact}" for fact in theirs_said),
            )
        found.evidence[role] = {
            "selectors": sorted(here.selectors),
            "classes": sorted(here.classes),
            "blocks": list(here.blocks),
            "strings": sorted(here.strings),
            "calls": [
                {
                    "name": name,
                    "ours": _shown(here.profiles.get(name)),
                    "official": _shown(there.profiles.get(name)),
                }
                for name in sorted(here.profiles.keys() | there.profiles.keys())
            ],
        }
    selectors = len({name for use in uses.values() for name in use.selectors})
    calls = sum(profile.calls for use in uses.values() for profile in use.profiles.values())
    return replace(
        found, compared=f"{selectors} selectors, {calls} calls read back, each argument set"
    )


def read_use(image: Image) -> Use:
    """Read one image."""
    functions = frozenset(
        symbol
        for symbol, library in image.imports.items()
        if library.startswith(_FRAMEWORKS) and not symbol.startswith((CLASS, "___CF"))
    )
    grouped: dict[str, list[CallSite]] = {}
    unreadable = 0
    for site in Reader(image, functions).calls():
        if site.callee == UNREADABLE:
            unreadable += 1
        else:
            kind, _, name = site.callee.partition(" ")
            grouped.setdefault(name if kind == "selector" else f"{name}()", []).append(site)
    return Use(
        selectors=frozenset(name for _, name in selector_references(image)),
        classes=frozenset(
            symbol.removeprefix(CLASS)
            for symbol in image.bound.values()
            if symbol.startswith(CLASS)
        ),
        blocks=block_signatures(image),
        strings=constant_strings(image),
        image_info=_image_info(image),
        profiles={name: profile(name, sites) for name, sites in grouped.items()},
        unreadable=unreadable,
    )


def rules(use: Use) -> list[str]:
    """Return what is wrong whatever the official binary does."""
    problems = []
    if use.unreadable:
        problems.append(f"{use.unreadable} messages whose selector cannot be read back")
    for name, found in sorted(use.profiles.items()):
        problems += [f"no call of {name} sets argument {index + 1}" for index in found.missing]
        for index, numbers in found.numbers.items():
            kind, values = ENUMERATIONS.get((name, index), ("", numbers))
            if not numbers <= values:
                odd = ", ".join(str(number) for number in sorted(numbers - values))
                problems.append(f"{name} gets {odd} as its {kind}, which Apple does not define")
    return problems


def profile(name: str, sites: Sequence[CallSite]) -> Profile:
    """Return what the calls of one selector (or, with ``()``, of one function) have in common."""
    function = name.endswith("()")
    first = 0 if function else _RECEIVER_AND_SELECTOR
    fresh = [
        frozenset(
            number - first
            for number, value in site.general.items()
            if number >= first and not value.used and not value.inherited
        )
        for site in sites
    ]
    always = frozenset.intersection(*fresh)
    wanted = frozenset(range(name.count(":")) if not function else ())
    given = wanted if not function else _unbroken(always | {0} if _has_first(sites) else always)
    values = {
        index: [site.general[index + first] for site in sites if index + first in site.general]
        for index in sorted(given)
    }
    return Profile(
        calls=len(sites),
        missing=frozenset(index for index in wanted if not values[index]),
        widths={index: widths for index, found in values.items() if (widths := _widths(found))},
        numbers={index: numbers for index, found in values.items() if (numbers := _numbers(found))},
        floats=frozenset.intersection(*(frozenset(site.floats) for site in sites)),
        more=always - given,
        results=frozenset(word for site in sites for word in _result_words(site.result)),
        receivers=frozenset(site.receiver.rpartition(CLASS)[2] for site in sites if site.receiver),
    )


def contrast(ours: Profile, official: Profile) -> tuple[set[str], set[str]]:
    """Return what two profiles say against each other, in words, side by side.

    Known numbers have no width, because a small one is written in 32 bits wherever it goes;
    receivers count only where both sides show one.
    """
    mine, theirs = set(), set()
    if ours.floats != official.floats:
        mine |= {f"sets {name}" for name in ours.floats - official.floats}
        theirs |= {f"sets {name}" for name in official.floats - ours.floats}
    mine |= {f"sets register {number + 1} beyond" for number in ours.more - official.more}
    theirs |= {f"sets register {number + 1} beyond" for number in official.more - ours.more}
    if len(ours.widths.keys() | ours.numbers.keys()) != len(
        official.widths.keys() | official.numbers.keys()
    ):
        mine.add(f"takes {len(ours.widths.keys() | ours.numbers.keys())} arguments")
        theirs.add(f"takes {len(official.widths.keys() | official.numbers.keys())} arguments")
    for index in sorted(ours.widths.keys() & official.widths.keys()):
        here, there = ours.widths[index], official.widths[index]
        if _differs(here, there):
            mine.add(f"argument {index + 1} is {_or(here)}")
            theirs.add(f"argument {index + 1} is {_or(there)}")
    for index in sorted(ours.numbers.keys() & official.numbers.keys()):
        if ours.numbers[index] != official.numbers[index]:
            mine.add(f"argument {index + 1} is one of {_listed(ours.numbers[index])}")
            theirs.add(f"argument {index + 1} is one of {_listed(official.numbers[index])}")
    kinds, sizes = frozenset({"general", "float"}), frozenset({"32-bit", "64-bit"})
    if {*ours.results & kinds} ^ {*official.results & kinds} and ours.results and official.results:
        mine.add(f"result is {_or(ours.results & kinds)}")
        theirs.add(f"result is {_or(official.results & kinds)}")
    elif _differs(ours.results & sizes, official.results & sizes):
        mine.add(f"result is {_or(ours.results & sizes)}")
        theirs.add(f"result is {_or(official.results & sizes)}")
    if ours.receivers and official.receivers:
        mine |= {f"is sent to {name}" for name in ours.receivers - official.receivers}
        theirs |= {f"is sent to {name}" for name in official.receivers - ours.receivers}
    return mine, theirs


def _differs(ours: frozenset[str], official: frozenset[str]) -> bool:
    """Whether widths contradict: 32 bits in a place where the official code never has them.

    64 bits beside 32 are no contradiction, because a copy takes the whole register; 64 alone are.
    """
    if not ours or not official:
        return False
    return "32-bit" in ours - official or not ours & official


def block_signatures(image: Image) -> tuple[str, ...]:
    """Return the type encodings of blocks, sorted: ``v24@?0r^v8q16`` and the like.

    A block descriptor holds a pointer to its encoding, and every one names the block itself first
    (``@?0``).
    """
    found = set()
    for section in image.sections:
        if section.name not in ("__cstring", "__objc_methtype"):
            continue
        content = image.content(section)
        at = content.find(b"@?0")
        while at >= 0:
            start = content.rfind(b"\0", 0, at) + 1
            end = content.find(b"\0", at)
            found.add(content[start:end].decode("ascii", "replace"))
            at = content.find(b"@?0", end)
    return tuple(sorted(found))


def constant_strings(image: Image) -> frozenset[str]:
    """Return the texts of ``@"…"`` literals: 32 bytes each, the text's address at byte 16."""
    section = image.section("__cfstring")
    if section is None or not section.offset:
        return frozenset()
    texts = set()
    for address in range(section.address, section.address + section.size, 32):
        target = image.pointer(address + 16)
        text = image.text_at(target) if target is not None else None
        texts.add("(unreadable)" if text is None else text)
    return frozenset(texts)


def _image_info(image: Image) -> str:
    section = image.section("__objc_imageinfo")
    return image.content(section).hex() if section else ""


def _items(use: Use) -> list[str]:
    return [
        *(
            f"selector {name}{'' if name in use.profiles else ' (never sent)'}"
            for name in use.selectors
        ),
        *(f"class {name}" for name in use.classes),
        *(f"block {name}" for name in use.blocks),
        *(f'string "{text}"' for text in use.strings),
        *(f"calls {name}" for name in use.profiles if name.endswith("()")),
        f"image info {use.image_info}",
    ]


def _has_first(sites: Sequence[CallSite]) -> bool:
    """Whether every call has a value in ``x0`` that may well be its argument."""
    return all(0 in site.general for site in sites)


def _unbroken(numbers: frozenset[int]) -> frozenset[int]:
    count = 0
    while count in numbers:
        count += 1
    return frozenset(range(count))


def _widths(values: Sequence[Value]) -> frozenset[str]:
    words = {"x": "64-bit", "w": "32-bit"}
    return frozenset(
        words.get(value.width, value.width)
        for value in values
        if value.numbers is None or value.address
    )


def _numbers(values: Sequence[Value]) -> frozenset[int] | None:
    """Return every number that can be passed, or ``None`` when one value is not known."""
    found: set[int] = set()
    for value in values:
        if value.numbers is None or value.address:
            return None
        found |= value.numbers
    return frozenset(found)


def _result_words(result: str) -> tuple[str, ...]:
    return {
        "x": ("general", "64-bit"),
        "w": ("general", "32-bit"),
        "d": ("float", "64-bit"),
        "s": ("float", "32-bit"),
        "v": ("float",),
    }.get(result, ())


def _or(words: frozenset[str]) -> str:
    return " or ".join(sorted(words))


def _listed(numbers: frozenset[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _shown(found: Profile | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "calls": found.calls,
        "widths": {str(index + 1): _or(words) for index, words in found.widths.items()},
        "numbers": {str(index + 1): sorted(values) for index, values in found.numbers.items()},
        "floats": sorted(found.floats),
        "results": sorted(found.results),
        "receivers": sorted(found.receivers),
    }
