"""Where bytes come from: git, archives, Debian's pool, the Python index."""
