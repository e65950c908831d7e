"""Read by every Python of the rehearsed Mac when it starts: it takes itself for one on macOS.

What macOS has not (affinity, ``/proc``, ``/sys``) is taken away, what it counts otherwise
(``ru_maxrss`` in bytes) is counted so, and what the interpreter was compiled with says Darwin.
"""

import contextlib
import os
import platform
import resource
import sys
import sysconfig

RELEASE = "15.5"
_LACKING = (
    *("sched_getaffinity", "sched_setaffinity", "memfd_create", "eventfd", "pipe2", "getrandom"),
    *("copy_file_range", "splice", "posix_fadvise", "posix_fallocate", "fdatasync"),
)
_LACKING_OF_PSUTIL = ("cpu_affinity", "io_counters", "rlimit", "cpu_num", "ionice")
_HIDDEN = ("/proc/", "/sys/")
_HIDDEN_EVENTS = {"open", "os.listdir", "os.scandir"}


def _config() -> None:
    known = sysconfig.get_config_vars()  # read under the name that Linux gives the file
    known.update(
        EXT_SUFFIX=f".cpython-{sys.version_info.major}{sys.version_info.minor}-darwin.so",
        SOABI=f"cpython-{sys.version_info.major}{sys.version_info.minor}-darwin",
        MACHDEP="darwin",
        MULTIARCH="darwin",
        MACOSX_DEPLOYMENT_TARGET="11.0",
    )
    headers = os.path.join(os.path.dirname(__file__), "rehearsal", "include")
    if os.path.isdir(headers):
        known.update(INCLUDEPY=headers, CONFINCLUDEPY=headers)
        for scheme in ("posix_prefix", "venv"):
            paths = sysconfig._INSTALL_SCHEMES.get(scheme)
            if paths:
                paths.update(include=headers, platinclude=headers)


def _usage() -> None:
    asked = resource.getrusage

    def getrusage(who: int) -> resource.struct_rusage:
        found = list(asked(who))
        found[2] *= 1024
        return resource.struct_rusage(found)

    resource.getrusage = getrusage


def _hide(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _HIDDEN_EVENTS or not arguments:
        return
    path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else ""
    if path.startswith(_HIDDEN):
        # The C library's own look-ups need no Python; psutil is Linux's own, and must work.
        frame = sys._getframe(1)
        for _ in range(4):
            if "psutil" in frame.f_code.co_filename:
                return
            if frame.f_back is None:
                break
            frame = frame.f_back
        raise FileNotFoundError(2, "a Mac has no such file", path)


def _pip() -> bool:
    words = sys.orig_argv[1:4]
    return "pip" in words or any("__pip-runner__" in word for word in words)


def _packages() -> None:
    """Load what brings a library of its own for each system, while this is still Linux."""
    with contextlib.suppress(ImportError):
        import capstone  # noqa: F401 - to be loaded is all
    with contextlib.suppress(ImportError):
        import psutil

        for name in _LACKING_OF_PSUTIL:
            if hasattr(psutil.Process, name):
                delattr(psutil.Process, name)
        psutil.LINUX, psutil.MACOS = False, True


def become_a_mac() -> None:
    """Change what this interpreter says of its machine."""
    _packages()
    _config()
    _usage()
    for name in _LACKING:
        if hasattr(os, name):
            delattr(os, name)
    sys.platform = "darwin"
    platform.mac_ver = lambda *_, **__: (RELEASE, ("", "", ""), "arm64")
    platform.processor = lambda: "arm"
    sys.addaudithook(_hide)
    with contextlib.suppress(ImportError):
        import rehearsal.hooks

        rehearsal.hooks.install()


def stay_linux_for_pip() -> None:
    """Let pip be Linux's, which also takes a wheel for a Mac.

    What the wheel under test needs beside it must run here.
    """
    machine = str(sysconfig.get_config_var("HOST_GNU_TYPE")).partition("-")[0]
    known = os.uname_result(("Linux", "rehearsal", "6.1.0", "#1", machine))
    os.uname = lambda: known
    runner = next((word for word in sys.orig_argv if word.endswith("__pip-runner__.py")), "")
    if runner:
        # pip for an environment that has none: it is found beside its runner.
        sys.path.append(os.path.dirname(os.path.dirname(runner)))
    with contextlib.suppress(ImportError):
        from pip._vendor.packaging import tags

        of_linux = tags.platform_tags
        tags.platform_tags = lambda: (*of_linux(), *tags.mac_platforms((15, 5), "arm64"))
    if runner:
        sys.path.pop()


if _pip():
    stay_linux_for_pip()
else:
    become_a_mac()
