"""Run the build's command line."""

import sys

from build.cli import main

sys.exit(main())
