"""What the environment says of the processes that share a job, and what is refused."""
import pytest

from common.errors import UserError
from common.processes import Processes, _environment

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID")


@pytest.fixture
def environment(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


def test_place_of_each_process(environment):
    assert Processes.from_environment() == (0, 1, 0) and Processes.from_environment().first
    environment(WORLD_SIZE=4, RANK=3, LOCAL_RANK=1)
    assert Processes.from_environment() == (3, 4, 1) and not Processes.from_environment().first


@pytest.mark.parametrize(("nodes", "first"), [("gpu07", "gpu07"), ("gpu[03-04,09]", "gpu03"), ("a1,b2", "a1"),
                                              ("rack-2-[7,9]-ib,c3", "rack-2-7-ib")])
def test_tasks_of_slurm_find_each_other(environment, nodes, first):
    environment(SLURM_STEP_NUM_TASKS=8, SLURM_PROCID=5, SLURM_LOCALID=1, SLURM_JOB_ID=4711, SLURM_STEP_NODELIST=nodes)
    assert Processes.from_environment() == (5, 8, 1)
    assert _environment()["MASTER_ADDR"] == first and 1024 < int(_environment()["MASTER_PORT"]) < 65536
    environment(MASTER_ADDR="elsewhere")  # what is set wins
    assert _environment()["MASTER_ADDR"] == "elsewhere"
    environment(WORLD_SIZE=2, RANK=1)  # torchrun inside of a task
    assert Processes.from_environment() == (1, 2, 0)


def test_a_single_task_of_slurm_is_alone(environment):
    environment(SLURM_STEP_NUM_TASKS=1, SLURM_PROCID=0, SLURM_JOB_ID=1, SLURM_NTASKS=8)
    assert Processes.from_environment() == (0, 1, 0)


def test_local_rank_of_the_command_line(environment):
    environment(WORLD_SIZE=2, RANK=1)
    assert Processes.from_environment(local_rank=1).local_rank == 1


@pytest.mark.parametrize(("values", "message"), [
    ({"WORLD_SIZE": 2}, "RANK is not set"), ({"WORLD_SIZE": 2, "RANK": 2}, "RANK=2 is not below WORLD_SIZE=2"),
    ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two"), ({"WORLD_SIZE": 0}, "WORLD_SIZE=0")])
def test_environment_that_cannot_be_is_one_line(environment, values, message):
    environment(**values)
    with pytest.raises(UserError, match=message):
        Processes.from_environment()


def test_nowhere_to_meet(environment):
    with pytest.raises(UserError, match="MASTER_PORT not set"):
        environment(MASTER_ADDR="127.0.0.1")
        Processes(0, 2).join()


@pytest.mark.parametrize(("items", "count"), [(10, 3), (2, 3), (0, 2)])
def test_shares_are_the_whole_once_in_order(items, count):
    shares = [Processes(rank, count).share(list(range(items))) for rank in range(count)]
    assert sum(shares, []) == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
