"""Whatever a team, its jobs and the world do, in whatever order: nobody is forgotten, and nobody is told in vain.

By hand, much longer: `script/test tests/stories/test_random_histories.py --hypothesis-profile=long`.
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


@pytest.mark.django_db
@pytest.mark.timeout(0)
def test_in_any_history_alerts_reach_somebody_and_nobody_is_told_in_vain():
    # To make a failing history shorter takes minutes: that is done by hand, too.
    usual = {"max_examples": 15, "stateful_step_count": 40, "phases": [Phase.explicit, Phase.reuse, Phase.generate]}
    chosen = {} if settings.get_current_profile_name() == "long" else usual
    run_state_machine_as_test(
        RandomHistory,
        settings=settings(
            **chosen,
            deadline=None,
            derandomize=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
