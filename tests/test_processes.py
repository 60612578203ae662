"""What the environment says of the processes that share a job, and what is refused."""
import pytest

from common.errors import UserError
from common.processes import Processes

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def environment(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, str(value)) for name, value in values.items()]


def test_place_of_each_process(environment):
    assert Processes.from_environment() == (0, 1, 0) and Processes.from_environment().first
    environment(WORLD_SIZE=4, RANK=3, LOCAL_RANK=1)
    assert Processes.from_environment() == (3, 4, 1) and not Processes.from_environment().first


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
