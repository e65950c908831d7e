"""The emulation harness without an emulator: the pins, the packages and the root."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build.fetch.cache import ContentCache
from build.fetch.http import TransferError
from tests.emulation import pins as pinning
from tests.emulation import renew
from tests.emulation.errors import EmulationError
from tests.emulation.pins import Package, Pins, read_pins, write_pins
from tests.emulation.root import ensure_root, stale, unpack_package

SHA = "0" * 64


def package(name: str = "libc6", **changes: object) -> Package:
    known: dict[str, object] = {
        "architecture": "arm64", "path": f"pool/{name}.deb", "size": 1, "sha256": SHA,
    }  # fmt: skip
    return Package(name=name, **{**known, **changes})


def make_deb(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    packed = b"!<arch>\n"
    for name, content in (("debian-binary", b"2.0\n"), ("data.tar.xz", data.getvalue())):
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        packed += content + b"\n" * (len(content) % 2)
    return packed


class TestPins:
    def test_the_shipped_pins_are_whole_and_name_no_host(self) -> None:
        pins = read_pins()
        names = {(item.architecture, item.name) for item in pins.packages}
        assert ("amd64", "qemu-user-static") in names
        assert ("arm64", "python3.11-minimal") in names
        assert all("/" in item.path and "://" not in item.path for item in pins.packages)
        assert "http" not in pinning.PINS_FILE.read_text(encoding="utf-8")

    def test_what_is_written_is_read_again(self, tmp_path: Path) -> None:
        path = tmp_path / "pins.toml"
        pins = Pins(suite="bookworm", packages=(package("a"), package("b", only=("usr/bin/x",))))
        write_pins(pins, path)
        assert read_pins(path) == pins

    def test_every_mistake_is_told_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "pins.toml"
        path.write_text(
            'suite = "bookworm"\n[[package]]\nname = "libc6"\narchitecture = "armel"\n'
            'path = "/etc/passwd"\nsize = 0\nsha256 = "abc"\nsuite = 1\n',
            encoding="utf-8",
        )
        with pytest.raises(EmulationError) as caught:
            read_pins(path)
        for word in ("architecture", "path", "size", "sha256", "no such key: suite"):
            assert word in caught.value.problem
        assert "--pin" in caught.value.hint

    @pytest.mark.parametrize("text", ["suite = 3\n", "suite =", 'suite = "x"\n', ""])
    def test_pins_without_a_package_are_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "pins.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(EmulationError):
            read_pins(path)

    def test_a_package_twice_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "pins.toml"
        write_pins(Pins(suite="bookworm", packages=(package(), package())), path)
        with pytest.raises(EmulationError, match="stands twice"):
            read_pins(path)

    def test_the_digest_follows_the_bytes_and_not_the_order(self) -> None:
        one, two = package("a"), package("b")
        pins = Pins(suite="bookworm", packages=(one, two))
        assert pins.digest == replace(pins, packages=(two, one)).digest
        other = replace(two, sha256="1" * 64)
        assert pins.digest != replace(pins, packages=(one, other)).digest
        part = replace(two, only=("usr/bin/x",))
        assert pins.digest != replace(pins, packages=(one, part)).digest


class Mirror:
    """A Debian archive in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.packages: list[Package] = []
        self.env = {"ORTMILL_DEBIAN_MIRROR": root.as_uri()}

    def add(self, name: str, architecture: str, content: bytes, only: tuple[str, ...] = ()) -> None:
        path = f"pool/main/{name}_1_{architecture}.deb"
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.packages = [item for item in self.packages if item.name != name]
        self.packages.append(
            Package(
                name=name, architecture=architecture, path=path, size=len(content),
                sha256=digest, only=only,
            )
        )  # fmt: skip

    @property
    def pins(self) -> Pins:
        return Pins(suite="bookworm", packages=tuple(self.packages))

    def publish(self) -> None:
        dists = self.root / "dists" / "bookworm"
        lines = []
        for architecture in ("amd64", "arm64"):
            text = "\n".join(
                f"Package: {item.name}\nFilename: {item.path}\nSize: {item.size}\n"
                f"Description: x\n more: of it\nSHA256: {item.sha256}\n"
                for item in self.packages
                if item.architecture == architecture
            )
            index = dists / f"main/binary-{architecture}/Packages.xz"
            index.parent.mkdir(parents=True, exist_ok=True)
            index.write_bytes(lzma.compress(text.encode()))
            digest = hashlib.sha256(index.read_bytes()).hexdigest()
            lines.append(f" {digest} {index.stat().st_size} {index.relative_to(dists)}\n")
        text = "Suite: x\nMD5Sum:\n 00 1 main/x\nSHA256:\n" + "".join(lines) + "SHA512:\n 0 1 x\n"
        (dists / "InRelease").write_text(text, encoding="utf-8")


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    made = Mirror(tmp_path / "mirror")
    tool = make_deb({"usr/bin/qemu-aarch64-static": b"tool", "usr/bin/qemu-other": b"x"})
    made.add("qemu-user-static", "amd64", tool, only=("usr/bin/qemu-aarch64-static",))
    files = {"usr/bin/python3.11": b"python", "etc/site.py": b"site"}
    made.add("python", "arm64", make_deb(files, {"usr/lib/python/site.py": "/etc/site.py"}))
    return made


