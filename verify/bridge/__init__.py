"""An embedding service for a parent process in any language, over pipes or HTTP."""
