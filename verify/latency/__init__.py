"""How long one query takes, sample by sample."""
