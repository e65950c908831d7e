"""Carry the checks out and draw the verdict."""