@pytest.fixture
def cache(tmp_path: Path) -> ContentCache:
    return ContentCache(tmp_path / "cache")


class TestRoot:
    def test_packages_become_an_emulator_and_a_root(
        self, mirror: Mirror, cache: ContentCache
    ) -> None:
        emulator = ensure_root(mirror.pins, cache, mirror.env, print)
        assert emulator.qemu.read_bytes() == b"tool"
        assert not emulator.qemu.with_name("qemu-other").exists()
        assert emulator.python.read_bytes() == b"python"
        assert emulator.home.is_relative_to(cache.root / "emulation")
        link = emulator.root / "usr" / "lib" / "python" / "site.py"
        assert link.resolve() == (emulator.root / "etc" / "site.py").resolve()

    def test_a_root_that_stands_needs_no_mirror(self, mirror: Mirror, cache: ContentCache) -> None:
        first = ensure_root(mirror.pins, cache, mirror.env, print)
        shutil.rmtree(mirror.root)
        shutil.rmtree(cache.root / "files")
        assert ensure_root(mirror.pins, cache, mirror.env, print) == first

    def test_a_file_that_the_mirror_replaced_says_what_to_do(
        self, mirror: Mirror, cache: ContentCache
    ) -> None:
        pins = mirror.pins
        mirror.add("python", "arm64", make_deb({"usr/bin/python3.11": b"newer"}))
        with pytest.raises(EmulationError) as caught:
            ensure_root(pins, cache, mirror.env, print)
        assert "python" in caught.value.problem
        assert "--pin" in caught.value.hint
        assert "point release" in caught.value.hint
        assert not list((cache.root / "emulation").glob("*"))

    def test_a_file_that_is_gone_says_what_to_do(self, mirror: Mirror, cache: ContentCache) -> None:
        (mirror.root / mirror.packages[0].path).unlink()
        with pytest.raises(EmulationError, match="no longer has qemu-user-static"):
            ensure_root(mirror.pins, cache, mirror.env, print)

    def test_a_dead_network_is_not_blamed_on_the_pins(self) -> None:
        error = TransferError("HOST could not be reached", brief="refused", host="HOST")
        assert stale(package(), "bookworm", error) is error
        gone = TransferError("status 404", brief="status 404")
        assert isinstance(stale(package(), "bookworm", gone), EmulationError)


class TestRenew:
    def test_pins_follow_the_index(
        self, mirror: Mirror, cache: ContentCache, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renew.shutil, "which", lambda name: None)
        old = mirror.pins
        mirror.add("python", "arm64", make_deb({"usr/bin/python3.11": b"newer"}))
        mirror.publish()
        said: list[str] = []
        new = renew.pin_again(old, cache, mirror.env, said.append)
        assert new == Pins(suite=old.suite, packages=tuple(
            next(p for p in [*mirror.packages] if p.name == item.name) for item in old.packages
        ))  # fmt: skip
        assert [line.split(":")[0] for line in pinning.differences(old, new)] == ["python"]
        assert "NOT checked" in said[0]

    @pytest.mark.skipif(
        not shutil.which("gpgv") or not renew._KEYRING.exists(), reason="no gpgv or no key ring"
    )
    def test_an_unsigned_index_is_refused(self, mirror: Mirror, cache: ContentCache) -> None:
        mirror.publish()
        with pytest.raises(EmulationError, match="signature"):
            renew.pin_again(mirror.pins, cache, mirror.env, print)

    def test_a_package_that_the_suite_dropped_is_named(self) -> None:
        pins = Pins(suite="bookworm", packages=(package("gone"),))
        with pytest.raises(EmulationError, match="no package gone"):
            pinning.renewed(pins, {"arm64": {}})


class TestPackage:
    @settings(deadline=None, max_examples=20)
    @given(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=5),
        st.lists(st.sampled_from("xyz"), min_size=1, max_size=5),
    )
    def test_an_absolute_link_leads_to_the_same_place_in_the_root(
        self, at: list[str], to: list[str]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, root = Path(folder) / "a.deb", Path(folder) / "root"
            link, target = "/".join(at), "/".join(to)
            path.write_bytes(make_deb({target: b"content"}, {link: f"/{target}"}))
            unpack_package(package("a"), path, root)
            assert (root / link).is_symlink()
            assert (root / link).resolve() == (root / target).resolve()

    def test_a_member_outside_the_root_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.deb"
        path.write_bytes(make_deb({"../../outside": b"x"}))
        with pytest.raises(EmulationError, match="cannot be unpacked"):
            unpack_package(package("bad"), path, tmp_path / "into" / "root")
        assert not (tmp_path / "outside").exists()

    def test_a_member_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "tool.deb"
        path.write_bytes(make_deb({"usr/bin/other": b"x"}))
        with pytest.raises(EmulationError, match="has no usr/bin/tool"):
            unpack_package(package("tool", only=("usr/bin/tool",)), path, tmp_path / "root")

    @pytest.mark.parametrize(
        "content", [b"", b"!<arch>\n", b"PK\x03\x04", b"!<arch>\n" + b"x" * 99]
    )
    def test_a_damaged_package_is_told_in_a_sentence(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "bad.deb"
        path.write_bytes(content)
        with pytest.raises(
            EmulationError, match="the Debian package bad cannot be unpacked"
        ) as caught:
            unpack_package(package("bad"), path, tmp_path / "root")
        assert not caught.value.problem.endswith("None")
