"""``python -m verify coverage``: what the CoreML provider takes of a model, and what would help."""
