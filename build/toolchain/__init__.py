"""Find or make what compiles: the machine's compiler, or a cross toolchain."""
