"""Stored results side by side: which frames count, what the differences are, how sure they are."""
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark import compare
from benchmark.statistics import bootstrap_interval, paired, permutation_p
from common.errors import UserError


def result(method: str, psnr: dict[str, list[float | None]], **protocol) -> dict:
    """A stored result: video -> PSNR of each of its frames, one clip for each two of them."""
    records = []
    for video, values in psnr.items():
        for start in range(0, len(values), 2):
            records.append({"clip": f"{video}/{start}", "video": video, "frames": [
                {"frame": f"{video}/{start + k}", "position": k, "index": start + k, "psnr": value, "ssim": 0.5}
                for k, value in enumerate(values[start:start + 2])]})
    return {"method": method, "per_clip": records, "hardware": {"gpu": None, "processor": "x", "system": "y"},
            "versions": {}, "protocol": {
                "dataset": "d", "name": "n", "over": "clips", "rounding": "none", "metrics": {"psnr": "how"},
                "figures": {"average": None, "between": [1]}, "expected_clips": None, **protocol}}


def test_only_frames_that_all_results_hold_are_counted():
    first = result("safa", {"a": [30, 31, 32, 33], "b": [20, None]})
    second = result("theirs", {"a": [28, 28, 28, 28], "b": [21, 25]})
    second["per_clip"][1]["frames"].pop(0)  # a/2
    aligned = compare.align([first, second])
    # a/2 is missing in one, b/1 equals the ground truth in the other.
    assert [one["psnr"] for one in aligned] == pytest.approx([(30.5 + 33 + 20) / 3, (28 + 28 + 21) / 3])
    assert aligned[0]["figures"]["between"]["psnr"] == pytest.approx((31 + 33) / 2)
    psnr = next(pair for pair in compare.differences(*aligned) if pair.metric == "psnr")
    assert psnr.mean == pytest.approx((2.5 + 5 - 1) / 3) and (psnr.better, psnr.worse, psnr.clips) == (2, 1, 3)
    with pytest.raises(UserError, match="no frame in common: a/0 in the first and c/0"):
        compare.align([first, result("x", {"c": [1, 2]})])


def test_a_figure_that_no_shared_frame_counts_in_is_empty():
    """Whichever figure it is: what the frames say otherwise is told all the same."""
    for figures in ({"average": None, "between": [1]}, {"between": [1], "average": None}):
        first = result("safa", {"a": [30, 31], "b": [20, 22]}, figures=figures)
        second = result("theirs", {"a": [28, 28], "b": [21, 25]})
        for record in second["per_clip"]:
            record["frames"].pop(1)
        aligned = compare.align([first, second])
        assert all(one["figures"]["between"] == {"psnr": None, "ssim": None, "clips": 0, "frames": 0,
                                                 "infinite_clips": 0, "infinite_frames": 0} for one in aligned)
        assert aligned[0]["figures"]["average"]["psnr"] == pytest.approx(25)
        rows = [line.split()[-5:] for line in compare.text_table(aligned, ["ours", "theirs"]).splitlines()]
        assert rows.count(["between", "-", "-", "0", "0"]) == 2
        assert "<td>-</td><td>-</td>" in compare.render(aligned, ["ours", "theirs"], [])


def test_lower_is_better_where_it_is():
    records = [[{"clip": str(i), "video": "v", "frames": [{"position": 0, "psnr": 1.0, "tof": value + i}]}
                for i in range(4)] for value in (1.0, 1.5)]
    pair = paired(*records, "tof")
    assert (pair.mean, pair.better, pair.worse) == (pytest.approx(-0.5), 4, 0)
    assert paired(*records, "lpips") is None


def test_chance_of_paired_differences():
    """Against all sign patterns of eight differences, counted one by one."""
    values = np.array([1.0, 2, 0.5, 3, -0.25, 1.5, 2.5, 0.75])
    means = [np.mean(values * [1 if pattern >> bit & 1 else -1 for bit in range(8)]) for pattern in range(256)]
    exact = np.mean(np.abs(means) >= values.mean() - 1e-12)
    assert permutation_p(values) == pytest.approx(exact, abs=0.005)
    assert permutation_p(np.array([1.0, -1, 1, -1])) == 1
    assert permutation_p(np.full(40, 0.1)) == pytest.approx(1 / 10001)


def test_bootstrap_interval_is_that_of_a_mean():
    values = np.random.default_rng(1).normal(2, 1, 400)
    low, high = bootstrap_interval(values)
    error = values.std() / 20  # of the mean, by the central limit theorem
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.01)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.01)
    assert bootstrap_interval(values) == (low, high)


def test_command(monkeypatch, tmp_path, capsys):
    ours = result("safa", {f"v{i}": [30 + i, 31 + i] for i in range(10)})
    theirs = result("safa", {f"v{i}": [29 + i, 29.5 + i] for i in range(10)}, lr="read from --lr")
    paths = [tmp_path / "ours.json", tmp_path / "theirs.json"]
    for path, one in zip(paths, (ours, {**theirs, "protocol": {**theirs["protocol"], "rounding": "8 bits"}})):
        path.write_text(json.dumps(one))
    arguments = ["compare", *map(str, paths), "--report", str(tmp_path / "page"), "--csv", str(tmp_path / "f.csv")]
    monkeypatch.setattr(sys, "argv", arguments)
    compare.main()
    printed = capsys.readouterr().out
    assert "SAFA (ours) minus SAFA (theirs)" in printed and "+1.250 [" in printed
    assert "better in 10 of 10 clips, worse in 0, p = 0.00" in printed
    assert "note: rounding differs: SAFA (ours): none; SAFA (theirs): 8 bits" in printed
    page = (tmp_path / "page" / "index.html").read_text()
    assert "SAFA (theirs)" in page and "+1.250" in page and "rounding differs" in page
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 1 + 2 * 20


def test_each_result_has_a_name_of_its_own():
    paths = [Path(name) for name in ("x/r.json", "y/r.json", "y/s.json", "x/flow.json", "z/x/t.json", "z/x/t.json")]
    results = [result(method, {}) for method in ("safa", "safa", "safa", "flow", "theirs", "theirs")]
    assert compare.labels_of(results, paths)[:4] == ["SAFA (x/r)", "SAFA (y/r)", "SAFA (s)", "Bicubic + DIS flow"]
    assert compare.labels_of(results, paths)[4:] == ["theirs", "theirs 2"]
    results[4]["method"] = "SAFA (s)"  # as `benchmark.score --name` allows
    assert len(set(compare.labels_of(results, paths))) == 6


def test_published_figures_of_other_clips_are_marked():
    ours = result("safa", {"a": [30, 31]}, dataset="vid4", name="videoinr", expected_clips=83)
    table = compare.text_table(compare.align([ours, ours]), ["ours", "again"])
    assert "MoTIF" in table and table.count("the published figures are over 83 and do not compare") == 1


def test_what_is_no_result_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "speed.json"
    for text in ("{", "[]", '{"rows": []}'):
        path.write_text(text)
        with pytest.raises(UserError, match="speed.json is not a result"):
            compare.read_result(path)
    with pytest.raises(UserError, match="cannot read .*none.json"):
        compare.read_result(tmp_path / "none.json")
    monkeypatch.setattr(sys, "argv", ["compare", str(path)])
    with pytest.raises(UserError, match="two or more"):
        compare.main()
