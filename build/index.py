"""A private package index from ``wheels/``: static files that pip installs from.

Format: the simple repository API, as pages (PEP 503) and as JSON (PEP 691) beside them. Addresses
are relative, so the folder serves from a file system, any web server or an object store alike.
"""

from __future__ import annotations

import html
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import parse_email
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .errors import UsageError, WheelError
from .system.digest import file_sha256
from .system.files import write_whole

_API = "1.0"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One wheel of an index: ``project`` is its distribution's normalised name.

    ``requires_python`` is as its metadata says; empty where they say nothing.
    """

    path: Path
    project: str
    sha256: str
    requires_python: str


def read_offers(wheels: Path) -> tuple[Offer, ...]:
    """Return every wheel below a folder, by project and file name.

    Raises
    ------
    UsageError
        There is none.
    WheelError
        A file called a wheel is none.
    """
    found = tuple(_read(file) for file in sorted(wheels.rglob("*.whl")))
    if not found:
        raise UsageError(
            f"there is no wheel below {wheels}", hint="build one with `python -m build run`"
        )
    return tuple(sorted(found, key=lambda offer: (offer.project, offer.path.name)))


def _read(file: Path) -> Offer:
    try:
        name, *_ = parse_wheel_filename(file.name)
        with zipfile.ZipFile(file) as archive:
            inside = next(
                each for each in archive.namelist() if each.endswith(".dist-info/METADATA")
            )
            metadata, _ = parse_email(archive.read(inside))
    except (InvalidWheelFilename, zipfile.BadZipFile, StopIteration) as error:
        raise WheelError(
            f"{file} is no wheel: {error or 'it holds no METADATA'}",
            hint="remove it from the folder, or build it again",
        ) from error
    return Offer(
        path=file,
        project=canonicalize_name(name),
        sha256=file_sha256(file),
        requires_python=metadata.get("requires_python", ""),
    )


def write_index(offers: Iterable[Offer], folder: Path) -> tuple[Path, ...]:
    """Write ``index.html`` and ``index.json`` of the index and of each project; return the files.

    The wheels stay where they are. ``folder`` is what pip gets as ``--index-url``, usually
    ``wheels/simple``.
    """
    projects: dict[str, list[Offer]] = {}
    for offer in offers:
        projects.setdefault(offer.project, []).append(offer)
    texts: dict[Path, str] = {
        folder / "index.html": _page((f"{name}/", name, {}) for name in projects),
        folder / "index.json": _json({"projects": [{"name": name} for name in projects]}),
    }
    for name, own in projects.items():
        place = folder / name
        links = [(_address(offer, place), offer) for offer in own]
        texts[place / "index.html"] = _page(
            (
                f"{address}#sha256={offer.sha256}",
                offer.path.name,
                {"data-requires-python": offer.requires_python},
            )
            for address, offer in links
        )
        files = [
            {
                "filename": offer.path.name,
                "url": address,
                "hashes": {"sha256": offer.sha256},
                "size": offer.path.stat().st_size,
                **({"requires-python": offer.requires_python} if offer.requires_python else {}),
            }
            for address, offer in links
        ]
        texts[place / "index.json"] = _json({"name": name, "files": files})
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    return tuple(texts)


def _address(offer: Offer, folder: Path) -> str:
    # `+` of a local version means a space to some servers.
    relative = Path(os.path.relpath(offer.path, folder)).as_posix()
    return relative.replace("%", "%25").replace("+", "%2B")


def _json(content: Mapping[str, object]) -> str:
    return json.dumps({"meta": {"api-version": _API}, **content}, indent=1) + "\n"


def _page(links: Iterable[tuple[str, str, Mapping[str, str]]]) -> str:
    lines = [
        "<!doctype html>",
        f'<meta charset="utf-8"><meta name="pypi:repository-version" content="{_API}">',
        "<title>Simple index</title>",
    ]
    for address, text, attributes in links:
        more = "".join(f' {name}="{html.escape(v)}"' for name, v in attributes.items() if v)
        lines.append(f'<a href="{html.escape(address)}"{more}>{html.escape(text)}</a><br>')
    return "\n".join(lines) + "\n"
