"""Bring the inputs: verified bytes, from the first origin that has them."""
