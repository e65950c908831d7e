"""Parents in Rust and Node that use the bridge hard, and the measurements of docs/bridge.md."""
