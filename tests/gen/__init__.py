"""Every file that is generated from the code, and the command that writes or compares them."""
