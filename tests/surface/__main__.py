"""``python -m tests.surface``: check the Apple surface."""

from tests.surface.report import main

raise SystemExit(main())
