"""The coremltools overlay, compiled here and held against coremltools' own reader and writer."""

from __future__ import annotations

import json
import os
import resource
import shutil
import struct
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import nlohmann_json
import numpy as np
import pytest
from coremltools.libmilstoragepython import (
    _BlobStorageReader,
    _BlobStorageWriter,
)
from coremltools.libmodelpackage import ModelPackage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.integration

OVERLAY = Path(__file__).parents[3] / "recipes" / "overlays" / "coremltools"
SOURCES = ["mlmodel/src/MILBlob/Blob/StorageWriter.cpp", "modelpackage/src/ModelPackage.cpp"]
AUTHOR = "com.microsoft.OnnxRuntime"
TYPES = {  # name: (code in the file, numpy type)
    "fp16": (1, "<f2"),
    "float": (2, "<f4"),
    "uint8": (3, "<u1"),
    "int8": (4, "<i1"),
    "int16": (6, "<i2"),
    "uint16": (7, "<u2"),
    "int32": (14, "<i4"),
    "uint32": (15, "<u4"),
}
Driver = Callable[..., "subprocess.CompletedProcess[str]"]
Blob = tuple[str, bytes]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    compiler = os.environ.get("CXX") or shutil.which("c++")
    assert compiler, "no C++ compiler: set CXX or put c++ on PATH"
    binary = tmp_path_factory.mktemp("driver") / "driver"
    json_include = Path(nlohmann_json.__file__).parent / "include"
    includes = [OVERLAY, OVERLAY / "mlmodel/src", OVERLAY / "modelpackage/src"]
    subprocess.run(
        [
            *(compiler, "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"),
            *(f"-I{path}" for path in includes),
            *("-isystem", json_include, "-isystem", json_include / "nlohmann"),
            *(OVERLAY / source for source in SOURCES),
            *(Path(__file__).with_name("overlay_driver.cpp"), "-o", binary),
        ],
        check=True,
    )

    def run(*arguments: object, file_size: int | None = None) -> subprocess.CompletedProcess[str]:
        def limit() -> None:
            # A write beyond the limit fails as on a full disk, if the signal is ignored as here.
            if file_size is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

        return subprocess.run(
            [str(binary), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            restore_signals=False,
            preexec_fn=limit,
            timeout=60,
        )

    return run


def write_blobs(
    driver: Driver, folder: Path, blobs: list[Blob], **options: int
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    target = folder / "weight.bin"
    arguments: list[object] = []
    for index, (name, raw) in enumerate(blobs):
        source = folder / f"{index}.raw"
        source.write_bytes(raw)
        arguments += [name, source]
    return target, driver("blobs", target, *arguments, **options)


def parse_blobs(data: bytes) -> list[tuple[int, int, bytes]]:
    """Return (offset of record, type, bytes) of each blob, by the overlay's README."""
    count, version = struct.unpack_from("<II", data)
    assert version == 2
    assert not any(data[8:64])
    blobs = []
    position = 64
    for _ in range(count):
        sentinel, kind, size, start, padding = struct.unpack_from("<IIQQQ", data, position)
        assert (sentinel, start, padding) == (0xDEADBEEF, position + 64, 0)
        assert not any(data[position + 32 : position + 64])
        blobs.append((position, kind, data[start : start + size]))
        end = start + size
        position = -(-end // 64) * 64
        assert not any(data[end:position])
    return blobs


blob_lists = st.lists(
    st.sampled_from(sorted(TYPES)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.integers(0, 70).flatmap(
                lambda n: st.binary(
                    min_size=n * np.dtype(TYPES[name][1]).itemsize,
                    max_size=n * np.dtype(TYPES[name][1]).itemsize,
                )
            ),
        )
    ),
    max_size=9,
)


@given(blobs=blob_lists)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_blobs_equal_those_of_coremltools(
    driver: Driver, tmp_path_factory: pytest.TempPathFactory, blobs: list[Blob]
) -> None:
    folder = tmp_path_factory.mktemp("blobs")
    ours, result = write_blobs(driver, folder, blobs)
    assert result.returncode == 0, result.stderr
    offsets = [int(line) for line in result.stdout.split()]
    expected = [
        (offset, TYPES[name][0], raw) for offset, (name, raw) in zip(offsets, blobs, strict=True)
    ]
    assert parse_blobs(ours.read_bytes()) == expected

    theirs = folder / "theirs.bin"
    writer = _BlobStorageWriter(str(theirs), True)
    for name, raw in blobs:
        # coremltools takes and gives fp16 as the 16-bit integers that it is stored as
        kind = "<u2" if name == "fp16" else TYPES[name][1]
        getattr(writer, f"write_{name}_data")(np.frombuffer(raw, kind))
    del writer
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("name", sorted(TYPES))
def test_coremltools_reads_every_type(driver: Driver, tmp_path: Path, name: str) -> None:
    values = np.array([0, 1, 2, 77, 100, 3, 5], dtype=TYPES[name][1])
    path, result = write_blobs(driver, tmp_path, [("uint8", b"abc"), (name, values.tobytes())])
    offset = int(result.stdout.split()[1])
    read = getattr(_BlobStorageReader(str(path)), f"read_{name}_data")(offset)
    got = np.asarray(read)
    if name == "fp16":
        got = got.view(np.float16)
    np.testing.assert_array_equal(got, values)


def test_a_file_that_cannot_grow_keeps_what_it_has(driver: Driver, tmp_path: Path) -> None:
    blobs = [("uint8", bytes(range(200))), ("float", bytes(400)), ("int8", bytes(9000))]
    path, result = write_blobs(driver, tmp_path, blobs, file_size=4096)
    assert result.returncode == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(f"Failed to write weights file '{path}': ")
    assert "earlier write to it failed" in second
    assert [raw for _, _, raw in parse_blobs(path.read_bytes())] == [raw for _, raw in blobs[:2]]


def test_a_full_disk_is_told(driver: Driver) -> None:
    if not Path("/dev/full").exists():  # only Linux has it; the test above needs no such device
        pytest.skip("no /dev/full on this system")
    result = driver("blobs", "/dev/full")
    assert result.returncode == 1
    assert result.stderr == "Failed to write weights file '/dev/full': No space left on device\n"


def test_a_weights_file_that_cannot_be_opened_is_told(driver: Driver, tmp_path: Path) -> None:
    for path, reason in [
        (tmp_path / "no" / "weight.bin", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ]:
        result = driver("blobs", path)
        assert result.returncode == 1
        assert result.stderr == f"Failed to open weights file '{path}': {reason}\n"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def fnv1a(text: str) -> int:
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def identifier(path: str) -> str:
    raw = bytearray(struct.pack(">QQ", fnv1a(f"item:{path}"), fnv1a(f"package:{path}")))
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def test_onnxruntimes_calls_make_a_package_that_coremltools_accepts(
    driver: Driver, tmp_path: Path
) -> None:
    path = tmp_path / "a model's.mlpackage"
    description = 'CoreML "Spec" \\ / é \x01 \n end'
    result = driver("package", path, description)
    assert (result.returncode, result.stdout, result.stderr) == (0, "64\n", "")

    weights, model = identifier(f"{AUTHOR}/weights"), identifier(f"{AUTHOR}/model.mlmodel")
    assert uuid.UUID(model).version == 8
    assert json.loads((path / "Manifest.json").read_text(encoding="utf-8")) == {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            weights: {
                "author": AUTHOR,
                "description": "CoreML Model Weights",
                "name": "weights",
                "path": f"{AUTHOR}/weights",
            },
            model: {
                "author": AUTHOR,
                "description": description,
                "name": "model.mlmodel",
                "path": f"{AUTHOR}/model.mlmodel",
            },
        },
        "rootModelIdentifier": model,
    }
    data = path / "Data" / AUTHOR
    assert (data / "model.mlmodel").read_bytes() == b"spec"
    assert len(parse_blobs((data / "weights" / "weight.bin").read_bytes())) == 1

    assert ModelPackage.isValid(str(path))
    package = ModelPackage(str(path))
    assert package.getRootModel().path() == str(data / "model.mlmodel")
    assert package.getRootModel().description() == description
    found = package.findItemByNameAuthor("weights", AUTHOR)
    assert (found.identifier(), found.path()) == (weights, str(data / "weights"))

    lines = driver("open", path).stdout.split("\n", 4)
    assert lines == [
        model,
        str(data / "model.mlmodel"),
        "model.mlmodel",
        AUTHOR,
        description + "\n",
    ]
    assert driver("find", path, weights).stdout == f"{data / 'weights'}\n"


def test_two_conversions_give_the_same_bytes(driver: Driver, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert driver("package", tmp_path / name, "x").returncode == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert "Manifest.json" in tree(tmp_path / "one")


def test_a_package_of_coremltools_opens_and_grows(driver: Driver, tmp_path: Path) -> None:
    source = tmp_path / "spec"
    source.write_bytes(b"model")
    path = tmp_path / "theirs.mlpackage"
    package = ModelPackage(str(path))
    root = package.setRootModel(str(source), "model.mlmodel", "com.apple.CoreML", "d")
    del package  # writes the manifest
    before = json.loads((path / "Manifest.json").read_text())

    result = driver("add", path, source, "extra", "someone", "more")
    assert result.returncode == 0, result.stderr
    after = json.loads((path / "Manifest.json").read_text())
    entry = {"author": "someone", "description": "more", "name": "extra", "path": "someone/extra"}
    before["itemInfoEntries"][identifier("someone/extra")] = entry
    assert after == before
    assert driver("open", path).stdout.splitlines()[0] == root
    assert ModelPackage.isValid(str(path))
    assert not (path / "Manifest.json.tmp").exists()


def test_an_empty_package_is_valid(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "empty.mlpackage"
    assert driver("add", path, tmp_path / "none", "n", "a", "").returncode == 1
    assert not (path / "Manifest.json").exists()
    shutil.rmtree(path)
    package = ModelPackage(str(path))
    del package
    result = driver("open", path)
    assert result.stderr == f"Model package '{path}' has no root model\n"


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ("{", "parse error"),
        ("[]", "cannot use at() with array"),
        ("{}", "'fileFormatVersion' not found"),
        ('{"fileFormatVersion": "2.0.0"}', "unknown file format version '2.0.0'"),
        ('{"fileFormatVersion": 1}', "must be string"),
        ('{"fileFormatVersion": "1.0.0", "itemInfoEntries": {"a": {}}}', "'path' not found"),
        (
            '{"fileFormatVersion": "1.0.0", "rootModelIdentifier": "b"}',
            "'b' is not among the items",
        ),
        *(
            (
                json.dumps(
                    {
                        "fileFormatVersion": "1.0.0",
                        "itemInfoEntries": {"a": {"path": path, "name": "n", "author": "a"}},
                    }
                ),
                reason,
            )
            for path, reason in [
                ("../spec", "leads out of the package"),
                ("a/../../../spec", "leads out of the package"),
                ("/etc/passwd", "leads out of the package"),
                ("", "leads out of the package"),
                ("a/n", "the item 'a/n' is missing"),
            ]
        ),
    ],
)
def test_a_bad_manifest_is_told(driver: Driver, tmp_path: Path, manifest: str, reason: str) -> None:
    (tmp_path / "Manifest.json").write_text(manifest)
    result = driver("open", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith(
        f"The manifest at '{tmp_path / 'Manifest.json'}' is not valid: "
    )
    assert reason in result.stderr
    assert (tmp_path / "Manifest.json").read_text() == manifest


def test_a_package_that_cannot_be_made_or_opened_is_told(driver: Driver, tmp_path: Path) -> None:
    absent = tmp_path / "none.mlpackage"
    assert driver("open", absent).stderr == f"There is no model package at '{absent}'\n"
    assert not absent.exists()

    (tmp_path / "plain").mkdir()
    assert "is not a model package" in driver("open", tmp_path / "plain").stderr

    lost = tmp_path / "no" / "p.mlpackage"
    result = driver("package", lost, "")
    assert result.returncode == 1
    assert result.stderr == (
        f"Failed to create model package directory '{lost}': No such file or directory\n"
    )


def test_items_are_unique_and_stay_in_place(driver: Driver, tmp_path: Path) -> None:
    path, source = tmp_path / "p.mlpackage", tmp_path / "spec"
    source.write_bytes(b"model")
    assert driver("add", path, source, "model", "a", "", "root").returncode == 0
    before = tree(path)
    for arguments, message in [
        ((source, "model", "a", ""), "already has an item 'model' of author 'a'"),
        ((source, "other", "a", "", "root"), "already has a root model"),
        ((source, "..", "a", ""), "must be one plain path component"),
        ((source, "x", "a/b", ""), "must be one plain path component"),
        ((source, "", "a", ""), "must be one plain path component"),
        ((source, "x", "a", os.fsdecode(b"\xff")), "must be valid UTF-8"),
        ((tmp_path / "gone", "x", "a", ""), "No such file or directory"),
    ]:
        result = driver("add", path, *arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert tree(path) == before
    assert "has no item 'zzz'" in driver("find", path, "zzz").stderr


def test_a_package_given_up_has_no_manifest(driver: Driver, tmp_path: Path) -> None:
    source = tmp_path / "spec"
    source.write_bytes(b"model")
    path = tmp_path / "p.mlpackage"
    result = driver("abandon", path, source)
    assert (result.returncode, result.stderr) == (1, "driver: given up\n")
    assert (path / "Data" / "someone" / "weights").exists()
    assert not (path / "Manifest.json").exists()


def test_a_manifest_that_cannot_be_written_is_told_and_leaves_the_old_one(
    driver: Driver, tmp_path: Path
) -> None:
    source = tmp_path / "spec"
    source.write_bytes(b"model")
    path = tmp_path / "p.mlpackage"
    assert driver("add", path, source, "one", "a", "").returncode == 0
    before = (path / "Manifest.json").read_bytes()
    result = driver("add", path, source, "two", "a", "", file_size=64)
    assert f"Failed to write '{path / 'Manifest.json'}'" in result.stderr
    assert (path / "Manifest.json").read_bytes() == before
    assert not (path / "Manifest.json.tmp").exists()
