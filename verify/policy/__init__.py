"""The limits, and how a result is judged by them."""
