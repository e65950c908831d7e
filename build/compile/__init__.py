"""The exact commands of a build, worked out before anything runs."""
