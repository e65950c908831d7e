"""Make the wheel, the SDK and the manifest of them."""
