"""What becomes of a run: its document, the page and the terminal that show it, the comparison.

``document``
    The one model of ``verify.json``; how it is read and written.
``html``
    ``write_report``: one page, complete in itself.
``two_runs``
    ``compare``: what differs between two runs, and is a difference in latency real?
``terminal``, ``junit``
    The verdict for people, and for a CI's dashboard.

Nothing is imported here, so that a reader of the document does not pay for matplotlib.
"""
