"""Run a linux-aarch64 wheel on an x86_64 machine under QEMU's user mode, for tests and CI.

``python -m tests.emulation.run WHEEL`` fetches a pinned emulator and a pinned arm64 CPython from
Debian, installs the wheel beside its locked dependencies and shows whether it computes right.
Nothing is installed on the machine and nothing needs the rights of root.
"""
