"""The statistics of the latency gate: distribution-free, and honest about dependence.

:func:`.gate.judge_p95` is the gate itself; :func:`.ratio.ratio_interval` compares two interleaved
series. The other modules hold the parts that these two are made of.
"""
