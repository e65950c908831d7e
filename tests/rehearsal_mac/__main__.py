"""``python -m tests.rehearsal_mac``: see :mod:`tests.rehearsal_mac.run`."""

import sys

from tests.rehearsal_mac.run import main

sys.exit(main())
