"""Programs in other languages that use the SDK, built and run as their owners would."""
