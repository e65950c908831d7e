"""The plan's decision points, answered from what is on disk."""
