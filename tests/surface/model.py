"""The Apple surface as data: what its headers declare."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """One thing that the surface declares.

    Attributes
    ----------
    kind : str
        "class", "protocol", "method", "property", "function", "type" or "constant".
    name : str
        As people write it: ``-[MLModel …]``, ``MLMultiArray.shape``, ``CFRelease``.
    member : str
        The name alone: a selector, a property's or a function's name.
    owner : str
        The class, protocol or enumeration that it belongs to, or "".
    class_level : bool
        A class method or a class property.
    result, parameters
        Types as Clang prints them; ``parameters`` is empty for a property.
    selectors : tuple[str, ...]
        What a method or a property answers to.
    bases : tuple[str, ...]
        The superclass and the protocols of a class, the base protocols of a protocol.
    generics : tuple[str, ...]
        Type parameters of a class.
    value : int or None
        A constant's value.
    documentation, stated, available : str
        The path of the documentation page, the macOS version in the comment and the one in the
        attribute; "" where there is none.
    file, line
        Where it stands; ``file`` is relative to the surface.
    variadic : bool
        A function with ``...``.
    """

    kind: str
    name: str
    member: str
    file: str
    line: int
    owner: str = ""
    class_level: bool = False
    result: str = ""
    parameters: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    generics: tuple[str, ...] = ()
    value: int | None = None
    documentation: str = ""
    stated: str = ""
    available: str = ""
    variadic: bool = False

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Surface:
    """All declarations, and what the Objective-C runtime's own headers add to NSObject."""

    declarations: tuple[Declaration, ...]
    runtime_selectors: frozenset[str] = field(default_factory=frozenset)

    def of_kind(self, *kinds: str) -> list[Declaration]:
        """Return the declarations of some kinds, in the order of the headers."""
        return [each for each in self.declarations if each.kind in kinds]

    def members(self, owner: str) -> list[Declaration]:
        """Return the methods and properties of a class or protocol."""
        return [d for d in self.of_kind("method", "property") if d.owner == owner]

    def find(self, owner: str, selector: str, *, class_level: bool) -> Declaration | None:
        """Return what answers a selector, looked for as the language does."""
        for member in self.members(owner):
            if selector in member.selectors and member.class_level == class_level:
                return member
        for each in self.of_kind("class", "protocol"):
            if each.name == owner:
                for base in each.bases:
                    found = self.find(base, selector, class_level=class_level)
                    if found:
                        return found
        return None
