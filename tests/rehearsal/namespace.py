"""A part of this machine that has no network but loopback, and names and folders of its own."""

from __future__ import annotations

import fcntl
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 0x1


class NoNamespace(Exception):
    """This machine gives an ordinary user no namespace."""


def command(module: str, arguments: Sequence[str]) -> list[str]:
    """Return ``python -m module arguments`` in new user, network and mount namespaces.

    Raises
    ------
    NoNamespace
        Where that is not allowed, with what to do about it.
    """
    words = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*words, "true"], capture_output=True, check=False).returncode
    ):
        raise NoNamespace(
            "the rehearsal needs user namespaces (`unshare -rnm true`), on Linux alone; on Ubuntu: "
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return [*words, sys.executable, "-m", module, *arguments]


def go_inside(module: str, arguments: Sequence[str]) -> int:
    """Run a module inside, as :func:`command` says, and return its exit code."""
    words = command(module, arguments)
    sys.stdout.flush()
    return subprocess.run(words, check=False).returncode


def bring_up_loopback() -> None:
    """Set ``lo`` up: a new network namespace has it, and it is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        answer = fcntl.ioctl(any_socket, _GET_FLAGS, request)
        flags = struct.unpack("16sH14x", answer)[1] | _UP
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", flags))


def bind(source: Path, target: Path, *, recursively: bool = False) -> None:
    """Let a file or folder appear at another place, for this namespace alone."""
    how = "--rbind" if recursively else "--bind"
    subprocess.run(["mount", how, str(source), str(target)], check=True)


def replace_cache(cache: Path, own: Path, shared: Sequence[str]) -> None:
    """Let another cache stand at the cache's place, with some of its folders in it.

    Trees keep the paths that they always have, so the compiler cache answers, and the user's own
    trees and downloads are left alone.
    """
    for name in shared:
        for folder in (cache, own):
            (folder / name).mkdir(parents=True, exist_ok=True)
        bind(cache / name, own / name)
    bind(own, cache, recursively=True)


def name_hosts(hosts: Sequence[str], file: Path) -> None:
    """Let names mean this machine: ``/etc/hosts`` of this namespace."""
    lines = [f"127.0.0.1 {host}\n" for host in ("localhost", *hosts)]
    file.write_text("".join(lines), encoding="utf-8")
    bind(file, Path("/etc/hosts"))


def interfaces() -> Mapping[str, int]:
    """Return this namespace's network interfaces with the bytes that each has sent."""
    lines = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()[2:]
    parts = (line.partition(":") for line in lines)
    return {name.strip(): int(figures.split()[8]) for name, _, figures in parts}


def outside_is_unreachable() -> str:
    """Return what happens to a packet for an address outside; raise where it leaves."""
    try:
        # TEST-NET-1 (RFC 5737): nobody's, and routed like any other.
        socket.create_connection(("192.0.2.1", 443), timeout=3).close()
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise AssertionError("a packet left this machine: there is a route") from error
        return str(error)
    raise AssertionError("something outside answered")
