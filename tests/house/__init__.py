"""The shape of the packages `build` and `verify`, read from their source and tested."""
