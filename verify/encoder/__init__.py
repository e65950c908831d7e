"""The model: its recipe, its graphs, its embeddings."""
