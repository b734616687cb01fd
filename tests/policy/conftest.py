"""How hard Hypothesis looks: the same examples at every run, unless HYPOTHESIS_PROFILE=night asks for new and more ones."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", max_examples=80, stateful_step_count=50, derandomize=True, deadline=None, database=None, print_blob=True
)
settings.register_profile(
    "night",
    max_examples=5_000,
    stateful_step_count=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
