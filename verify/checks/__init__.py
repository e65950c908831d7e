"""What is checked: the table, and a file for each kind of check."""
