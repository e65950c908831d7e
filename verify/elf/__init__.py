"""A Linux wheel's bytes: what its libraries ask for, and whether its tags say so."""
