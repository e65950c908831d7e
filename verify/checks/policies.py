"""The policies as files: TOML below ``verify/policy``, or anywhere else (``--policy FILE``).

They are read in this room because a policy names checks of the table.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import PolicyError
from ..policy import limits, strict
from ..policy.limits import Policy, host_kind, wheel_kind
from .table import check_ids


def policy_names() -> list[str]:
    """Return the names of the policies that come with the package."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def find_policy(
    name: str | None, *, wheel: str = "", own: bool = True, installable: bool = True
) -> Policy:
    """Load a policy by name, by path, or (``None``) the one for this kind of host and wheel.

    For the file name of a wheel that is made for another kind of host, a policy is looked for that
    only reads it. ``own`` is whether ortmill made the wheel: its own standards are for its own
    wheels. Somebody else's that this interpreter cannot install (``installable``) is read.

    Raises
    ------
    PolicyError
        When there is none, or it has mistakes.
    """
    if name is None:
        kind = wheel_kind(wheel)
        known = [load_policy(_folder() / f"{entry}.toml") for entry in policy_names()]
        here = [policy for policy in known if host_kind() in policy.hosts and policy.own == own]
        read = kind != host_kind() or not (own or installable)
        foreign = [policy for policy in here if read and kind in policy.wheels]
        suited = foreign or [policy for policy in here if policy.executes]
        if suited:
            return suited[0]
        raise PolicyError(
            f"No policy is made for this kind of host ({host_kind()}).",
            hint=f"Name one with --policy: {', '.join(policy_names())}, or a TOML file.",
        )
    if name.endswith(".toml"):
        return load_policy(Path(name))
    if name not in policy_names():
        raise PolicyError(
            f'There is no policy "{name}"{strict.nearest(name, policy_names())}.',
            hint=f"Known policies: {', '.join(policy_names())}; or give a path to a TOML file.",
        )
    return load_policy(_folder() / f"{name}.toml")


def load_policy(path: Path) -> Policy:
    """Read one policy file strictly.

    Raises
    ------
    PolicyError
        Every unknown key, wrong type, number out of range and unknown check id, at once.
    """
    data = strict.read_toml(path, what="policy")
    problems: list[str] = []
    required = data.get("required")
    if isinstance(required, dict):
        problems = [
            f'  - required: unknown check "{name}"{strict.nearest(name, check_ids())}'
            for name in required
            if name not in check_ids()
        ]
    try:
        policy = strict.load(Policy, data, where=f"The policy {path}")
    except PolicyError as error:
        if not problems:
            raise
        raise PolicyError("\n".join([error.problem, *problems]), hint=error.hint) from None
    if problems:
        raise PolicyError(
            "\n".join([f"The policy {path} has mistakes:", *problems]),
            hint="`python -m verify checks` lists every check.",
        )
    return policy


def _folder() -> Path:
    return Path(limits.__file__).resolve().parent
