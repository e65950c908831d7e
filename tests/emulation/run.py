"""``python -m tests.emulation.run WHEEL``: a linux-aarch64 wheel on an x86_64 machine.

Exit codes: 0 every check passed, 1 a check failed, 3 it could not run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from build.errors import BuildError
from build.fetch.cache import ContentCache, default_cache_root
from tests.emulation import inputs
from tests.emulation.errors import EmulationError
from tests.emulation.honesty import check_honesty
from tests.emulation.judging import exit_code, verdict
from tests.emulation.pins import PINS_FILE, Pins, differences, read_pins, write_pins
from tests.emulation.qemu import BASELINE, PROFILES, REPOSITORY
from tests.emulation.renew import pin_again
from tests.emulation.root import ensure_root
from tests.emulation.stages import Bench, look_at_baseline, run_profile
from tests.emulation.wheels import (
    LOCK,
    OFFICIAL_LOCK,
    OFFICIAL_VERSION,
    ArmWheel,
    inspect_name,
    install_locked,
    install_wheel,
)
from verify.errors import VerifyError
from verify.policy.result import CheckResult

_SCHEMA = 1


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="nox -s emulate --",
        description="Run a linux-aarch64 wheel of onnxruntime on this x86_64 machine under QEMU: "
        "import, node tests against the official wheel, exact products, reference embeddings.",
        epilog="exit codes: 0 every check passed, 1 a check failed, 3 it could not run",
    )
    made.add_argument(
        "wheel", type=Path, nargs="?", metavar="WHEEL", help="default: the one in wheels/"
    )
    made.add_argument(
        "--pin",
        action="store_true",
        help="write pins.toml again from the suite's index, say what changed, and end",
    )
    made.add_argument(
        "--profile",
        action="append",
        choices=[profile.name for profile in PROFILES],
        help="an emulated processor; may be given twice (default: all of them)",
    )
    made.add_argument(
        "--quick", action="store_true", help="every third short text instead of all texts"
    )
    made.add_argument("--onnx-archive", type=Path, metavar="FILE", help="default: the recipe's")
    made.add_argument("--models", type=Path, metavar="DIR", help="default: the fetched files")
    made.add_argument(
        "--work",
        type=Path,
        default=REPOSITORY / ".work" / "emulation",
        metavar="DIR",
        help="journals, logs and emulation.json (default: .work/emulation)",
    )
    made.add_argument("--json", action="store_true", help="the report on standard output")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(argv)
    # A runner that is cancelled must not leave emulators behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        env = dict(os.environ)
        cache = ContentCache(default_cache_root(env))
        pins = read_pins()
        if options.pin:
            return renew(pins, cache, env, say)
        refuse_other_hosts()
        options.wheel = options.wheel or built_wheel(REPOSITORY / "wheels")
        report = emulate(options, pins, cache, env, say)
    except (EmulationError, BuildError, VerifyError) as error:
        print(f"could not run: {error.problem}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        for key, value in error.context.items():
            print(f"  {key}: {value}", file=sys.stderr)
        return EmulationError.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(report, indent=1))
    return int(report["exit_code"])


def built_wheel(folder: Path) -> Path:
    """Return the one linux-aarch64 wheel of a folder.

    Raises
    ------
    EmulationError
        There is none, or more than one.
    """
    found = sorted(folder.glob("onnxruntime-*_aarch64.whl"))
    if len(found) != 1:
        raise EmulationError(
            f"no wheel was given, and {folder.name}/ holds {len(found)} for linux-aarch64",
            hint="name one: `nox -s emulate -- WHEEL`; "
            "`nox -s build -- --platform linux-aarch64` makes one",
        )
    return found[0]


def refuse_other_hosts() -> None:
    """Refuse a machine that the pinned emulator does not run on.

    Raises
    ------
    EmulationError
        Saying what to do instead.
    """
    here = f"{sys.platform} on {platform.machine()}"
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise EmulationError(
            f"the pinned emulator runs on linux on x86_64; this is {here}",
            hint="on an arm64 Linux the wheel runs by itself: `python -m verify run WHEEL`",
        )


def renew(pins: Pins, cache: ContentCache, env: dict[str, str], say: Any) -> int:
    """Write the pins again and say what changed."""
    new = pin_again(pins, cache, env, say)
    changed = differences(pins, new)
    for line in changed:
        say(line)
    if changed:
        write_pins(new)
        say(f"{PINS_FILE.name} written; run the emulation, then read and commit the difference")
    else:
        say("every pin is what the index says")
    return 0


def emulate(
    options: argparse.Namespace, pins: Pins, cache: ContentCache, env: dict[str, str], say: Any
) -> dict[str, Any]:
    """Run every check and write the report; return it.

    Raises
    ------
    EmulationError, BuildError, VerifyError
        It could not run.
    """
    began = time.monotonic()
    wheel = inspect_name(options.wheel)
    checks: list[CheckResult] = []

    def take(found: CheckResult) -> None:
        checks.append(found)
        say(f"{found.status}: {found.id}: {found.summary}")

    work = options.work.resolve() / wheel.sha256[:12]
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    take(check_honesty(wheel))
    emulator = ensure_root(pins, cache, env, say)
    needed = install_locked(LOCK, cache, env, say)
    own = install_wheel(wheel, work / "site", env, say)
    official = None
    if wheel.base_version == OFFICIAL_VERSION:
        official = install_locked(OFFICIAL_LOCK, cache, env, say)
    models, recipe = inputs.model(options.models)
    bench = Bench(
        emulator=emulator,
        wheel=wheel,
        sites={"candidate": (own, needed)} | ({"official": (official, needed)} if official else {}),
        work=work,
        models=models,
        encoder=recipe.encoder,
        archive=inputs.onnx_archive(options.onnx_archive),
        quick=options.quick,
        say=say,
        take=take,
    )
    bench.prepare()
    chosen = [p for p in PROFILES if not options.profile or p.name in options.profile]
    for profile in chosen:
        say(f"== {profile.name}: {profile.meaning} (qemu -cpu {profile.cpu})")
        run_profile(bench, profile)
    baseline = look_at_baseline(bench, BASELINE)
    report = {
        "schema": _SCHEMA,
        "wheel": {"file": wheel.path.name, "sha256": wheel.sha256, "version": wheel.version},
        "official": OFFICIAL_VERSION if official else None,
        "emulator": {"suite": pins.suite, "pins": pins.digest, "packages": len(pins.packages)},
        "profiles": [asdict(profile) for profile in chosen],
        "quick": options.quick,
        "checks": [asdict(check) for check in checks],
        "baseline": baseline,
        "seconds": round(time.monotonic() - began, 1),
        "exit_code": exit_code(checks),
    }
    path = options.work.resolve() / "emulation.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    say(f"the report is {path}")
    say(verdict_of(wheel, checks, options))
    return report


def verdict_of(wheel: ArmWheel, checks: Sequence[CheckResult], options: argparse.Namespace) -> str:
    """Return the last line, with what was asked to be left out."""
    left = [p.name for p in PROFILES if options.profile and p.name not in options.profile]
    line = verdict(wheel, checks, quick=options.quick)
    return line + (f" Left out by --profile: {', '.join(left)}." if left else "")


if __name__ == "__main__":
    sys.exit(main())
