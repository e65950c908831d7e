"""What the CoreML provider takes of a model, and what would help."""
