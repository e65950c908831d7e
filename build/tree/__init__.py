"""Lay out one source tree: unpack, patch, lock."""
