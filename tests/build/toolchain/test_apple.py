"""Apple's compiler, as xcrun names it: with programs that answer as a Mac's would."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.errors import ToolchainError
from build.pipeline import artefacts_key
from build.recipe.format import Platform
from build.request import Request, the_compiler
from build.toolchain.apple import find_apple_compiler
from build.tree.workspace import Tree, Workspace
from tests.kit.recipe_examples import shipped

APPLE = "Apple clang version 16.0.0 (clang-1600.0.26.6)\nTarget: arm64-apple-darwin24.1.0"
HOMEBREW = "Homebrew clang version 19.1.7\nTarget: arm64-apple-darwin24.1.0"
MACOS = Platform(
    repair="delocate",
    compiler_minimum={"apple-clang": "14.0.3"},
    minimum_os="13.3",
    sdk_minimum="13.3",
    sdk_refused={"15.4": "Xcode 16.3 lacks a template"},
)
# Answers for the developer folder that DEVELOPER_DIR names, by default the first one.
XCRUN = """\
#!/bin/sh
fail() {{ echo "xcrun: error: $1" >&2; exit 1; }}
developer=${{DEVELOPER_DIR:-{root}/Xcode.app/Contents/Developer}}
[ -d "$developer" ] || fail "missing DEVELOPER_DIR path: $developer"
sdk=macosx
[ "$1" = --sdk ] && sdk=$2 && shift 2
case $sdk in macosx) sdk=$developer/MacOSX.sdk;; esac
case "$1 $2" in
"--find clang++"|"--find clang") echo "$developer/usr/bin/$2";;
"--show-sdk-path ") [ -d "$sdk" ] || fail "SDK \\"$sdk\\" cannot be located"; echo "$sdk";;
"--show-sdk-version ") cat "$sdk/version";;
*) fail "not expected: $*";;
esac
"""


def program(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)
    return place


def compilers(folder: Path, answer: str) -> Path:
    for name in ("clang", "clang++"):
        program(folder / name, f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    return folder / "clang++"


def sdk(place: Path, version: str) -> Path:
    (place / "System" / "Library" / "Frameworks" / "CoreML.framework").mkdir(parents=True)
    (place / "version").write_text(f"{version}\n")
    return place


def xcode(root: Path, name: str = "Xcode", *, answer: str = APPLE, version: str = "15.1") -> Path:
    """Install a stand-in for Xcode; return its developer folder."""
    developer = root / f"{name}.app" / "Contents" / "Developer"
    compilers(developer / "usr" / "bin", answer)
    sdk(developer / "MacOSX.sdk", version)
    return developer


def mac(root: Path, **variables: str) -> dict[str, str]:
    program(root / "bin" / "xcrun", XCRUN.format(root=root))
    return {"PATH": f"{root / 'bin'}:/usr/bin:/bin", **variables}


def refused(env: dict[str, str]) -> ToolchainError:
    with pytest.raises(ToolchainError) as caught:
        find_apple_compiler(env, MACOS)
    assert caught.value.hint
    return caught.value


def test_xcrun_names_compiler_and_sdk(tmp_path: Path) -> None:
    developer = xcode(tmp_path)
    found = find_apple_compiler(mac(tmp_path), MACOS)
    assert found.cxx == developer / "usr" / "bin" / "clang++"
    assert found.c == developer / "usr" / "bin" / "clang"
    assert (found.family, found.version) == ("apple-clang", "16.0.0")
    assert found.identity == "Apple clang version 16.0.0 (clang-1600.0.26.6), macOS SDK 15.1"
    assert found.variables == {"SDKROOT": str(developer / "MacOSX.sdk")}
    assert not found.note


def test_a_foreign_clang_first_in_the_path_is_not_taken_and_is_named(tmp_path: Path) -> None:
    developer = xcode(tmp_path)
    foreign = compilers(tmp_path / "homebrew", HOMEBREW)
    env = mac(tmp_path)
    env["PATH"] = f"{foreign.parent}:{env['PATH']}"
    found = find_apple_compiler(env, MACOS)
    assert found.cxx == developer / "usr" / "bin" / "clang++"
    assert str(foreign) in found.note
    assert "Homebrew clang version 19.1.7" in found.note
    # Apple's own shim, which stands in /usr/bin on a Mac, is nothing to speak of.
    compilers(foreign.parent, APPLE)
    assert not find_apple_compiler(env, MACOS).note


@pytest.mark.parametrize("variable", ["CC", "CXX"])
def test_a_foreign_compiler_that_the_user_names_is_an_error(tmp_path: Path, variable: str) -> None:
    xcode(tmp_path)
    foreign = compilers(tmp_path / "conda", HOMEBREW)
    error = refused(mac(tmp_path, **{variable: str(foreign)}))
    assert f"{variable}={foreign} is Homebrew clang version 19.1.7" in error.problem
    assert "not Apple's" in error.problem
    assert "unset" in error.hint


def test_another_xcodes_compiler_may_be_named(tmp_path: Path) -> None:
    xcode(tmp_path)
    other = xcode(tmp_path, "Other", answer=APPLE.replace("16.0.0", "15.0.0"))
    found = find_apple_compiler(mac(tmp_path, CXX=str(other / "usr" / "bin" / "clang++")), MACOS)
    assert found.version == "15.0.0"
    # The one beside it, and not the other Xcode's.
    assert found.c == other / "usr" / "bin" / "clang"


def test_developer_dir_is_honoured_and_recorded(tmp_path: Path) -> None:
    xcode(tmp_path)
    other = xcode(tmp_path, "Xcode_15", answer=APPLE.replace("16.0.0", "15.0.0"), version="14.5")
    found = find_apple_compiler(mac(tmp_path, DEVELOPER_DIR=str(other)), MACOS)
    assert found.cxx == other / "usr" / "bin" / "clang++"
    assert found.identity.endswith("macOS SDK 14.5")
    assert found.variables == {
        "DEVELOPER_DIR": str(other),
        "SDKROOT": str(other / "MacOSX.sdk"),
    }
    missing = refused(mac(tmp_path, DEVELOPER_DIR="/none"))
    assert "missing DEVELOPER_DIR path: /none" in missing.problem


def test_sdkroot_is_honoured_and_recorded(tmp_path: Path) -> None:
    xcode(tmp_path)
    mine = sdk(tmp_path / "sdks" / "MacOSX14.2.sdk", "14.2")
    found = find_apple_compiler(mac(tmp_path, SDKROOT=str(mine)), MACOS)
    assert found.variables["SDKROOT"] == str(mine)
    assert found.identity.endswith("macOS SDK 14.2")
    assert "cannot be located" in refused(mac(tmp_path, SDKROOT="/none.sdk")).problem


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("13.1", "the macOS SDK 13.1 is older than 13.3"),
        ("12.3", "a wheel for macOS 13.3"),
        ("15.4", "the macOS SDK 15.4 cannot be used: Xcode 16.3 lacks a template"),
        ("no version", "does not say its version"),
    ],
)
def test_an_sdk_that_cannot_be_used(tmp_path: Path, version: str, said: str) -> None:
    xcode(tmp_path, version=version)
    error = refused(mac(tmp_path))
    assert said in error.problem
    assert "DEVELOPER_DIR" in error.hint


@pytest.mark.parametrize("version", ["13.3", "13.10", "15.5", "26.0"])
def test_an_sdk_that_can_be_used(tmp_path: Path, version: str) -> None:
    xcode(tmp_path, version=version)
    assert find_apple_compiler(mac(tmp_path), MACOS).identity.endswith(f"macOS SDK {version}")


def test_an_old_compiler_is_refused(tmp_path: Path) -> None:
    xcode(tmp_path, answer="Apple clang version 14.0.0 (clang-1400.0.29.202)")
    assert "needs apple-clang 14.0.3 or newer" in refused(mac(tmp_path)).problem


def test_a_compiler_of_xcruns_that_is_not_apples(tmp_path: Path) -> None:
    xcode(tmp_path, answer=HOMEBREW)
    assert "is Homebrew clang version 19.1.7, not Apple's" in refused(mac(tmp_path)).problem


def test_a_machine_without_apples_tools(tmp_path: Path) -> None:
    compilers(tmp_path / "bin", HOMEBREW)
    error = refused({"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"})
    assert "no xcrun on the PATH" in error.problem
    assert "xcode-select --install" in error.hint


def test_another_xcode_or_sdk_is_another_build(tmp_path: Path) -> None:
    xcode(tmp_path)
    other = xcode(tmp_path, "Other")
    mine = sdk(tmp_path / "MacOSX14.2.sdk", "14.2")

    def key(**variables: str) -> str:
        request = Request(
            recipe=shipped(), recipe_file="r", platform="macos-arm64", host="macos-arm64",
            workspace=Workspace(root=tmp_path, cache=tmp_path, recipes=tmp_path),
            env=mac(tmp_path, **variables),
        )  # fmt: skip
        return artefacts_key(request, the_compiler(request, Tree(root=tmp_path)))

    assert len({key(), key(DEVELOPER_DIR=str(other)), key(SDKROOT=str(mine))}) == 3
    assert key() == key()


def test_the_shipped_recipe_says_what_a_mac_needs() -> None:
    platform = shipped().platforms["macos-arm64"]
    assert platform.compiler_minimum == {"apple-clang": "14.0.3"}
    assert platform.sdk_minimum == platform.minimum_os == "13.3"
    assert "Xcode 16.3" in platform.sdk_refused["15.4"]
