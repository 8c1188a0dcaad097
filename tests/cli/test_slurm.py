"""Jobs of a sweep on Slurm: shared phases first, what needs them after. No Slurm is needed here."""

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir

from singtech.cli.slurm import first_phase_key, submit
from singtech.config_paths import CONF


class Cluster:
    """Takes what submitit's executor is told, and numbers arrays from 100."""

    def __init__(self):
        self.arrays = []

    def update_parameters(self, **parameters):
        self.parameters = parameters

    def map_array(self, function, *columns):
        calls = list(zip(*columns, strict=True))
        array = 100 + len(self.arrays)
        self.arrays.append((calls, self.parameters))
        return [SimpleNamespace(job_id=f"{array}_{n}", call=call) for n, call in enumerate(calls)]


@pytest.mark.parametrize(
    ("keys", "arrays"),
    [
        ("aaaa", [[0], [1, 2, 3]]),  # four alphas of one feature phase hold one GPU, not four
        ("abab", [[0, 1], [2, 3]]),
        ("abc", [[0, 1, 2]]),  # nothing is shared: nothing waits
        ([None, None], [[0, 1]]),  # runs whose settings do not fit fail each in its own job
    ],
)
def test_the_first_run_of_each_phase_is_submitted_and_the_others_depend_on_it(keys, arrays):
    cluster = Cluster()
    parameters = {"timeout_min": 5, "slurm_additional_parameters": {"requeue": True}}
    jobs = submit(cluster, None, [(n,) for n in range(len(keys))], list(keys), parameters)
    assert [job.call for job in jobs] == [(n,) for n in range(len(keys))]
    assert [[n for (n,) in calls] for calls, _ in cluster.arrays] == arrays
    depends = [{"requeue": True}, {"requeue": True, "dependency": "afterany:100"}]
    assert [each["slurm_additional_parameters"] for _, each in cluster.arrays] == depends[: len(arrays)]
    assert [each["timeout_min"] for _, each in cluster.arrays] == [5] * len(arrays)


def test_a_dependency_of_the_users_own_stays():
    cluster = Cluster()
    submit(cluster, None, [(0,), (1,)], "aa", {"slurm_additional_parameters": {"dependency": "afterok:7"}})
    said = [each["slurm_additional_parameters"]["dependency"] for _, each in cluster.arrays]
    assert said == ["afterok:7", "afterok:7,afterany:100"]


def test_figure_3_has_four_first_phases_for_its_twelve_runs_without_a_prepared_corpus():
    keys = []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for strategy in ("joint", "crt_wfc", "crt_wc"):
            for alpha in (0.0, 0.2, 0.5, 1.0):
                overrides = [f"strategy={strategy}", f"alpha={alpha}", "dc=late"]
                keys.append(first_phase_key(compose("config", overrides, return_hydra_config=True)))
        other = first_phase_key(compose("config", ["seed=1"], return_hydra_config=True))
        wrong = first_phase_key(compose("config", ["alpha=-1"], return_hydra_config=True))
    assert keys[:4] == keys[4:8]  # joint training goes on from the features of cRT-WFC
    assert set(keys[8:]) == {keys[4]}  # those of cRT-WC are learned without weights, alpha 0
    assert len(set(keys)) == 4
    assert other not in keys
    assert wrong is None
