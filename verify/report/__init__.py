"""Everything that happens to ``verify.json`` after the run: schema, page, comparison.

``schema``
    The document's models and its generated JSON schema.
``html``
    ``write_report``: one page that stands alone.
``two_runs``
    ``compare``: what differs between two runs, and is a difference in latency real?
``terminal``, ``junit``
    The verdict for people, and for a CI's dashboard.

Nothing is imported here, so that a reader of the schema does not pay for matplotlib.
"""
