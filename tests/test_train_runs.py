"""Runs: begun and gone on with by one command, recorded, from a file of options, averaged, at varied enlargements."""
import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from test_train import ROOT, run, same, scalars

from common.errors import UserError
from media.resize import reduce_bicubic
from model import load_model
from model.registry import create_network
from training.loading import positions
from training.options import DEFAULTS, parse_arguments
from training.schedule import learning_rate, upscale_of_step
from training.state import saved_states
from training.step import downsample_ends


def test_one_command_begins_goes_on_and_refuses_to_go_on_otherwise(monkeypatch, tmp_path, capsys):
    options = ["--max_steps", "3", "--routing", "coarse", "--resume"]
    run(monkeypatch, tmp_path, *options, "--stop_after", "1")
    assert "nothing to resume" in capsys.readouterr().out
    for change, words in ((["--lr", "1"], "--lr 0.0002 -> 1.0"), (["--loss", "charbonnier"], "--loss l1 -> charb"),
                          (["--seed", "7"], "--seed 0 -> 7"), (["--max_steps", "9"], "steps in all 3 -> 9")):
        with pytest.raises(UserError, match=f"{words}.*--allow_changes"):
            run(monkeypatch, tmp_path, *options, *change)
    run(monkeypatch, tmp_path, *options, "--lr", "1e-4", "--allow_changes", "--num_workers", "1", "--save_every", "1")
    assert "going on from step 1, changed: --lr 0.0002 -> 0.0001" in capsys.readouterr().out
    seen = scalars(tmp_path)["train/learning_rate"]
    rates = enumerate((2e-4, 1e-4, 1e-4))
    assert seen == pytest.approx([learning_rate(step, 3, rate * 2 / 24, 2) for step, rate in rates])
    starts = json.loads((tmp_path / "run.json").read_text())
    assert [start["from_step"] for start in starts] == [0, 1]
    assert [start["options"]["lr"] for start in starts] == [2e-4, 1e-4]
    assert starts[0]["versions"]["torch"] == torch.__version__ and starts[0]["samples_a_step"] == 2
    with safe_open(tmp_path / "last.safetensors", "pt") as file:
        made = json.loads(file.metadata()["run"])
    assert made["options"]["lr"] == 1e-4 and made["options"]["channels"] == 8 and "seed" not in made["options"]


def test_average_of_the_weights_is_written_and_the_newest_states_are_kept(monkeypatch, tmp_path):
    options = ["--max_steps", "3", "--ema", "0.75", "--routing", "coarse", "--lr", "0.1"]
    state = run(monkeypatch, tmp_path, *options, "--save_every", "1", "--keep", "3")
    first, second, third = (torch.load(path, weights_only=True)["model"] for path in reversed(saved_states(tmp_path)))
    written = load_model(tmp_path / "last.safetensors").state_dict()
    for name, tensor in written.items():
        expected = 0.75 * (0.75 * first[name] + 0.25 * second[name]) + 0.25 * third[name]
        assert torch.allclose(tensor, expected.to(tensor), atol=1e-6), name
    assert not same(dict(written), state["model"])
    run(monkeypatch, tmp_path / "parts", *options, "--stop_after", "2")
    again = run(monkeypatch, tmp_path / "parts", *options, "--resume")
    assert same(state["average"], again["average"])


def test_options_from_a_file_yield_to_those_beside_it(tmp_path):
    file = tmp_path / "recipe.txt"
    file.write_text("# Two datasets.\n--dataset synthetic folder --data 'my clips'  # mine\n--lr 1e-3\n--max_steps 7")
    args = parse_arguments("", ["--crop", "64", "--config", str(file), "--lr", "5"])
    assert args.dataset == ["synthetic", "folder"] and args.data == [Path("my clips")]
    assert (args.lr, args.max_steps, args.crop) == (5, 7, 64)
    file.write_text("--lr '1")
    with pytest.raises(UserError, match="recipe.txt"):
        parse_arguments("", ["--config", str(file)])
    file.write_text("--config=other.txt --data clips")
    with pytest.raises(UserError, match="recipe.txt names a --config itself"):
        parse_arguments("", [f"--config={file}"])
    with pytest.raises(UserError, match="--conf"):
        parse_arguments("", ["--conf", str(file), "--data", "clips"])


def test_options_that_would_mean_nothing_are_refused(monkeypatch, tmp_path):
    small = ["--dataset", "synthetic", "--network", "safa_small"]
    for words, message in (([*small, "--pretrained_encoder", "yes"], "--pretrained_encoder yes is for --network safa"),
                           ([*small, "--blend_start"], "--blend_start is for --network safa"),
                           (["--data", "clips", "--photos", "photos"], "--photos .*photos and synthetic"),
                           (["--data", "clips", "--val_photos", "kodak_*"], "--val_photos .*photos and synthetic")):
        with pytest.raises(UserError, match=message):
            parse_arguments("", [*words, "--output", str(tmp_path)])
    with pytest.raises(UserError, match="safa_small does not take blocks$"):
        create_network("safa_small", channels=8, blocks=2)
    for words in (["--routing", "coarse"], ["--network", "safa_small", "--routing", "full"]):
        with pytest.raises(UserError, match="--effort_price: .* --routing (coarse|full) has no selector"):
            run(monkeypatch, tmp_path / words[-1], "--max_steps", "1", "--effort_price", "1", *words)


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.txt")), ids=lambda path: path.stem)
def test_recipes_can_be_read(recipe, tmp_path):
    args = parse_arguments("", ["--config", str(recipe), "--data", "anywhere", "--output", str(tmp_path)])
    assert any(value != DEFAULTS[name] for name, value in vars(args).items() if name in DEFAULTS)
    first = recipe.read_text().splitlines()[0]
    assert first.startswith("# "), "what it is"
    assert not set(shlex.split(recipe.read_text(), comments=True)) & {"--data", "--photos", "--output", "--resume"}


