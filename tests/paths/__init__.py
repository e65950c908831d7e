"""The four ways from a service to its vectors, measured side by side on this host."""
