"""What a recipe's release is called, and when it was made."""

from __future__ import annotations

import datetime

from packaging.version import Version

from .format import Recipe


def local_version(upstream: str, digest: str) -> str:
    """Return the wheel's version: upstream's with the recipe's digest as its local part.

    Eight hex digits without a letter are a number to PEP 440, which drops leading zeros; the
    normal form is used from the start, since installers write that one.

    Examples
    --------
    >>> local_version("1.21.0", "0b5e77aa91")
    '1.21.0+ortmill.0b5e77aa'
    >>> local_version("1.21.0", "0012345699")
    '1.21.0+ortmill.123456'
    """
    return str(Version(f"{upstream}+ortmill.{digest[:8]}"))


def source_date_epoch(recipe: Recipe) -> int:
    """Return the release's day as seconds since 1970, the time stamp of every file shipped."""
    day = datetime.date.fromisoformat(recipe.source.date)
    moment = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
    return int(moment.timestamp())
