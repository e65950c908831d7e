"""Everything that happens to ``verify.json`` after the run: schema, page, comparison.

``schema``
    The document's models and its generated JSON schema.
``html``
    ``write_report``: one page that stands alone.
``compare``
    ``compare``: is a difference between two runs real?

Nothing is imported here, so that a reader of the schema does not pay for matplotlib.
"""
