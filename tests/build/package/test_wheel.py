"""The raw wheel becomes the shipped one: everything agrees, and nothing depends on the day."""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import json
import stat
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.errors import ResourceError, WheelError
from build.package.archive import read_wheel, write_wheel
from build.package.comparison import EXPLANATIONS, Explanation, compare_file_lists
from build.package.licences import LicenceText, placed_licences
from build.package.metadata import (
    disagreements,
    headers,
    interpreter_disagreements,
    set_version,
    with_record,
)
from build.package.release import Release
from build.package.repair import Repair, repair_argv, repair_environment, show_argv
from build.package.wheel import FinishedWheel, finish_wheel
from build.recipe.version import local_version
from build.system.files import check_writable, replacing

EPOCH = 1_700_000_000
VERSION = "1.21.0+ortmill.0b5e77aa"
RAW_NAME = "onnxruntime-1.21.0-cp311-cp311-linux_x86_64.whl"
INFO = f"onnxruntime-{VERSION}.dist-info"
REPAIR = Repair(kind="auditwheel", python=Path("/tools/bin/python"))
LICENCES = (
    LicenceText(name="re2", file="LICENSE", text=b"BSD-3-Clause ...\n"),
    LicenceText(name="abseil_cpp", file="LICENSE", text=b"Apache-2.0 ...\n"),
)
METADATA = """\
Metadata-Version: {metadata}
Name: onnxruntime
Version: 1.21.0
License-File: LICENSE
Requires-Dist: numpy>=1.21.6

ONNX Runtime

Version: 1.21.0 is what a description may say.
"""


def raw_files(metadata: str = "2.4") -> dict[str, bytes]:
    info = "onnxruntime-1.21.0.dist-info"
    return with_record(
        {
            "onnxruntime/__init__.py": b'"""Doc."""\n\n__version__ = "1.21.0"\n__author__ = "M"\n',
            "onnxruntime/capi/build_and_package_info.py": (
                b"package_name = 'onnxruntime'\n__version__ = '1.21.0'\n"
            ),
            "onnxruntime/capi/onnxruntime_pybind11_state.so": b"\x003.11\x00 not an ELF file",
            "onnxruntime-1.21.0.data/data/note": b"n",
            f"{info}/METADATA": METADATA.format(metadata=metadata).encode(),
            f"{info}/WHEEL": (
                b"Wheel-Version: 1.0\nGenerator: setuptools (80.9.0)\n"
                b"Root-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n\n"
            ),
            f"{info}/licenses/LICENSE": b"MIT\n",
        }
    )


