"""Run the build's command line."""

import sys

from .errors import ToolchainError

try:
    from .cli import main
except KeyboardInterrupt:  # while it loads
    print("interrupted: nothing was begun", file=sys.stderr)
    sys.exit(130)
except ModuleNotFoundError as missing:  # a checkout, and a Python that nobody has prepared for it
    told = ToolchainError(
        f"{missing.name} is not installed for {sys.executable}",
        hint="take .nox/build/bin/python, which `nox -s doctor` makes, "
        "or install ortmill: `pip install .` in its checkout",
    )
    print(f"{told.title}: {told}\nnext: {told.hint}", file=sys.stderr)
    sys.exit(told.exit_code)

sys.exit(main())
