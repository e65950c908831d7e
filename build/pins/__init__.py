"""Pins: read those of a new version from its tree; say which pins of a recipe no longer hold."""