def raw_wheel(folder: Path, files: Mapping[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RAW_NAME
    write_wheel(raw_files() if files is None else files, path, source_date_epoch=0)
    return path


class FakeAuditwheel:
    """Answers ``show`` and ``repair`` as auditwheel does, and keeps what it was asked."""

    def __init__(
        self,
        tag: str = "manylinux_2_34_x86_64",
        libraries: Sequence[str] = (),
        graft: Mapping[str, bytes] | None = None,
        named: str = "",
        before: str = "",
    ) -> None:
        self.tag, self.libraries, self.graft = tag, libraries, dict(graft or {})
        self.named, self.before = named or tag, before
        self.calls: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> str:
        self.calls.append(list(argv))
        wheel = Path(argv[-1])
        if "show" in argv:
            answer = {"overall_tag": self.tag, "external_libs": dict.fromkeys(self.libraries)}
            return self.before + json.dumps(answer, indent=2) + "\nWARNING: after\n"
        files = read_wheel(wheel)
        name = next(path for path in files if path.endswith(".dist-info/WHEEL"))
        old = wheel.stem.rsplit("-", 1)[1]
        files[name] = files[name].replace(old.encode(), self.named.encode())
        into = Path(argv[argv.index("--wheel-dir") + 1])
        write_wheel(
            with_record({**files, **self.graft}),
            into / wheel.name.replace(old, self.named),
            source_date_epoch=1,
        )
        return ""


def finish(raw: Path, into: Path, run: FakeAuditwheel | None = None) -> FinishedWheel:
    release = Release(
        into=into,
        version=VERSION,
        platform="linux-x86_64",
        source_date_epoch=EPOCH,
        licences=LICENCES,
    )
    return finish_wheel(raw, release, sbom=b"{}\n", repair=REPAIR, run=run or FakeAuditwheel())


def test_version_is_changed_everywhere_together(tmp_path: Path) -> None:
    done = finish(raw_wheel(tmp_path / "raw"), tmp_path / "out")
    files = read_wheel(done.path)
    assert done.path.name == f"onnxruntime-{VERSION}-cp311-cp311-manylinux_2_34_x86_64.whl"
    assert done.tag == "cp311-cp311-manylinux_2_34_x86_64"
    assert headers(files[f"{INFO}/METADATA"], "Version") == [VERSION]
    assert headers(files[f"{INFO}/WHEEL"], "Tag") == ["cp311-cp311-manylinux_2_34_x86_64"]
    assert f'__version__ = "{VERSION}"\n'.encode() in files["onnxruntime/__init__.py"]
    package_info = files["onnxruntime/capi/build_and_package_info.py"]
    assert package_info.endswith(f"__version__ = '{VERSION}'\n".encode())
    assert f"onnxruntime-{VERSION}.data/data/note" in files
    assert not any("1.21.0." in name for name in files)
    assert b"Version: 1.21.0 is what a description may say." in files[f"{INFO}/METADATA"]


def test_record_verifies_hash_by_hash(tmp_path: Path) -> None:
    done = finish(raw_wheel(tmp_path / "raw"), tmp_path / "out")
    with zipfile.ZipFile(done.path) as archive:
        rows = list(csv.reader(io.StringIO(archive.read(f"{INFO}/RECORD").decode())))
        assert sorted(row[0] for row in rows) == sorted(archive.namelist())
        for name, recorded, size in rows:
            content = archive.read(name)
            if name == f"{INFO}/RECORD":
                assert (recorded, size) == ("", "")
                continue
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
            assert recorded == "sha256=" + digest.decode().rstrip("=")
            assert int(size) == len(content)
            assert done.files[name] == hashlib.sha256(content).hexdigest()
    assert done.sha256 == hashlib.sha256(done.path.read_bytes()).hexdigest()
    assert done.size == done.path.stat().st_size


def test_licences_and_sbom_are_inside_and_declared(tmp_path: Path) -> None:
    files = read_wheel(finish(raw_wheel(tmp_path / "raw"), tmp_path / "out").path)
    assert files[f"{INFO}/licenses/re2/LICENSE"] == b"BSD-3-Clause ...\n"
    assert files[f"{INFO}/licenses/abseil_cpp/LICENSE"] == b"Apache-2.0 ...\n"
    assert files[f"{INFO}/sboms/ortmill.cdx.json"] == b"{}\n"
    assert headers(files[f"{INFO}/METADATA"], "License-File") == [
        "LICENSE",
        "abseil_cpp/LICENSE",
        "re2/LICENSE",
    ]


def test_old_metadata_gets_the_texts_but_no_new_headers(tmp_path: Path) -> None:
    raw = raw_wheel(tmp_path / "raw", raw_files("2.1"))
    files = read_wheel(finish(raw, tmp_path / "out").path)
    assert f"{INFO}/licenses/re2/LICENSE" in files
    assert headers(files[f"{INFO}/METADATA"], "License-File") == ["LICENSE"]


def test_same_input_gives_the_same_bytes_and_entries_say_nothing_of_the_machine(
    tmp_path: Path,
) -> None:
    first = finish(raw_wheel(tmp_path / "one"), tmp_path / "a")
    shuffled = dict(reversed(list(raw_files().items())))
    second = finish(raw_wheel(tmp_path / "two", shuffled), tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    with zipfile.ZipFile(first.path) as archive:
        entries = archive.infolist()
    assert {entry.date_time for entry in entries} == {(2023, 11, 14, 22, 13, 20)}
    assert {entry.external_attr >> 16 for entry in entries} == {stat.S_IFREG | 0o644}
    assert [entry.filename for entry in entries][-1] == f"{INFO}/RECORD"


def test_finishing_a_finished_wheel_changes_nothing(tmp_path: Path) -> None:
    once = finish(raw_wheel(tmp_path / "raw"), tmp_path / "out")
    before = once.path.read_bytes()
    twice = finish(once.path, tmp_path / "again")
    assert twice.path.name == once.path.name
    assert twice.path.read_bytes() == before
    assert list((tmp_path / "out").iterdir()) == [once.path]


@pytest.mark.parametrize(
    ("version", "part"),
    [
        ("1.22.0+ortmill.0b5e77aa", "cannot become"),
        ("1.21.0+ortmill.00123456", "cannot become"),
        ("not a version", "cannot become"),
    ],
)
def test_a_version_that_does_not_fit_is_refused(version: str, part: str) -> None:
    with pytest.raises(WheelError, match=part) as caught:
        set_version(raw_files(), version)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("onnxruntime/__init__.py", b'__version__ = "1.20.0"\n'),
        ("onnxruntime/__init__.py", b"version = 1\n"),
        ("onnxruntime/__init__.py", b"__version__ = '1.21.0'\n__version__ = '1.21.0'\n"),
        ("onnxruntime/capi/build_and_package_info.py", b"__version__ = '1.20.0'\n"),
        ("onnxruntime-1.21.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: onnxruntime\n"),
    ],
)
def test_a_raw_wheel_of_mixed_versions_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(WheelError):
        set_version({**raw_files(), name: content}, VERSION)


def test_two_dist_info_folders_are_refused() -> None:
    with pytest.raises(WheelError, match=r"2 \.dist-info folders"):
        set_version({**raw_files(), "other-1.dist-info/METADATA": b""}, VERSION)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"onnxruntime/__init__.py": b'__version__ = "1.21.0"\n'}, "__init__.py says"),
        ({"onnxruntime/extra.py": b""}, "RECORD does not list onnxruntime/extra.py"),
        ({"onnxruntime-1.21.0.data/data/note": b"changed"}, "another hash or size"),
        (
            {"onnxruntime-1.21.0.dist-info/WHEEL": b"Tag: cp312-cp312-linux_x86_64\n\n"},
            "WHEEL says",
        ),
    ],
)
def test_every_disagreement_is_found(change: dict[str, bytes], part: str) -> None:
    files = with_record(set_version(raw_files(), VERSION))
    name = f"onnxruntime-{VERSION}-cp311-cp311-linux_x86_64.whl"
    assert disagreements(name, files, VERSION) == []
    renamed = {
        path.replace("onnxruntime-1.21.0.", f"onnxruntime-{VERSION}."): content
        for path, content in change.items()
    }
    assert any(part in line for line in disagreements(name, {**files, **renamed}, VERSION))


