"""Whatever a team, its jobs and the world do, in whatever order: nobody is forgotten, and nobody is notified in vain.

Longer, with many more steps: `script/test --long tests/stories/test_random_histories.py`.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.histories.alerts import Alerts
from tests.histories.jobs import Jobs
from tests.histories.people import People
from tests.histories.times import Times


class RandomHistory(Jobs, People, Alerts, Times):
    """Everything that can happen."""


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.timeout(0)
def test_in_any_history_alerts_reach_somebody_and_nobody_is_notified_in_vain():
    long = settings.get_current_profile_name() == "long"
    size = {"max_examples": 100, "stateful_step_count": 60} if long else {"max_examples": 5, "stateful_step_count": 40}
    # To make a failing history shorter takes minutes.
    phases = list(Phase) if long else [Phase.explicit, Phase.reuse, Phase.generate]
    run_state_machine_as_test(
        RandomHistory,
        settings=settings(
            **size,
            phases=phases,
            deadline=None,
            derandomize=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
