"""The Apple surface: what the sources use of Apple's frameworks, declared by us and checked."""