def test_a_file_lost_from_the_wheel_is_found() -> None:
    files = with_record(set_version(raw_files(), VERSION))
    del files[f"onnxruntime-{VERSION}.dist-info/licenses/LICENSE"]
    found = disagreements(f"onnxruntime-{VERSION}-cp311-cp311-linux_x86_64.whl", files, VERSION)
    assert any("names the licence LICENSE" in line for line in found)
    assert any("which is not there" in line and "RECORD" in line for line in found)


@pytest.mark.parametrize(
    ("tags", "name", "content", "part"),
    [
        ("cp312-cp312", "m/onnxruntime_pybind11_state.so", b"\x003.11\x00", "3.12"),
        ("cp311-cp311", "m/x.cpython-312-x86_64-linux-gnu.so", b"", "CPython 3.12"),
        ("py3-none", "m/x.py", b"", "one CPython"),
        ("cp311-abi3", "m/x.py", b"", "one CPython"),
        ("cp310.cp311-cp311", "m/x.py", b"", "2 interpreters"),
    ],
)
def test_a_tag_that_lies_about_python_is_found(
    tags: str, name: str, content: bytes, part: str
) -> None:
    found = interpreter_disagreements(f"onnxruntime-1-{tags}-linux_x86_64.whl", {name: content})
    assert len(found) == 1
    assert part in found[0]


