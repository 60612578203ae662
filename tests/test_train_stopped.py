"""What a training leaves behind when it is killed, stopped or diverges, or when the disk is full."""
import contextlib
import io
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from test_train import BLOCKS, ROOT, SMALL, run, same

import training.step
from common.errors import UserError
from model import SAFA, load_model
from model.checkpoint import save_model
from training.monitor import Monitor
from training.sanity import MOST_IN_A_ROW
from training.state import open_output, read_state, restore, save_state, saved_states
from training.stopping import StopRequest

SAVED_TWICE = """
import os, sys, torch
from pathlib import Path
from model import SAFA
from test_train_stopped import state_of
from training.state import save_state

torch.manual_seed(0)
model = SAFA(channels=8, blocks=2)
output = Path(sys.argv[1])
save_state(output, state_of(model, 1), model, {}, 2)
for parameter in model.parameters():
    torch.nn.init.zeros_(parameter)
replace = os.replace

def stuck(source, target):
    if str(target).endswith(sys.argv[2]):
        print("written, not renamed", flush=True)
        sys.stdin.read()
    replace(source, target)

os.replace = stuck
save_state(output, state_of(model, 2), model, {}, 2)
"""
FIRST, SECOND = "state-0000001.pt", "state-0000002.pt"


def new_training(seed=1):
    torch.manual_seed(seed)
    model = SAFA(channels=8, blocks=2)
    return model, torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", enabled=False)


def state_of(model, step):
    """A state of a training with this model."""
    return {"model": model.state_dict(), "optimizer": torch.optim.AdamW(model.parameters()).state_dict(), "scaler": {},
            "progress": {"step": step}, "network": model.name, "settings": model.settings,
            "random": torch.get_rng_state()}


def save(output, step, seed=1, keep=2):
    model, *_ = new_training(seed)
    save_state(output, state_of(model, step), model, {}, keep)


def load(output, model, *others):
    return restore(read_state(output), model, *others)


