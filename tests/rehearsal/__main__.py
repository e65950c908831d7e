"""``python -m tests.rehearsal``: see :mod:`tests.rehearsal.run`."""

import sys

from tests.rehearsal.run import main

sys.exit(main())
