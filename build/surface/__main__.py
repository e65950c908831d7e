"""``python -m build.surface``: check the Apple surface."""

from build.surface.report import main

raise SystemExit(main())
