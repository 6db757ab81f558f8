"""Settings of Hypothesis and pytest. The other modules of this folder hold the tables and helpers that tests share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in each run: a change must not fail for what was found beside it. To look for others:
# pytest --hypothesis-profile=search
OWN = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fastreg", max_examples=60, derandomize=True, **OWN)
settings.register_profile("search", max_examples=1000, **OWN)
settings.load_profile("fastreg")

# A failing assertion in a helper shows its values, as one in a test does.
pytest.register_assert_rewrite("cases", *(path.stem for path in Path(__file__).parent.glob("*_cases.py")))
