"""What all tests share."""

from hypothesis import HealthCheck, settings

# How long an example takes, or drawing it, says what the machine does beside it, and nothing of
# the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
