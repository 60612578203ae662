"""Whether a change made anything slower: `benchmark.speed` of two checkouts by turns, in one run.

    git worktree add ../before HEAD~1
    python3 -m benchmark.before_after ../before --model full --size 320x180 --timesteps 2 --precision bf16

Options other than --rounds and --cpu_time are those of benchmark.speed, as both checkouts know them; paths among them
are absolute. Each checkout is run once a round in a process of its own, and who is first changes from round to round,
so that a machine that becomes slower or busier meanwhile does so for both. Printed for each row of benchmark.speed: the
medians over the rounds, how far apart the rounds were, and how many times as fast this checkout is as the other.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import cli
from common.cli import positive_int
from common.errors import UserError

HERE = Path(__file__).resolve().parents[1]
LOWER_IS_FASTER = {"ms_per_frame": True, "seconds": True, "frames_per_s": False, "samples_per_s": False,
                   "vectorised_samples_per_s": False}  # a row has one of these
NAMES = ("network", "train_step", "loader", "reduction", "size", "timesteps", "precision", "device", "scales",
         "finest_scale", "compiled")  # what tells rows apart
ON_CPU_TIME = """import runpy, time
time.perf_counter = time.process_time
runpy.run_module("benchmark.speed", run_name="__main__", alter_sys=True)"""


def main() -> None:
    parser = cli.Parser(description=__doc__)
    parser.add_argument("before", type=Path, metavar="PATH", help="the other checkout")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="runs of each (default 3)")
    parser.add_argument("--cpu_time", action="store_true", help="one thread, and the time it has the CPU, in place of "
                        "what passes: for a machine that others use as well")
    args, options = parser.parse_known_args()
    for row in compare(args.before, options, args.rounds, args.cpu_time):
        print(json.dumps(row))


def compare(before: Path, options: list[str], rounds: int, cpu_time: bool = False) -> list[dict[str, Any]]:
    """The rows, each with the figure of the other checkout, of this one, and `times_as_fast`."""
    runs: dict[Path, list[list[dict]]] = {before: [], HERE: []}
    for number in range(rounds):
        for folder in (before, HERE) if number % 2 == 0 else (HERE, before):
            rows = rows_of(folder, options, cpu_time)
            found = [row[name] for row in rows for name in LOWER_IS_FASTER if name in row]
            print(f"round {number + 1} of {rounds}, {'before' if folder is before else 'after'}: {found}",
                  file=sys.stderr, flush=True)
            runs[folder].append(rows)
    return [row_of(list(old), list(new)) for old, new in zip(zip(*runs[before]), zip(*runs[HERE]))]


def rows_of(folder: Path, options: list[str], cpu_time: bool = False) -> list[dict]:
    """What `benchmark.speed` of a checkout measures. Raises UserError if it cannot."""
    if not (folder / "benchmark" / "speed.py").is_file():
        raise UserError(f"{folder} is no checkout of this project: no benchmark/speed.py there")
    with tempfile.TemporaryDirectory() as temporary:
        results = Path(temporary) / "speed.json"
        script = ["-c", ON_CPU_TIME] if cpu_time else ["-m", "benchmark.speed"]
        done = subprocess.run([sys.executable, *script, *options, "--json", str(results)], cwd=folder, text=True,
                              env=os.environ | ({"OMP_NUM_THREADS": "1"} if cpu_time else {}),
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode:
            raise UserError(f"benchmark.speed fails in {folder}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return json.loads(results.read_text())["rows"]


def row_of(before: list[dict], after: list[dict]) -> dict[str, Any]:
    """One row from the same row of all rounds. Raises UserError if the checkouts did not measure the same."""
    old, new = before[0], after[0]
    different = [name for name in NAMES if name in old and name in new and old[name] != new[name]]
    figure = next((name for name in LOWER_IS_FASTER if name in old and name in new), None)
    if different or figure is None:
        raise UserError(f"the checkouts do not measure the same: {old} and {new}")
    values = [[row[figure] for row in rows] for rows in (before, after)]
    medians = [round(statistics.median(of_one), 3) for of_one in values]
    ratio = medians[0] / medians[1] if LOWER_IS_FASTER[figure] else medians[1] / medians[0]
    spreads = [round(100 * (max(of_one) - min(of_one)) / median, 1) for of_one, median in zip(values, medians)]
    return {**{name: new[name] for name in NAMES if name in new}, "figure": figure, "before": medians[0],
            "after": medians[1], "spread_percent": spreads, "times_as_fast": round(ratio, 3)}


if __name__ == "__main__":
    cli.run(main)
