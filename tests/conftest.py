"""Settings of Hypothesis and pytest. The other modules of this folder hold the tables and helpers that tests share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fastreg", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastreg")

# A failing assertion in a helper shows its values, as one in a test does.
pytest.register_assert_rewrite("cases", *(path.stem for path in Path(__file__).parent.glob("*_cases.py")))