@pytest.mark.parametrize("file", ["last.safetensors", SECOND])
def test_killed_while_saving(tmp_path, file):
    process = subprocess.Popen([sys.executable, "-c", SAVED_TWICE, str(tmp_path), file], cwd=ROOT, text=True,
                               env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == "written, not renamed\n"
    process.kill()
    process.communicate()
    expected, *_ = new_training(seed=0)
    model, *others = new_training()
    assert load(tmp_path, model, *others) == {"step": 1}
    assert same(dict(model.state_dict()), dict(expected.state_dict()))
    weights = dict(load_model(tmp_path).state_dict())
    if file == "last.safetensors":
        assert same(weights, dict(expected.state_dict()))
    assert len(list(tmp_path.iterdir())) == 3
    open_output(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.safetensors", FIRST]


def test_state_that_cannot_be_gone_on_from_is_named(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / FIRST
    whole = path.read_bytes()
    with pytest.raises(UserError, match="--channels 8 --blocks 2, not --network safa --channels 16 --blocks 2"):
        load(tmp_path, SAFA(channels=16, blocks=2), None, None)
    for size in (0, 100, len(whole) // 10, len(whole) - 1):  # torch has another error for each
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=f"{FIRST}: it is damaged.*--init"):
            load(tmp_path, *new_training())
    state = torch.load(io.BytesIO(whole), weights_only=True)
    for changed in ({"model": {}}, {"optimizer": {}}, {"random": None}, {"settings": 8}):
        torch.save(state | changed, path)
        with pytest.raises(UserError, match="not of this version"):
            load(tmp_path, *new_training())


@pytest.mark.parametrize("fused", [False, True])
def test_state_of_another_device_leaves_the_optimiser_as_this_one_wants_it(tmp_path, fused):
    """A GPU's is fused and a CPU's is not; a gradient scaler takes a fused one for that however it goes on."""
    model, *_ = new_training()
    other = torch.optim.AdamW(model.parameters(), fused=not fused)
    save_state(tmp_path, state_of(model, 1) | {"optimizer": other.state_dict()}, model, {}, 1)
    optimizer, scaler = torch.optim.AdamW(model.parameters(), fused=fused), torch.amp.GradScaler("cpu")
    load(tmp_path, model, optimizer, scaler)
    assert [group["fused"] for group in optimizer.param_groups] == [fused]
    before = model.decoder.to_picture.bias.clone()
    scaler.scale(sum(parameter.sum() for parameter in model.parameters())).backward()
    scaler.step(optimizer)
    assert not torch.equal(model.decoder.to_picture.bias, before)


def test_the_last_states_are_kept_and_a_diverged_one_is_refused(tmp_path):
    for step in (1, 20, 300):
        save(tmp_path, step, seed=step)
    assert [path.name for path in saved_states(tmp_path)] == ["state-0000300.pt", "state-0000020.pt"]
    model, *_ = new_training()
    before = (tmp_path / "last.safetensors").read_bytes()
    model.decoder.to_picture.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="no longer finite.*decoder.to_picture.weight"):
        save_state(tmp_path, state_of(model, 400), model, {}, 2)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    torch.save(state_of(model, 400), tmp_path / "state-0000400.pt")  # as versions without that check did
    with pytest.raises(UserError, match="not finite.*diverged; delete it, and --resume goes on from state-0000300.pt"):
        read_state(tmp_path)
    (tmp_path / "state-0000400.pt").unlink()
    assert read_state(tmp_path)["progress"] == {"step": 300}
    save_model(model, tmp_path / "broken.safetensors")
    with pytest.raises(UserError, match="broken.safetensors holds weights that are not finite.*to_picture"):
        load_model(tmp_path / "broken.safetensors")
    (tmp_path / "old").mkdir()
    torch.save(state_of(new_training()[0], 7), tmp_path / "old" / "state.pt")  # what earlier versions called it
    assert read_state(tmp_path / "old")["progress"] == {"step": 7}


PROCESS = """
import atexit
import torch
import torch.distributed
from common import cli
from common.errors import UserError
from training.distributed import average, join_processes, total

def main():
    atexit.register(lambda: print(f"still connected: {torch.distributed.is_initialized()}"))
    processes, device = join_processes("cpu")
    assert total([1.0], device) == [2.0]
    if not processes.first:
        raise UserError("this frame cannot be read")
    model = torch.nn.Linear(1, 1)
    model(torch.ones(1)).backward()
    average(model, torch.zeros(1))

cli.run(main)
"""


def test_processes_whose_fellow_ends_say_so_in_one_line(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    running = [subprocess.Popen([sys.executable, "-c", PROCESS], cwd=ROOT, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **place, "RANK": rank, "OMP_NUM_THREADS": "1"}) for rank in "01"]
    wrote, said = zip(*(process.communicate(timeout=300) for process in running))
    assert [process.returncode for process in running] == [2, 2], said
    # Threads of a connection that outlive the interpreter abort the process: rarely, on a busy machine.
    assert wrote == ("still connected: False\n",) * 2
    assert "Traceback" not in said[0] and "error: stopped, because another process" in said[0].splitlines()[-1]
    assert said[1].splitlines()[-1].endswith("this frame cannot be read")


@contextlib.contextmanager
def room_for(size):
    """Files cannot grow beyond `size` bytes: the system's error for that stands in for the one of a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk_keeps_the_previous_state(tmp_path, capfd):
    save(tmp_path, 1, seed=0)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for room in (10_000, len(before["last.safetensors"]) + 10_000):
        with room_for(room), pytest.raises(UserError, match="cannot write .*(last.safet|state-).*File too large"):
            save(tmp_path, 2)
        assert (tmp_path / FIRST).read_bytes() == before[FIRST]
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(before)
    with room_for(0), pytest.raises(UserError, match="cannot write to .*logs: File too large"):
        Monitor(tmp_path, True, 0, 1)
    with pytest.raises(UserError, match="File too large"), Monitor(tmp_path, True, 0, 1) as monitor, room_for(200):
        for step in range(100):
            monitor.scalars(step, "train", loss=1.0)
            time.sleep(0.01)  # TensorBoard writes in a thread
    assert "Traceback" not in capfd.readouterr().err


def test_place_that_cannot_be_written_to_shows_before_the_first_step(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to .*file/below"):
        run(monkeypatch, tmp_path / "file" / "below", "--max_steps", "1")


def test_stopped_by_a_signal_to_all_its_processes_and_resumed_is_exact(monkeypatch, tmp_path):
    """SIGTERM to the process group, as cluster managers send it: the loader's worker gets it too, and twice."""
    options = [*BLOCKS, "--max_steps", "40", "--save_every", "1000", "--routing", "coarse"]
    command = [sys.executable, "train.py", *SMALL, "--num_workers", "1", *options, "--output", str(tmp_path / "parts")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    seen = ""
    while not re.search(r"\b[1-9]\d*/40 ", seen) and (piece := process.stderr.read(1)):
        seen += piece
    os.killpg(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGTERM)
    said, complaints = process.communicate(timeout=300)
    assert process.returncode == 0 and "Traceback" not in complaints, complaints
    done = read_state(tmp_path / "parts")["progress"]["step"]
    assert 0 < done < 40 and f"{done} of 40 steps done" in said
    parts = run(monkeypatch, tmp_path / "parts", *options, "--resume")
    assert same(run(monkeypatch, tmp_path / "whole", *options), parts)


def test_error_in_a_worker_is_one_line_and_ends_all_processes(tmp_path):
    """Python ends leftover workers by SIGTERM and waits for them: those that ignored it would wait for ever."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(12):
        (frames / f"{number}.ppm").write_bytes(b"P6 40 32 255\n" + bytes([20 * number]) * (40 * 32 * 3))
    (frames / "5.ppm").write_bytes(b"no picture")
    options = [*SMALL[2:], *BLOCKS, "--num_workers", "1", "--max_steps", "500", "--routing", "coarse"]
    command = [sys.executable, "train.py", "--dataset", "folder", "--data", frames, "--gap", "2", *options]
    done = subprocess.run([*command, "--output", tmp_path / "out"], cwd=ROOT, capture_output=True, text=True,
                          timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"train.py: error: cannot read {frames / '5.ppm'}: not an image")
    assert "Traceback" not in done.stderr


def spoil(monkeypatch, steps):
    """Make the loss of these steps (counted from 0) infinite or not a number."""
    calls, honest = [], training.step.three_frame_loss

    def loss(*arguments):
        calls.append(None)
        factor = {0: float("inf"), 1: float("nan")}[len(calls) % 2] if len(calls) - 1 in steps else 1.0
        return honest(*arguments) * factor

    monkeypatch.setattr(training.step, "three_frame_loss", loss)


def test_steps_that_are_not_finite_are_skipped_and_counted(monkeypatch, tmp_path):
    spoil(monkeypatch, {0, 2, 3})
    state = run(monkeypatch, tmp_path, "--max_steps", "5")
    assert state["progress"]["step"] == 5 and state["progress"]["skipped_steps"] == 3
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert {int(entry["step"]) for entry in state["optimizer"]["state"].values()} == {2}


def test_ten_such_steps_in_a_row_end_the_training_with_the_last_state_kept(monkeypatch, tmp_path):
    spoil(monkeypatch, set(range(1, 100)))
    with pytest.raises(UserError, match="10 steps in a row"):
        run(monkeypatch, tmp_path, "--max_steps", "50", "--save_every", "4")
    model, *others = new_training()
    assert load(tmp_path, model, *others)["step"] == 8
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert load_model(tmp_path).blocks == 2


def test_second_interrupt_ends_at_once(monkeypatch):
    kept = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        stop = StopRequest()
        assert not stop
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # the same one, sent on by a launcher
        assert stop
        monkeypatch.setattr(StopRequest, "PATIENCE", -1.0)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for name, handler in kept.items():
            signal.signal(name, handler)


def test_rate_that_sends_flows_out_of_all_numbers_ends_the_training_in_one_line(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=f"{MOST_IN_A_ROW} steps in a row.*--lr"):
        run(monkeypatch, tmp_path, "--network", "safa_small", "--max_steps", "20", "--lr", "1e25", "--routing", "full")
