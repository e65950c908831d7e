"""The list of what is compiled in: valid CycloneDX 1.6, the same every time, without hosts."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from packageurl import PackageURL

from build.package.manifest import Input
from build.package.sbom import make_sbom, package_url

INPUTS = (
    Input(
        name="onnxruntime",
        version="1.21.0",
        licence="MIT",
        kind="git",
        locator="https://github.com/microsoft/onnxruntime.git@" + "e" * 40,
        sha256="1" * 64,
        size=0,
    ),
    Input(
        name="fp16",
        version="0a92994",
        licence="MIT",
        kind="archive",
        locator="https://github.com/Maratyszcza/FP16/archive/0a92994.zip",
        sha256="2" * 64,
        size=7,
        sha1_only=True,
    ),
    Input(
        name="re2",
        version="20240702",
        licence="BSD-3-Clause",
        kind="debian",
        locator="debian:pool/main/r/re2/re2_20240702.orig.tar.gz",
        sha256="3" * 64,
        size=390672,
    ),
    Input(
        name="mp11",
        version="bundled with boost-histogram 1.8.0",
        licence="BSL-1.0",
        kind="pypi",
        locator="pypi:Boost_Histogram==1.8.0/boost_histogram-1.8.0.tar.gz",
        sha256="4" * 64,
        size=9,
    ),
    Input(
        name="coremltools",
        version="",
        licence="a licence without an SPDX name",
        kind="overlay",
        locator="overlays/coremltools",
        sha256="5" * 64,
        size=9,
    ),
    Input(
        name="cmake",
        version="3.31.10",
        licence="BSD-3-Clause",
        kind="tool",
        locator="cmake/cmake-3.31.10.whl",
        sha256="6" * 64,
        size=9,
    ),
)


def sbom(inputs: tuple[Input, ...] = INPUTS, version: str = "1.21.0+ortmill.0b5e77aa") -> bytes:
    return make_sbom(
        name="onnxruntime",
        version=version,
        licence="MIT",
        inputs=inputs,
        source_date_epoch=1_700_000_000,
    )


def components(content: bytes) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in json.loads(content)["components"]}


def test_it_is_valid_cyclonedx_1_6() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom().decode()) is None


def test_the_validator_would_notice() -> None:
    broken = json.loads(sbom()) | {"components": [{"name": "no type"}]}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(broken)) is not None


def test_every_input_but_tools_is_a_component_that_the_root_depends_on() -> None:
    data = json.loads(sbom())
    assert set(components(sbom())) == {"onnxruntime", "fp16", "re2", "mp11", "coremltools"}
    root = data["metadata"]["component"]
    assert (root["name"], root["version"]) == ("onnxruntime", "1.21.0+ortmill.0b5e77aa")
    (depends,) = [item for item in data["dependencies"] if item["ref"] == root["bom-ref"]]
    assert sorted(depends["dependsOn"]) == sorted(item["bom-ref"] for item in data["components"])


def test_components_have_hash_licence_and_package_url() -> None:
    found = components(sbom())
    assert found["re2"]["hashes"] == [{"alg": "SHA-256", "content": "3" * 64}]
    assert found["re2"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]
    assert found["re2"]["purl"] == "pkg:deb/debian/re2@20240702?arch=source"
    assert found["mp11"]["purl"] == (
        "pkg:pypi/boost-histogram@1.8.0?file_name=boost_histogram-1.8.0.tar.gz"
    )
    assert found["fp16"]["purl"] == "pkg:github/maratyszcza/fp16@0a92994"
    assert found["onnxruntime"]["purl"] == f"pkg:github/microsoft/onnxruntime@{'e' * 40}"
    assert found["onnxruntime"]["cpe"] == ("cpe:2.3:a:microsoft:onnxruntime:1.21.0:*:*:*:*:*:*:*")
    assert found["coremltools"]["purl"] == "pkg:generic/ortmill/coremltools"
    assert "cpe" not in found["coremltools"]
    assert found["coremltools"]["licenses"][0]["license"]["name"].startswith("a licence")
    trees = {
        name: {entry["name"]: entry["value"] for entry in found[name]["properties"]}
        for name in ("onnxruntime", "coremltools")
    }
    assert trees["onnxruntime"]["ortmill:tree-sha256"] == "1" * 64
    assert "hashes" not in found["coremltools"]


def test_references_point_upstream_only() -> None:
    found = components(sbom())
    assert [entry["url"] for entry in found["onnxruntime"]["externalReferences"]] == [
        "https://github.com/microsoft/onnxruntime.git"
    ]
    assert found["fp16"]["externalReferences"][0]["url"].endswith("/0a92994.zip")
    for name in ("re2", "mp11", "coremltools"):
        assert "externalReferences" not in found[name]


@settings(deadline=None)
@given(order=st.permutations(INPUTS))
def test_order_and_repetition_do_not_count(order: list[Input]) -> None:
    assert sbom(tuple(order)) == sbom() == sbom((*INPUTS, INPUTS[2]))


def test_the_serial_number_names_the_content() -> None:
    numbers = {
        json.loads(content)["serialNumber"]
        for content in (sbom(), sbom(INPUTS[:3]), sbom(version="1.21.0+ortmill.ffffffff"))
    }
    assert len(numbers) == 3
    assert json.loads(sbom())["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"


def named(kind: str, locator: str, **fields: str) -> Input:
    """An input of which the locator counts."""
    whole = {"name": "x", "version": "1", "licence": "MIT", "sha256": "7" * 64, **fields}
    return Input(kind=kind, locator=locator, size=1, **whole)


@pytest.mark.parametrize(
    ("kind", "locator", "purl"),
    [
        (
            "debian",
            "debian:pool/main/o/onnxruntime/onnxruntime_1.21.0+dfsg.orig.tar.xz",
            "pkg:deb/debian/onnxruntime@1.21.0%2Bdfsg?arch=source",
        ),
        (
            "debian",
            "debian:pool/main/s/safeint/libsafeint-dev_3.0.28a+dfsg-4_all.deb",
            "pkg:deb/debian/safeint@3.0.28a%2Bdfsg-4?arch=source",
        ),
        (
            "debian",
            "debian:pool/main/f/fp16/fp16_0.0~git20200514.4dfe081.orig.tar.xz",
            "pkg:deb/debian/fp16@0.0~git20200514.4dfe081?arch=source",
        ),
        (
            "debian",
            "debian:pool/main/libu/libuv1/libuv1_1.48.0.orig.tar.gz",
            "pkg:deb/debian/libuv1@1.48.0?arch=source",
        ),
        (
            "archive",
            "https://github.com/google/flatbuffers/archive/refs/tags/v23.5.26.zip",
            "pkg:github/google/flatbuffers@v23.5.26",
        ),
        (
            "archive",
            "https://github.com/boostorg/mp11/archive/refs/tags/boost-1.82.0.tar.gz",
            "pkg:github/boostorg/mp11@boost-1.82.0",
        ),
        ("archive", "https://example.org/x.zip", "pkg:generic/x@1"),
        ("overlay", "overlay:overlays/utf8_range", "pkg:generic/ortmill/x@1"),
    ],
)
def test_package_urls_follow_from_the_origin(kind: str, locator: str, purl: str) -> None:
    made = package_url(named(kind, locator))
    assert made.to_string() == purl
    assert PackageURL.from_string(purl) == made


@pytest.mark.parametrize(
    ("kind", "locator"),
    [
        ("pypi", "pypi:project/file.whl"),
        ("debian", "debian:pool/main/r/re2/README"),
        ("debian", "debian:re2_20240702.orig.tar.gz"),
    ],
)
def test_a_file_that_is_laid_out_like_nothing_known_has_a_generic_name(
    kind: str, locator: str
) -> None:
    """A mirror of one's own may hold any file: that is no reason to end a build of half an hour."""
    assert package_url(named(kind, locator)).type == "generic"