def test_an_honest_tag_has_no_disagreement() -> None:
    assert interpreter_disagreements(RAW_NAME, raw_files()) == []


def test_local_version_is_in_normal_form() -> None:
    assert local_version("1.21.0", "0b5e77aa" + "0" * 56) == VERSION
    assert local_version("1.21.0", "00123456" + "0" * 56) == "1.21.0+ortmill.123456"


def hostile(path: Path, name: str, mode: int = stat.S_IFREG | 0o644, times: int = 1) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(times):
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            archive.writestr(info, b"content")
    return path


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "a/../../evil.py", "/etc/evil", "C:/evil", "a\\..\\evil", "a//b", "./a", "a\nb"],
)
def test_entries_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WheelError, match="holds the entry"):
        read_wheel(hostile(tmp_path / "h.whl", name))


def test_links_twins_and_files_below_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.whl"
    with pytest.raises(WheelError, match="neither a file nor a folder"):
        read_wheel(hostile(path, "link", stat.S_IFLNK | 0o777))
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        pytest.raises(WheelError, match="the same name twice"),
    ):
        read_wheel(hostile(path, "twin", times=2))
    write_wheel({"Name": b"", "name": b""}, path, source_date_epoch=0)
    with pytest.raises(WheelError, match="the same name twice"):
        read_wheel(path)
    write_wheel({"a": b"", "a/b": b""}, path, source_date_epoch=0)
    with pytest.raises(WheelError, match="a file itself"):
        read_wheel(path)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = raw_wheel(tmp_path / "raw").read_bytes()
    path = tmp_path / "damaged.whl"
    for content in (b"", b"no zip at all", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(WheelError, match="cannot be read as a wheel"):
            read_wheel(path)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        start = archive.infolist()[0].header_offset + 30 + len(archive.infolist()[0].filename)
    path.write_bytes(whole[:start] + bytes(8) + whole[start + 8 :])
    with pytest.raises(WheelError, match="cannot be read as a wheel"):
        read_wheel(path)
    with pytest.raises(WheelError, match="cannot be read as a wheel"):
        read_wheel(tmp_path / "absent.whl")


NAMES = st.text("abcdefgh", min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=200), max_size=8),
    epoch=st.integers(0, 1 << 33),
    data=st.data(),
)
def test_write_then_read_is_the_identity_and_order_does_not_count(
    files: dict[str, bytes], epoch: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "1.whl", Path(folder) / "2.whl"
        write_wheel(files, one, source_date_epoch=epoch)
        order = data.draw(st.permutations(list(files)))
        write_wheel({name: files[name] for name in order}, two, source_date_epoch=epoch)
        assert read_wheel(one) == files
        assert one.read_bytes() == two.read_bytes()


def test_binaries_are_executable_in_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    write_wheel({"a.so": b"\x7fELF...", "a.py": b"#!/bin/sh"}, path, source_date_epoch=0)
    with zipfile.ZipFile(path) as archive:
        modes = {info.filename: (info.external_attr >> 16) & 0o777 for info in archive.infolist()}
        times = {info.date_time for info in archive.infolist()}
    assert modes == {"a.so": 0o755, "a.py": 0o644}
    assert times == {(1980, 1, 1, 0, 0, 0)}


def test_auditwheel_commands_are_exact() -> None:
    wheel, into = Path("/s/staged/x.whl"), Path("/s/repaired")
    assert show_argv(REPAIR, wheel) == [
        *("/tools/bin/python", "-m", "auditwheel", "show", "--json", "/s/staged/x.whl")
    ]
    assert repair_argv(REPAIR, wheel, into) == [
        *("/tools/bin/python", "-m", "auditwheel", "repair", "--plat", "auto"),
        *("--zip-compression-level", "1"),
        *("--wheel-dir", "/s/repaired", "/s/staged/x.whl"),
    ]
    env = repair_environment(REPAIR, scratch=Path("/s"), source_date_epoch=7)
    assert env == {
        "PATH": "/tools/bin:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": "/s",
        "SOURCE_DATE_EPOCH": "7",
    }


def test_delocate_command_is_exact() -> None:
    repair = Repair(kind="delocate", python=Path("/t/bin/python"), deployment_target="13.3")
    assert repair_argv(repair, Path("/s/x.whl"), Path("/s/out")) == [
        *("/t/bin/python", "-m", "delocate.cmd.delocate_wheel", "--require-archs=arm64"),
        *("--verbose", "--wheel-dir", "/s/out", "/s/x.whl"),
    ]
    env = repair_environment(repair, scratch=Path("/s"), source_date_epoch=7)
    assert env["MACOSX_DEPLOYMENT_TARGET"] == "13.3"


def test_finish_asks_auditwheel_before_it_repairs(tmp_path: Path) -> None:
    run = FakeAuditwheel()
    finish(raw_wheel(tmp_path / "raw"), tmp_path / "out", run)
    assert [call[3] for call in run.calls] == ["show", "repair"]
    assert {Path(call[-1]).name for call in run.calls} == {
        f"onnxruntime-{VERSION}-cp311-cp311-linux_x86_64.whl"
    }


def test_a_wheel_that_fits_no_manylinux_is_refused_with_the_libraries(tmp_path: Path) -> None:
    run = FakeAuditwheel(tag="linux_x86_64", libraries=("libuuid.so.1",))
    with pytest.raises(WheelError, match="linux_x86_64") as caught:
        finish(raw_wheel(tmp_path / "raw"), tmp_path / "out", run)
    assert caught.value.context["libraries"] == "libuuid.so.1"
    assert [call[3] for call in run.calls] == ["show"]
    assert list((tmp_path / "out").iterdir()) == []


def test_warnings_before_the_answer_do_no_harm_and_no_answer_is_an_error(tmp_path: Path) -> None:
    raw = raw_wheel(tmp_path / "raw")
    done = finish(raw, tmp_path / "out", FakeAuditwheel(before="WARNING: something\n"))
    assert "manylinux_2_34" in done.tag

    def silent(*_: object, **__: object) -> str:
        return "WARNING: something\n"

    with pytest.raises(WheelError, match="no answer"):
        finish(raw, tmp_path / "out", silent)


def test_grafted_libraries_are_refused(tmp_path: Path) -> None:
    run = FakeAuditwheel(graft={"onnxruntime.libs/libuuid-1234.so.1": b"x"})
    with pytest.raises(WheelError, match="grafted") as caught:
        finish(raw_wheel(tmp_path / "raw"), tmp_path / "out", run)
    assert "libuuid" in caught.value.context["grafted"]


def test_a_tag_that_is_not_auditwheels_own_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WheelError, match="auditwheel says"):
        finish(
            raw_wheel(tmp_path / "raw"),
            tmp_path / "out",
            FakeAuditwheel(named="manylinux_2_17_x86_64"),
        )


