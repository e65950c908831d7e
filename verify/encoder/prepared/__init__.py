"""The encoder prepared for the CPU: operations fused, weights and activations in eight bits."""
