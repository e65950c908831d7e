"""Mach-O files read from their bytes: facts, signature, exports, and what a wheel may not have."""
