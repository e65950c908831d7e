"""Read arm64 code: which selectors a call site sends."""
