"""A Mac of stand-ins on Linux: the native build and the verification, rehearsed."""
