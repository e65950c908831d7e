"""``python -m tests.paths``: see :mod:`tests.paths.run`."""

import sys

from tests.paths.run import main

sys.exit(main())
