"""The manifest: strict, complete, written whole, and described by a schema that is fresh."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from build.errors import ResourceError, WheelError
from build.package.manifest import (
    Flags,
    Input,
    Manifest,
    PatchEntry,
    RecipeEntry,
    SdkEntry,
    StageEntry,
    WheelEntry,
    load_manifest,
    manifest_text,
    write_manifest,
)
from tests.gen.build_manifest import schema, schema_text

ROOT = Path(__file__).resolve().parents[3]


def sample() -> Manifest:
    return Manifest(
        version="1.21.0+ortmill.0b5e77aa",
        upstream_version="1.21.0",
        commit="e" * 40,
        platform="linux-x86_64",
        python="cp311",
        executed_on="native",
        recipe=RecipeEntry(file="onnxruntime-1.21.0.toml", digest="0b5e77aa" + "0" * 56),
        wheel=WheelEntry(
            file="x.whl",
            sha256="1" * 64,
            size=3,
            tag="cp311-cp311-manylinux_2_35_x86_64",
            files={"onnxruntime/__init__.py": "2" * 64},
        ),
        sdk=SdkEntry(file="x.tar.gz", sha256="3" * 64, size=4),
        inputs=[
            Input(
                name="re2",
                version="2024-07-02",
                licence="BSD-3-Clause",
                kind="debian",
                locator="pool/main/r/re2/re2.tar.gz",
                sha256="4" * 64,
                size=5,
            )
        ],
        patches=[PatchEntry(file="onnxruntime/a.patch", sha256="5" * 64)],
        tools={"cmake": "3.31.10"},
        flags=Flags(build_args=["--use_coreml"], defines={"FLAG": True, "N": 2, "S": "x"}),
        stages=[StageEntry(name="compile", seconds=1950.5, skipped=False)],
    )


def test_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    path = write_manifest(sample(), tmp_path)
    assert path.name == "manifest.json"
    assert load_manifest(path) == sample()
    assert list(tmp_path.iterdir()) == [path]


def test_the_text_has_every_field_and_fits_the_schema() -> None:
    data = json.loads(manifest_text(sample()))
    assert set(data) == {field.name for field in dataclasses.fields(Manifest)}
    assert data["schema"] == 1
    assert data["inputs"][0]["sha1_only"] is False
    assert data["flags"]["defines"] == {"FLAG": True, "N": 2, "S": "x"}
    jsonschema.Draft202012Validator(schema()).validate(data)


def test_the_schema_in_the_repository_is_fresh() -> None:
    stored = (ROOT / "wheels" / "manifest.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), "write it again with `nox -s gen`"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"version": "1.21.0"}, "version"),
        ({"commit": "abc"}, "commit"),
        ({"platform": "windows"}, "platform"),
        ({"schema": 2}, "schema"),
        ({"surprise": 1}, "surprise"),
        ({"sdk": {"file": "x", "sha256": "F" * 64, "size": 1}}, "sdk.sha256"),
        ({"stages": [{"name": "a", "seconds": -1.0, "skipped": False}]}, "stages.0.seconds"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_with_the_place(
    tmp_path: Path, change: dict[str, Any], where: str
) -> None:
    data = json.loads(manifest_text(sample())) | change
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(data))
    with pytest.raises(WheelError, match="no manifest") as caught:
        load_manifest(path)
    assert where in caught.value.context["all faults"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(data)


def test_an_absent_or_broken_manifest_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="cannot read"):
        load_manifest(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_text('{"schema": 1,')
    with pytest.raises(WheelError, match="no manifest"):
        load_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("kind", ["debian", "pypi"])
def test_a_registry_locator_names_no_host(kind: str) -> None:
    entry = dataclasses.asdict(sample().inputs[0])
    with pytest.raises(ValidationError, match="names no host"):
        Input(**{**entry, "kind": kind, "locator": "https://mirror.example/pool/x"})


def test_a_path_of_this_machine_is_refused(tmp_path: Path) -> None:
    manifest = dataclasses.replace(
        sample(), flags=Flags(build_args=["--build_dir", "/home/me/x"], defines={})
    )
    with pytest.raises(WheelError, match="a path of this machine"):
        write_manifest(manifest, tmp_path, forbidden_paths=["/home/me"])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot write to"):
        write_manifest(sample(), tmp_path / "absent")
