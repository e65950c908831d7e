"""Code that runs in the environment of the wheel under test, and nowhere else."""
