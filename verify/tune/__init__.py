"""Which settings of the CPU provider's sessions are fastest on this machine."""
