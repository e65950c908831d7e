"""Pins: read a new version's from its tree and check whether a recipe's still hold."""
