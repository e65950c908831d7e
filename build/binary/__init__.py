"""Read libraries: ELF, Mach-O, and what is wrong with one."""
