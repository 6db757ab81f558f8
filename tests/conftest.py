"""Settings of Hypothesis; the tables and helpers that tests share stand in cases.py."""

from hypothesis import HealthCheck, settings

settings.register_profile("fastreg", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastreg")
