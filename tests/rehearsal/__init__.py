"""The way through upstream, walked on this machine: a GitHub and a model hub of our own.

``nox -s rehearse`` runs the real commands in a namespace that has no network but loopback, with
the real addresses of the recipe. What stands behind them is filled from what the registries carry.
"""
