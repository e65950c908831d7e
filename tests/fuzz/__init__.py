"""Random small graphs through coverage, model and conversion: ``python -m tests.fuzz``."""