def test_a_path_of_the_machine_is_refused(tmp_path: Path) -> None:
    files = raw_files()
    files["onnxruntime/__init__.py"] += b"# /home/somebody/tree/x.cc\n"
    with pytest.raises(WheelError, match="a path of the machine") as caught:
        finish_wheel(
            raw_wheel(tmp_path / "raw", with_record(files)),
            Release(
                into=tmp_path / "out",
                version=VERSION,
                platform="linux-x86_64",
                source_date_epoch=EPOCH,
                forbidden_paths=("/home/somebody",),
            ),
            sbom=None,
            repair=REPAIR,
            run=FakeAuditwheel(),
        )
    assert caught.value.context["path"] == "/home/somebody/tree/x.cc"


def test_a_folder_that_cannot_be_written_ends_before_any_tool_runs(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file stands where the folder should be")
    run = FakeAuditwheel()
    with pytest.raises(ResourceError, match="cannot write to"):
        finish(raw_wheel(tmp_path / "raw"), tmp_path / "out", run)
    assert run.calls == []


def test_a_read_only_folder_is_a_resource_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    check_writable(tmp_path / "made" / "on" / "the" / "way")
    assert list((tmp_path / "made" / "on" / "the" / "way").iterdir()) == []
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(ResourceError, match="Read-only file system") as caught:
        check_writable(tmp_path)
    assert caught.value.hint
    assert caught.value.exit_code == 8


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "x.whl"
    target.write_bytes(b"old")
    with pytest.raises(ResourceError, match="No space"), replacing(target) as part:
        part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["../x", "", "a b", "/abs"])