def test_every_origin_of_the_recipes_has_a_name_that_a_scanner_knows() -> None:
    """Each is read back and held against its origin."""
    recipes = sorted((Path(__file__).resolve().parents[3] / "recipes").glob("onnxruntime-*.toml"))
    origins: list[tuple[str, dict[str, str]]] = []
    for path in recipes:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        source = {"name": "onnxruntime", "origins": data["source"]["origins"]}
        for entry in (source, *data.get("dependencies", [])):
            origins += [(entry["name"], origin) for origin in entry["origins"]]
    assert len(origins) > 30
    for name, origin in origins:
        url = origin.get("url", "")
        locator = {
            "debian": f"debian:{origin.get('path')}",
            "pypi": f"pypi:{origin.get('project')}=={origin.get('release')}/{origin.get('file')}",
            "git": f"{url}@{origin.get('commit', 'a' * 40)}",
            "archive": url,
            "overlay": f"overlay:{origin.get('path')}",
        }[origin["kind"]]
        made = PackageURL.from_string(
            package_url(named(origin["kind"], locator, name=name)).to_string()
        )
        if origin["kind"] == "debian":
            assert (made.type, made.namespace) == ("deb", "debian")
            assert origin["path"].split("/")[3] == made.name
            assert f"_{made.version}" in origin["path"]
            assert made.qualifiers == {"arch": "source"}
        elif origin["kind"] == "pypi":
            assert (made.type, made.name, made.version) == (
                "pypi", origin["project"], origin["release"],
            )  # fmt: skip
        elif "github.com" in url:
            assert made.type == "github"
            assert f"{made.namespace}/{made.name}" in url.lower()
            assert made.version
        else:
            assert made.type == "generic"
