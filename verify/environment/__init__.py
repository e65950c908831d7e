"""The environment that holds the wheel, and the machine under it."""