def test_licence_names_are_safe(name: str) -> None:
    with pytest.raises(WheelError, match="no safe name"):
        placed_licences([LicenceText(name=name, file="LICENSE", text=b"x")])


def test_licence_texts_may_repeat_but_not_differ_or_be_empty() -> None:
    text = LicenceText(name="a", file="LICENSE", text=b"x")
    assert placed_licences([text, text]) == {"a/LICENSE": b"x"}
    with pytest.raises(WheelError, match="two different"):
        placed_licences([text, LicenceText(name="a", file="LICENSE", text=b"y")])
    with pytest.raises(WheelError, match="is empty"):
        placed_licences([LicenceText(name="a", file="LICENSE", text=b" \n")])


def test_file_lists_differ_only_where_it_is_explained(tmp_path: Path) -> None:
    ours = finish(raw_wheel(tmp_path / "raw"), tmp_path / "out").path
    official = raw_files()
    state = official.pop("onnxruntime/capi/onnxruntime_pybind11_state.so")
    suffixed = "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so"
    official[suffixed] = state
    del official["onnxruntime-1.21.0.dist-info/licenses/LICENSE"]
    official["onnxruntime-1.21.0+ortmill.0b5e77aa.data/data/note"] = official.pop(
        "onnxruntime-1.21.0.data/data/note"
    )
    found = compare_file_lists(read_wheel(ours), official)
    assert {(item.path, item.only_in) for item in found} == {
        (".dist-info/licenses/LICENSE", "ours"),
        (".dist-info/licenses/abseil_cpp/LICENSE", "ours"),
        (".dist-info/licenses/re2/LICENSE", "ours"),
        (".dist-info/sboms/ortmill.cdx.json", "ours"),
        ("onnxruntime/capi/onnxruntime_pybind11_state.so", "ours"),
        (suffixed, "official"),
    }
    assert all(item.explanation for item in found)


def test_a_difference_that_nothing_explains_stays_open() -> None:
    found = compare_file_lists(["a/uuid.so"], ["a/model.onnx"])
    assert [(item.path, item.only_in, item.explanation) for item in found] == [
        ("a/model.onnx", "official", None),
        ("a/uuid.so", "ours", None),
    ]
    known = (Explanation(pattern=r"a/model\.onnx", only_in="official", why="known"),)
    found = compare_file_lists(["a/uuid.so"], ["a/model.onnx"], explanations=known)
    assert [item.explanation for item in found] == ["known", None]


def test_every_explanation_says_something() -> None:
    assert len({entry.pattern for entry in EXPLANATIONS}) == len(EXPLANATIONS)
    assert all(entry.why.endswith(".") for entry in EXPLANATIONS)
