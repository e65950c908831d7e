"""``python -m verify``."""

import sys

from .errors import not_installed

if __name__ == "__main__":
    try:
        from .cli import main
    except KeyboardInterrupt:  # while it loads
        print("interrupted: nothing was begun", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as missing:
        told = not_installed(missing)
        print(f"{told.title}: {told.problem}\nhint: {told.hint}", file=sys.stderr)
        sys.exit(told.exit_code)
    sys.exit(main(sys.argv[1:]))
