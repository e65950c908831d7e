"""The lines that lead a program to the SDK, read back by what they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from build import cli
from build.errors import UsageError
from build.package.exports import Sdk, exports, read_sdk, unpacked, variables

ROOT = Path(__file__).resolve().parents[3]
NAMES = (
    "ORT_DYLIB_PATH",
    "ORT_LIB_PATH",
    "ORT_LIB_LOCATION",
    "ORT_PREFER_DYNAMIC_LINK",
    "PKG_CONFIG_PATH",
    "CMAKE_PREFIX_PATH",
)


def written(folder: Path, *, library: str = "libonnxruntime.so.1.21.0", machine: int = 62) -> Path:
    (folder / "include" / "onnxruntime").mkdir(parents=True)
    (folder / "lib").mkdir()
    (folder / "include/onnxruntime/onnxruntime_c_api.h").write_text("#define ORT_API_VERSION 21\n")
    (folder / "lib" / library).write_bytes(bytes(18) + bytes([machine, 0]))
    return folder


@pytest.fixture
def sdk(tmp_path: Path) -> Sdk:
    return read_sdk(written(tmp_path / 'it\'s a $HOME \\ "SDK"'))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_reads_what_was_meant(shell: str, sdk: Sdk) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"NOT READ BY {shell.upper()}: it is not installed")
    script = exports(sdk, shell)
    # Printed by env, so that what is not exported does not show.
    said = subprocess.run(
        [program, "-c", f"{script}\nexec /usr/bin/env"],
        env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": "/kept"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    wanted = variables(sdk)
    wanted["PKG_CONFIG_PATH"] += ":/kept"
    assert {name: found.get(name) for name in wanted} == wanted


def test_fish_is_quoted_by_its_own_rules(sdk: Sdk) -> None:
    lines = exports(sdk, "fish").splitlines()
    assert lines[1].startswith("set -gx ORT_DYLIB_PATH '")
    assert "it\\'s a $HOME \\\\ \"SDK\"/lib/libonnxruntime.so'" in lines[1]


def test_github_takes_names_and_values_alone(sdk: Sdk) -> None:
    lines = exports(sdk, "github").splitlines()
    assert dict(line.split("=", 1) for line in lines) == variables(sdk)


def test_github_keeps_the_lists_that_other_steps_have_set(sdk: Sdk) -> None:
    """The Python of actions/setup-python finds its library by LD_LIBRARY_PATH."""
    lines = exports(sdk, "github", {"LD_LIBRARY_PATH": "/python/lib", "CMAKE_PREFIX_PATH": ""})
    found = dict(line.split("=", 1) for line in lines.splitlines())
    wanted = variables(sdk)
    assert found == {**wanted, "LD_LIBRARY_PATH": f"{wanted['LD_LIBRARY_PATH']}:/python/lib"}


def test_cargo_reads_its_configuration(sdk: Sdk) -> None:
    read = tomllib.loads(exports(sdk, "cargo"))
    assert read["env"] == {name: variables(sdk)[name] for name in NAMES[:4]}
    flags = read["target"]["x86_64-unknown-linux-gnu"]["rustflags"]
    assert flags == ["-C", f"link-arg=-Wl,-rpath,{sdk.folder / 'lib'}"]


def test_the_first_line_says_which_feature_fits(sdk: Sdk) -> None:
    first = exports(sdk, "bash").splitlines()[0]
    assert first == (
        "# ONNX Runtime 1.21.0, C API 21: the crate ort with its feature api-21 or a lower one"
    )


@pytest.mark.parametrize(
    ("library", "machine", "platform", "loader"),
    [
        ("libonnxruntime.so.1.21.0", 62, "linux-x86_64", "LD_LIBRARY_PATH"),
        ("libonnxruntime.so.1.21.0", 183, "linux-aarch64", "LD_LIBRARY_PATH"),
        ("libonnxruntime.1.21.0.dylib", 0, "macos-arm64", "DYLD_LIBRARY_PATH"),
    ],
)
def test_the_platform_is_read_from_the_library(
    library: str, machine: int, platform: str, loader: str, tmp_path: Path
) -> None:
    found = read_sdk(written(tmp_path / "sdk", library=library, machine=machine))
    assert (found.platform, found.version, found.api) == (platform, "1.21.0", 21)
    assert loader in variables(found)
    suffix = "dylib" if platform == "macos-arm64" else "so"
    assert variables(found)["ORT_DYLIB_PATH"].endswith(f"/libonnxruntime.{suffix}")


def test_what_is_no_sdk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no unpacked SDK"):
        read_sdk(tmp_path)
    for name in ("two\nlines", "two:folders", "two;folders", "two,words"):
        with pytest.raises(UsageError, match="no line can carry"):
            read_sdk(written(tmp_path / name))


@pytest.mark.parametrize("form", [[], ["--github-env"], ["--cargo-config"]])
def test_an_umlaut_goes_through_a_locale_without_one(form: list[str], tmp_path: Path) -> None:
    folder = written(tmp_path / "Übung")
    said = subprocess.run(
        [sys.executable, "-m", "build", "env", str(folder), *form],
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PATH": os.defpath},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert f"{folder}/lib/libonnxruntime.so" in said.stdout.decode()


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    written(tmp_path / "onnxruntime-sdk-1")
    archive = tmp_path / "onnxruntime-sdk-1.tar.gz"
    with tarfile.open(archive, "w:gz") as made:
        made.add(tmp_path / "onnxruntime-sdk-1", arcname="onnxruntime-sdk-1")
    first = unpacked(archive, tmp_path / "below")
    mark = first / "mark"
    mark.touch()
    assert unpacked(archive, tmp_path / "below") == first
    assert mark.exists()
    assert read_sdk(first).api == 21


def test_the_command_prints_the_lines_of_a_named_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written(tmp_path / "sdk")
    assert cli.main(["env", str(folder)], {"SHELL": "/usr/bin/fish"}) == 0
    assert "set -gx ORT_LIB_PATH" in capsys.readouterr().out
    assert cli.main(["env", str(folder), "--github-env"], {"LD_LIBRARY_PATH": "/kept"}) == 0
    assert "/lib:/kept\n" in capsys.readouterr().out
    assert cli.main(["env", str(folder), "--cargo-config"], {}) == 0
    assert tomllib.loads(capsys.readouterr().out)["env"]["ORT_PREFER_DYNAMIC_LINK"] == "1"
    assert cli.main(["env", str(tmp_path)], {}) == UsageError.exit_code
    assert "is no unpacked SDK" in capsys.readouterr().err
