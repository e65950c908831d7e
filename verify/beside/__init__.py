"""ortmill beside others on one graph: times in turns, curves, and the time by operator."""
