"""The list of everything compiled in, as CycloneDX 1.6 JSON (ECMA-424; PEP 770 places it)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from .manifest import Input

# Any fixed namespace will do; the document's serial number is derived from its content.
_NAMESPACE = uuid.UUID("6f1f6f0e-3b0c-5c55-9d7e-8a0f6b3c1d21")
_TREES = ("git", "overlay")
_REGISTRIES = ("pypi", "debian")
_POOL_DEPTH = 4
_REFERENCES = {"git": ExternalReferenceType.VCS, "archive": ExternalReferenceType.DISTRIBUTION}


_GITHUB = re.compile(
    r"https://github\.com/(?P<owner>[^/]+)/(?P<name>[^/@]+?)(?:\.git)?"
    r"(?:@(?P<commit>[0-9a-f]{40})|/archive/(?:refs/tags/)?(?P<tag>.+?)\.(?:zip|tar\.gz))"
)
# NAME_VERSION of Debian's pool: a source's archive, or a binary package with its architecture.
_DEBIAN = re.compile(r"[^_/]+_(?P<version>[^_/]+?)(?:\.orig\.tar\.\w+|_\w+\.deb)")
_CPES = {
    "onnxruntime": "microsoft:onnxruntime",
    "abseil_cpp": "abseil:common_libraries",
    "flatbuffers": "google:flatbuffers",
    "json": "json-for-modern-cpp_project:json-for-modern-cpp",
    "onnx": "linuxfoundation:onnx",
    "protobuf": "google:protobuf",
}
"""Input to the vendor and product that the National Vulnerability Database knows it by."""


def package_url(item: Input) -> PackageURL:
    """Return the name by which a scanner knows what an input is made of.

    It follows from the origin, not from the name that CMake gives a dependency: the project on the
    Python index, Debian's source package, the repository on GitHub. What is ortmill's own has
    ortmill's name, so that nobody takes a stand-in for the real thing. A file that is laid out
    like none of them has a generic name.
    """
    path = item.locator.partition(":")[2] if item.kind in _REGISTRIES else item.locator
    if item.kind == "pypi":
        project, _, rest = path.partition("==")
        release, _, file = rest.partition("/")
        if release and file:
            return PackageURL(
                "pypi",
                name=canonicalize_name(project),
                version=release,
                qualifiers={"file_name": file},
            )
    if item.kind == "debian":
        # pool/<area>/<prefix>/<source package>/<file>
        found = _DEBIAN.fullmatch(path.rpartition("/")[2])
        if found is not None and path.count("/") == _POOL_DEPTH:
            return PackageURL(
                "deb",
                namespace="debian",
                name=path.split("/")[3],
                version=found["version"],
                qualifiers={"arch": "source"},
            )
    found = _GITHUB.fullmatch(path)
    if found is not None:
        return PackageURL(
            "github",
            namespace=found["owner"],
            name=found["name"],
            version=found["commit"] or found["tag"],
        )
    own = "ortmill" if item.kind == "overlay" else None
    return PackageURL("generic", namespace=own, name=item.name, version=item.version or None)


def cpe(item: Input) -> str | None:
    """Return the CPE 2.3 name of an input, where the vulnerability database has one.

    A stand-in has none: what is known of the real thing does not hold for it.
    """
    product = _CPES.get(item.name)
    if product is None or item.kind == "overlay":
        return None
    return f"cpe:2.3:a:{product}:{item.version}:*:*:*:*:*:*:*"


def _component(item: Input) -> Component:
    component = Component(
        name=item.name,
        version=item.version or None,
        type=ComponentType.LIBRARY,
        bom_ref=f"{item.kind}:{item.name}@{item.sha256[:16]}",
        licenses=[LicenseFactory().make_from_string(item.licence)],
        purl=package_url(item),
        cpe=cpe(item),
        properties=[
            Property(name="ortmill:origin", value=item.kind),
            Property(name="ortmill:locator", value=item.locator),
        ],
    )
    if item.kind in _TREES:
        # CycloneDX hashes are of a file; a tree's digest is a number of our own making.
        component.properties.add(Property(name="ortmill:tree-sha256", value=item.sha256))
    else:
        component.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=item.sha256))
    if item.kind in _REFERENCES:
        url = item.locator.rpartition("@")[0] if item.kind == "git" else item.locator
        component.external_references.add(
            ExternalReference(type=_REFERENCES[item.kind], url=XsUri(url or item.locator))
        )
    return component


def _document(
    root: Component, parts: Sequence[Component], serial: uuid.UUID, moment: datetime
) -> str:
    bom = Bom(components=parts, serial_number=serial)
    bom.metadata.timestamp = moment
    bom.metadata.component = root
    bom.register_dependency(root, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def make_sbom(
    *, name: str, version: str, licence: str, inputs: Sequence[Input], source_date_epoch: int
) -> bytes:
    """Return the SBOM of the wheel, UTF-8 JSON; the same inputs give the same bytes in any order.

    ``licence`` is that of the whole, an SPDX expression or a name; ``source_date_epoch`` is in
    seconds since 1970. Tools that leave nothing behind are left out. References point upstream
    only; files of package registries are named by package URL and by their path below the
    registry's root, without a host.
    """
    root = Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=f"{name}@{version}",
        licenses=[LicenseFactory().make_from_string(licence)],
        purl=PackageURL("pypi", name=name, version=version),
    )
    kept = {item.name + item.kind + item.sha256: item for item in inputs if item.kind != "tool"}
    parts = [_component(kept[key]) for key in sorted(kept)]
    moment = datetime.fromtimestamp(source_date_epoch, tz=UTC)
    # The serial number names the content, so the content is written once without it.
    first = _document(root, parts, uuid.UUID(int=0), moment)
    text = _document(root, parts, uuid.uuid5(_NAMESPACE, first), moment)
    return text.encode() + b"\n"
