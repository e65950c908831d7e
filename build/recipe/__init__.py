"""What a recipe says: its format, how it is read, its schema."""
