"""The commands: arguments and run of each."""
