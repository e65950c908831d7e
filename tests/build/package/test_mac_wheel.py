"""The wheel and the SDK for macOS, finished on a machine that need not be a Mac."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import mac_platforms
from packaging.utils import parse_wheel_filename

from build.errors import WheelError
from build.package.archive import read_wheel, write_wheel
from build.package.comparison import inspect_wheels
from build.package.mac_wheel import check_mac_wheel, macos_tags, oldest_macos, resolve
from build.package.metadata import disagreements, headers, set_platforms, with_record
from build.package.release import Release
from build.package.repair import Repair
from build.package.sdk import SdkArtifact, make_sdk
from build.package.wheel import FinishedWheel, finish_wheel
from tests.kit.macho_files import DYNAMIC, SYSTEM, X86_64, macho, universal

VERSION = "1.21.0+ortmill.0b5e77aa"
EPOCH = 1_700_000_000
TAGS = ("macosx_13_3_arm64", "macosx_14_0_arm64")
REPAIR = Repair(kind="macho", python=Path("/t/bin/python"), deployment_target="13.3")
CAPI = "onnxruntime/capi"
MODULE = f"{CAPI}/onnxruntime_pybind11_state.so"
LIBRARY = f"{CAPI}/libonnxruntime.1.21.0.dylib"
PYTHON = {"_PyLong_FromLong": DYNAMIC, "___stack_chk_fail": 2}


def module(**change: Any) -> bytes:
    sound = {
        "install_name": "@rpath/onnxruntime_pybind11_state.so",
        "undefined": PYTHON,
        "content": b"\x003.11\x00",
    }
    return macho(**{**sound, **change})


def library(**change: Any) -> bytes:
    return macho(**{"install_name": "@rpath/libonnxruntime.1.21.0.dylib", **change})


def raw_wheel(folder: Path, *, platform: str = "macosx_13_0_arm64", **files: bytes | None) -> Path:
    info = "onnxruntime-1.21.0.dist-info"
    content: dict[str, bytes | None] = {
        "onnxruntime/__init__.py": b'__version__ = "1.21.0"\n',
        f"{CAPI}/build_and_package_info.py": b"__version__ = '1.21.0'\n",
        MODULE: module(),
        LIBRARY: library(),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: onnxruntime\nVersion: 1.21.0\n\n",
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: setuptools (80.9.0)\nRoot-Is-Purelib: false\n"
            f"Tag: cp311-cp311-{platform}\n\n"
        ).encode(),
        **files,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"onnxruntime-1.21.0-cp311-cp311-{platform}.whl"
    kept = {name: data for name, data in content.items() if data is not None}
    write_wheel(with_record(kept), path, source_date_epoch=0)
    return path


def refuse(argv: Sequence[str], **_: Any) -> str:
    raise AssertionError(f"no program is to be run, but {argv[0]} was")


def finish(raw: Path, into: Path, *, repair: Repair = REPAIR, run: Any = refuse) -> FinishedWheel:
    release = Release(
        into=into,
        version=VERSION,
        platform="macos-arm64",
        source_date_epoch=EPOCH,
        forbidden_paths=(str(raw.parent),),
    )
    return finish_wheel(raw, release, sbom=b"{}\n", repair=repair, run=run)


# Versions of macOS as Apple counts them; there is none between 15 and 26, which harms nothing.
VERSIONS = st.tuples(st.integers(11, 40), st.integers(0, 20))


def pip_takes(tags: Sequence[str], system: tuple[int, int]) -> bool:
    return not set(tags).isdisjoint(mac_platforms(system, "arm64"))


def exact_takes(tags: Sequence[str], system: tuple[int, int]) -> bool:
    """As an installer does that knows minor versions."""
    known = {
        f"macosx_{major}_{minor}_arm64"
        for major in range(11, system[0] + 1)
        for minor in range(100)
        if (major, minor) <= system
    }
    return not set(tags).isdisjoint(known)


@given(minimum=VERSIONS, system=VERSIONS)
def test_no_installer_puts_a_wheel_on_a_macos_that_is_too_old(
    minimum: tuple[int, int], system: tuple[int, int]
) -> None:
    tags = macos_tags(f"{minimum[0]}.{minimum[1]}", "arm64")
    assert not pip_takes(tags, system) or system >= minimum
    assert exact_takes(tags, system) is (system >= minimum)


@given(minimum=VERSIONS, system=VERSIONS)
def test_pip_takes_it_from_the_next_macos_on_at_the_latest(
    minimum: tuple[int, int], system: tuple[int, int]
) -> None:
    tags = macos_tags(f"{minimum[0]}.{minimum[1]}", "arm64")
    if system[0] > minimum[0] or (minimum[1] == 0 and system >= minimum):
        assert pip_takes(tags, system)


@given(minimum=VERSIONS)
def test_the_tags_make_a_name_that_says_the_version_again(minimum: tuple[int, int]) -> None:
    tags = macos_tags(f"{minimum[0]}.{minimum[1]}", "arm64")
    name = f"onnxruntime-1.21.0-cp311-cp311-{'.'.join(tags)}.whl"
    assert {tag.platform for tag in parse_wheel_filename(name)[3]} == set(tags)
    assert oldest_macos(name) == f"{minimum[0]}.{minimum[1]}"
    assert list(tags) == sorted(tags)


def test_the_tags_of_the_recipe() -> None:
    assert macos_tags("13.3", "arm64") == TAGS
    assert macos_tags("14", "arm64") == macos_tags("14.0", "arm64") == ("macosx_14_0_arm64",)
    assert oldest_macos("x-1-cp311-cp311-manylinux_2_35_x86_64.whl") == ""


@pytest.mark.parametrize("version", ["", "10.15", "13.3.1", "Ventura", "13.", "9"])
def test_a_version_that_no_tag_can_say_is_refused(version: str) -> None:
    with pytest.raises(WheelError, match="no version of macOS") as caught:
        macos_tags(version, "arm64")
    assert caught.value.hint


@pytest.mark.parametrize(
    "platform", ["macosx_13_0_arm64", "macosx_13_3_arm64", "linux_x86_64", ".".join(TAGS)]
)
def test_whatever_the_raw_wheel_calls_itself_the_tag_is_right(
    tmp_path: Path, platform: str
) -> None:
    done = finish(raw_wheel(tmp_path / "raw", platform=platform), tmp_path / "out")
    assert done.path.name == f"onnxruntime-{VERSION}-cp311-cp311-{'.'.join(TAGS)}.whl"
    assert done.tag == f"cp311-cp311-{'.'.join(TAGS)}"
    files = read_wheel(done.path)
    info = f"onnxruntime-{VERSION}.dist-info"
    assert headers(files[f"{info}/WHEEL"], "Tag") == [f"cp311-cp311-{tag}" for tag in TAGS]
    assert headers(files[f"{info}/WHEEL"], "Root-Is-Purelib") == ["false"]
    assert files[MODULE] == module()
    assert disagreements(done.path.name, files, VERSION) == []


def test_finishing_again_and_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    once = finish(raw_wheel(tmp_path / "one"), tmp_path / "out")
    other = finish(raw_wheel(tmp_path / "two", platform="linux_x86_64"), tmp_path / "other")
    again = finish(once.path, tmp_path / "again")
    assert again.path.name == once.path.name
    assert again.path.read_bytes() == once.path.read_bytes() == other.path.read_bytes()


def test_delocate_still_runs_on_a_mac_and_its_tag_is_made_honest(tmp_path: Path) -> None:
    calls = []

    def delocate(argv: Sequence[str], **_: Any) -> str:
        calls.append(list(argv))
        wheel = Path(argv[-1])
        into = Path(argv[argv.index("--wheel-dir") + 1])
        (into / wheel.name).write_bytes(wheel.read_bytes())
        return ""

    repair = Repair(kind="delocate", python=Path("/t/bin/python"), deployment_target="13.3")
    raw = raw_wheel(tmp_path / "raw")
    done = finish(raw, tmp_path / "out", repair=repair, run=delocate)
    assert [call[2] for call in calls] == ["delocate.cmd.delocate_wheel"]
    assert done.path.read_bytes() == finish(raw, tmp_path / "other").path.read_bytes()
    assert done.path.name == finish(raw, tmp_path / "other").path.name


@pytest.mark.parametrize(
    ("files", "part"),
    [
        ({MODULE: None, LIBRARY: None}, "no library of macOS at all"),
        ({MODULE: b"\x7fELF\x02 ..."}, "a library of this machine"),
        ({LIBRARY: universal(library(cpu=X86_64), library())}, "x86_64, arm64 and not for arm64"),
        ({LIBRARY: library(cpu=X86_64)}, "is for x86_64"),
        ({LIBRARY: library(minos="14.0")}, "needs macOS 14.0, newer than 13.3"),
        ({LIBRARY: library(platform=None)}, "no platform that it names"),
        ({LIBRARY: library(dependencies=["/opt/homebrew/lib/libre2.dylib"])}, "libre2.dylib"),
        ({LIBRARY: library(dependencies=["@rpath/libprotobuf.dylib"])}, "no part of macOS and not"),
        ({LIBRARY: library(weak=["@loader_path/../libre2.dylib"])}, "libre2.dylib"),
        ({LIBRARY: library(local=1)}, "not stripped"),
        ({LIBRARY: library(signed=False)}, "not signed"),
        ({MODULE: module(undefined={"_forgotten": DYNAMIC})}, "_forgotten"),
        ({MODULE: module(content=b"\x003.12\x00")}, "3.11"),
    ],
)
def test_a_wheel_that_must_not_be_shipped_is_refused(
    tmp_path: Path, files: dict[str, bytes | None], part: str
) -> None:
    with pytest.raises(WheelError, match=part) as caught:
        finish(raw_wheel(tmp_path / "raw", **files), tmp_path / "out")
    assert caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def test_a_path_of_the_machine_in_a_library_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    spoiled = library(content=f"{raw}/onnxruntime/core/x.cc".encode()[:200])
    with pytest.raises(WheelError, match="a path of the machine"):
        finish(raw_wheel(raw, **{LIBRARY: spoiled}), tmp_path / "out")


def test_libraries_inside_the_wheel_are_found_where_dyld_would() -> None:
    files = {
        "a/capi/module.so": module(
            dependencies=[*SYSTEM, "@rpath/libx.dylib", "@loader_path/../lib/liby.dylib"],
            rpaths=["/nowhere", "@loader_path/.libs", "@loader_path"],
        ),
        "a/capi/libx.dylib": library(),
        "a/lib/liby.dylib": library(),
    }
    check_mac_wheel(files, architecture="arm64")
    for gone in ("a/capi/libx.dylib", "a/lib/liby.dylib"):
        with pytest.raises(WheelError, match=gone.rpartition("/")[2]):
            check_mac_wheel(
                {name: data for name, data in files.items() if name != gone},
                architecture="arm64",
            )


@pytest.mark.parametrize(
    ("dependency", "rpaths", "places"),
    [
        ("@rpath/x.dylib", ["@loader_path"], ["p/x.dylib"]),
        ("@rpath/x.dylib", ["@loader_path/../q/", "/opt"], ["q/x.dylib"]),
        ("@rpath/x.dylib", [], []),
        ("@loader_path/x.dylib", [], ["p/x.dylib"]),
        ("@executable_path/x.dylib", ["@loader_path"], []),
        ("p/x.dylib", ["@loader_path"], []),
        ("/usr/lib/x.dylib", ["@loader_path"], []),
    ],
)
def test_where_dyld_looks(dependency: str, rpaths: list[str], places: list[str]) -> None:
    assert resolve(dependency, binary="p/m.so", rpaths=rpaths) == places


def test_tags_are_set_for_each_interpreter_once() -> None:
    info = "x-1.dist-info"
    wheel = {f"{info}/WHEEL": b"Tag: cp311-cp311-a\nTag: cp311-cp311-b\nBuild: 1\n\nrest"}
    changed = set_platforms(wheel, ["c", "d"])
    assert changed[f"{info}/WHEEL"] == (b"Build: 1\nTag: cp311-cp311-c\nTag: cp311-cp311-d\n\nrest")
    with pytest.raises(WheelError, match="which is none"):
        set_platforms({f"{info}/WHEEL": b"Tag: cp311\n\n"}, ["c"])


def official_wheel(folder: Path, **files: bytes | None) -> Path:
    both = {
        MODULE: universal(module(cpu=X86_64, local=5), module(local=7)),
        LIBRARY: universal(library(cpu=X86_64), library()),
    }
    return raw_wheel(folder, platform="macosx_13_0_universal2", **{**both, **files})


def test_the_official_wheel_has_two_architectures_and_ours_one(tmp_path: Path) -> None:
    done = finish(raw_wheel(tmp_path / "raw"), tmp_path / "out")
    found = inspect_wheels(done.path, official_wheel(tmp_path / "official"))
    assert found.faults == []
    assert found.binaries == 2
    assert [each.path for each in found.differences] == [".dist-info/sboms/ortmill.cdx.json"]


def test_a_library_weaker_than_the_official_one_is_a_fault(tmp_path: Path) -> None:
    ours = raw_wheel(
        tmp_path / "ours", platform=".".join(TAGS), **{LIBRARY: library(undefined={}, minos="13.4")}
    )
    faults = inspect_wheels(ours, official_wheel(tmp_path / "official")).faults
    assert faults == [
        f"{LIBRARY}: it needs macOS 13.4, newer than 13.3",
        f"{LIBRARY}: no function has a stack protector",
    ]


def test_an_official_wheel_of_another_platform_cannot_be_compared(tmp_path: Path) -> None:
    nothing = official_wheel(tmp_path / "official", **{MODULE: None, LIBRARY: None})
    with pytest.raises(WheelError, match="no library of the kind"):
        inspect_wheels(raw_wheel(tmp_path / "ours"), nothing)


def installed(prefix: Path, content: bytes) -> None:
    names = ("Config", "ConfigVersion", "Targets", "Targets-release")
    texts = [f"lib/cmake/onnxruntime/onnxruntime{name}.cmake" for name in names]
    texts += [f"include/onnxruntime/onnxruntime_{name}_api.h" for name in ("c", "cxx")]
    for name in (*texts, "lib/libonnxruntime.1.21.0.dylib"):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_bytes(content if name.endswith(".dylib") else b"text\n")
    (prefix / "lib" / "libonnxruntime.dylib").symlink_to("libonnxruntime.1.21.0.dylib")


def sdk(folder: Path, content: bytes, minimum_os: str = "13.3") -> SdkArtifact:
    def install(argv: Sequence[str], *, env: Mapping[str, str] | None = None, **_: Any) -> str:
        installed(Path(argv[1].partition("=")[2]), content)
        return ""

    release = Release(
        into=folder / "out",
        version=VERSION,
        platform="macos-arm64",
        source_date_epoch=EPOCH,
        minimum_os=minimum_os,
    )
    return make_sdk(
        release,
        build_dir=folder / "build",
        source_dir=folder / "source",
        cmake=Path("/t/bin/cmake"),
        run=install,
    )


def test_the_sdk_holds_the_library_its_link_and_what_a_user_must_know(tmp_path: Path) -> None:
    made = sdk(tmp_path, library())
    assert made.path.name == f"onnxruntime-sdk-{VERSION}-macos-arm64.tar.gz"
    with tarfile.open(made.path) as archive:
        archive.extractall(tmp_path / "used", filter="data")
    (folder,) = (tmp_path / "used").iterdir()
    assert (folder / "lib/libonnxruntime.1.21.0.dylib").read_bytes() == library()
    assert (folder / "lib/libonnxruntime.dylib").readlink() == Path("libonnxruntime.1.21.0.dylib")
    readme = (folder / "README.md").read_text()
    assert "macOS 13.3 or newer" in readme
    assert "`@rpath/libonnxruntime.1.21.0.dylib`" in readme
    assert "signed ad hoc" in readme


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (library(minos="14.0"), "newer than 13.3"),
        (library(install_name="@rpath/libonnxruntime.dylib"), "install name"),
        (library(undefined=PYTHON), "_PyLong_FromLong"),
        (library(signed=False), "not signed"),
        (library(cpu=X86_64), "not for arm64"),
        (b"\xcf\xfa\xed\xfe cut off", "no Mach-O file"),
        (b"\x7fELF", "no Mach-O file"),
    ],
)
def test_an_sdk_whose_library_is_not_sound_is_refused(
    tmp_path: Path, content: bytes, part: str
) -> None:
    with pytest.raises(WheelError, match=part):
        sdk(tmp_path, content)
    assert list((tmp_path / "out").iterdir()) == []
