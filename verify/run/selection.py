"""Which checks a run carries out, and why it leaves the others out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..checks.table import CHECKS, Check, check_ids
from ..errors import VerifyError
from ..policy.limits import Policy
from ..policy.strict import nearest
from ..report import document


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What the user asked to run.

    Parameters
    ----------
    quick : bool
        Fewer samples; slow checks that the policy does not require are left out.
    only : tuple of str
        Check ids; none means all.
    keyword : str
        Words joined by ``or``, each of which may follow ``not``; a check is taken when its id or
        title holds the word.
    skip : Mapping[str, str]
        Check id to the reason for leaving it out.
    """

    quick: bool = False
    only: tuple[str, ...] = ()
    keyword: str = ""
    skip: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse ids that do not exist and skips without a reason."""
        for name in (*self.only, *self.skip):
            if name not in check_ids():
                raise VerifyError(
                    f'There is no check "{name}"{nearest(name, check_ids())}.',
                    hint="`python -m verify checks` lists every check.",
                )
        for name, reason in self.skip.items():
            if not reason.strip():
                raise VerifyError(
                    f"--skip {name} needs a reason, because the verdict repeats it.",
                    hint=f'Write --skip {name}="why it is left out".',
                )
        if self.keyword and not any(self._matches(check) for check in CHECKS):
            raise VerifyError(
                f'No check matches -k "{self.keyword}".',
                hint="`python -m verify checks` lists every check.",
            )

    @property
    def partial(self) -> bool:
        """Whether checks were left out by choosing others (and not by a skip with a reason)."""
        return bool(self.only or self.keyword)

    def left_out(self, check: Check, policy: Policy) -> str:
        """Return why a check is left out, or an empty string."""
        if check.id in self.skip:
            return f"skipped: {self.skip[check.id]}"
        if self.only and check.id not in self.only:
            return "not selected (--only)"
        if self.keyword and not self._matches(check):
            return "not selected (-k)"
        if self.quick and not check.quick and not policy.requires(check.id):
            return "left out by --quick"
        return ""

    def concerns(self, check: Check, policy: Policy) -> bool:
        """Return whether a run lists the check at all.

        Checks of a wheel's bytes are about one kind of wheel: they belong to the policies that
        name them, and to whoever asks for one with ``--only``.
        """
        return check.place != "wheel" or check.id in policy.required or check.id in self.only

    def part(self) -> document.Selection:
        """Return the ``selection`` part of verify.json."""
        patterns = [*self.only, *([f"-k {self.keyword}"] if self.keyword else [])]
        return document.Selection(quick=self.quick, only=patterns, skip=dict(self.skip))

    @classmethod
    def from_part(cls, part: document.Selection) -> Selection:
        """Return the selection that :meth:`part` wrote; checks that are gone are left out."""
        words = [name.removeprefix("-k ") for name in part.only if name.startswith("-k ")]
        return cls(
            quick=part.quick,
            only=tuple(name for name in part.only if name in check_ids()),
            keyword=" or ".join(words),
            skip=part.skip,
        )

    def _matches(self, check: Check) -> bool:
        text = f"{check.id} {check.title}".lower()
        for term in self.keyword.lower().split(" or "):
            words = term.split()
            if words[:1] == ["not"]:
                if " ".join(words[1:]) not in text:
                    return True
            elif words and " ".join(words) in text:
                return True
        return False