@pytest.mark.parametrize("script", ["default_small.sh", "default_full.sh"])
def test_default_weights_are_made_by_one_command(script, tmp_path):
    done = subprocess.run(["sh", ROOT / "recipes" / script, "clips", "photos", str(tmp_path)], text=True,
                          env={**os.environ, "PYTHON": "echo"}, capture_output=True, check=True)
    stages = [line.split()[1:] for line in done.stdout.splitlines()]
    read = [parse_arguments("", words) for words in stages]
    assert len(read) > 1 and all(args.resume for args in read)
    for before, after in zip(read, read[1:]):
        assert after.init == str(before.output / "last.safetensors")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("shell", [shell for shell in ("sh", "bash") if shutil.which(shell)])
def test_stopped_stage_is_not_built_upon(shell, number, tmp_path):
    """Ctrl-C and managers of jobs signal the script too; train.py saves and ends with code 0, as the stub does."""
    stub = tmp_path / "python"
    stub.write_text(f"#!/bin/sh\necho stage\nkill -{int(number)} $PPID\n")
    stub.chmod(0o755)
    for script in ("default_small.sh", "default_full.sh"):
        done = subprocess.run([shell, ROOT / "recipes" / script, "clips", "photos", tmp_path], text=True,
                              env={**os.environ, "PYTHON": str(stub)}, capture_output=True,
                              preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
        assert (done.stdout, done.returncode) == ("stage\n", 128 + number)


def test_warm_up_longer_than_the_training_is_said(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, "--max_steps", "3", "--stop_after", "1", "--warmup", "3", "--routing", "coarse")
    assert "warm-up of 3 steps is longer" in capsys.readouterr().out


def test_profile_is_written(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path, "--max_steps", "4", "--routing", "coarse", "--profile", "1")
    (trace,) = (tmp_path / "logs" / "profile").glob("*.json")
    assert any("conv" in event.get("name", "") for event in json.loads(trace.read_text())["traceEvents"])


def test_varied_enlargements(monkeypatch, tmp_path):
    targets = torch.rand(2, 9, 32, 32)
    inputs = downsample_ends(targets, 4.0)
    for part, frame in ((inputs[:, :3], targets[:, :3]), (inputs[:, 3:], targets[:, 6:])):
        expected = reduce_bicubic(frame.permute(0, 2, 3, 1).numpy(), 4)
        assert (part.permute(0, 2, 3, 1) - torch.from_numpy(expected))[:, 2:-2, 2:-2].abs().max() < 1e-5
    assert downsample_ends(targets, 2.9).shape == (2, 6, 11, 11)
    drawn = [upscale_of_step([2.0, 4.0], 1, step) for step in range(50)]
    assert 2 <= min(drawn) < 2.3 and 3.7 < max(drawn) <= 4
    assert drawn == [upscale_of_step([2.0, 4.0], 1, step) for step in range(50)]
    for network in ("safa", "safa_small"):
        run(monkeypatch, tmp_path / network, "--network", network, "--max_steps", "2", "--upscale_range", "2", "4")


def test_positions_are_shared_out_whatever_the_number_of_processes():
    from common.processes import Processes
    alone = list(positions(Processes(), 6, 2, 4))
    shares = [list(positions(Processes(rank, 3), 2, 2, 4)) for rank in range(3)]
    assert alone == list(range(12, 24)) and sorted(sum(shares, [])) == alone
    assert shares[1] == [14, 15, 20, 21]


def test_parts_that_are_not_to_learn_stay_as_they_are(monkeypatch, tmp_path):
    small = ["--network", "safa_small", "--max_steps", "2", "--lr", "1e-2"]
    run(monkeypatch, tmp_path / "first", *small, "--routing", "full")
    before = load_model(tmp_path / "first").state_dict()
    run(monkeypatch, tmp_path / "then", *small, "--init", str(tmp_path / "first"), "--train_only", "flow.selector",
        "--effort_price", "1")
    after = load_model(tmp_path / "then").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("flow.selector.")}
    with pytest.raises(UserError, match="--train_only flow.selektor.*flow.fuse"):
        run(monkeypatch, tmp_path / "other", *small, "--train_only", "flow.selektor")
    with pytest.raises(UserError, match="--train_only flow.selector .*--routing full"):
        run(monkeypatch, tmp_path / "full", *small, "--train_only", "flow.selector", "--routing", "full")
