"""Several videos in one call."""
import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from video_files import BlendPredictor, level_picture, levels, near, times, write_levels

import inference_video
from common.errors import UserError
from media.image import write_image
from media.video.batch import choose_outputs, find_videos, make_videos
from media.video.job import VideoJob
from media.video.options import Options
from model import SAFA
from model.checkpoint import save_model


def names(paths):
    return [path.name for path in paths]


def test_videos_of_files_and_folders(tmp_path):
    for name in ("b10.mp4", "b2.MOV", "._b2.mov", ".hidden.mp4", "b2_safa.mov", "notes.txt", "a.mkv", "x/c.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mp4").mkdir()
    found = find_videos([tmp_path / "x" / "c.avi", tmp_path, tmp_path / "a.mkv", tmp_path / "anything"])
    assert names(found) == ["c.avi", "a.mkv", "b2.MOV", "b10.mp4", "anything"]
    with pytest.raises(UserError, match="there are no videos in .*folder.mp4"):
        find_videos([tmp_path / "folder.mp4"])
    write_image(tmp_path / "folder.mp4" / "0.png", level_picture(0))
    with pytest.raises(UserError, match="holds images and no videos: give it as --img"):
        find_videos([tmp_path / "folder.mp4"])


def test_names_of_results():
    sources = [Path("/v/a.mp4"), Path("/v/b.avi"), Path("/v/b.mkv"), Path("/w/c.webm"), Path("/w/d.x.TS")]
    assert list(map(str, choose_outputs(sources, None, False, "h264"))) == [
        "/v/a_safa.mp4", "/v/b.avi_safa.mkv", "/v/b.mkv_safa.mkv", "/w/c_safa.mkv", "/w/d.x_safa.ts"]
    assert names(choose_outputs(sources[3:], Path("/out"), False, None)) == ["c_safa.webm", "d.x_safa.ts"]
    assert list(map(str, choose_outputs(sources[:1], Path("/out"), True, "vp9"))) == ["/out/a_safa"]


@pytest.mark.parametrize("source, codec, suffix", [
    ("a.mp4", "prores", ".mkv"), ("a.mov", "prores", ".mov"), ("a.m4v", "hevc", ".mkv"), ("a.ts", "av1", ".mkv"),
    ("a.ts", "libx265", ".ts"), ("a.webm", "libvpx", ".webm"), ("a.mp4", "ffv1", ".mp4"), ("a.mp4", None, ".mp4")])
def test_a_result_keeps_its_suffix_where_such_files_hold_the_codec(source, codec, suffix):
    assert names(choose_outputs([Path(source)], None, False, codec)) == [f"a_safa{suffix}"]


def test_links_give_results_their_name_and_place(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "0123abcd").touch()
    (tmp_path / "film.mp4").symlink_to("store/0123abcd")
    monkeypatch.chdir(tmp_path / "store")
    assert choose_outputs([Path("../film.mp4")], None, False, None)[0].resolve() == tmp_path.resolve() / "film_safa.mp4"
    assert names(choose_outputs([Path("."), Path("..")], None, False, None)) == [
        "store_safa.mp4", f"{tmp_path.name}_safa.mp4"]  # folders of images


def test_failure_does_not_end_the_rest_and_what_is_finished_is_not_made_again(tmp_path):
    sources = [tmp_path / name for name in ("a.mp4", "broken.mp4", "c.mp4", "d.mp4")]
    for source in sources:
        write_levels(source, 3)
    sources[1].write_text("no video")
    outputs = choose_outputs(sources, tmp_path / "out", False, None)
    said = []

    def make(sources, crf=None, predictor=None):
        predictor = predictor or BlendPredictor()
        said.clear()
        make_videos(sources, outputs, lambda *paths: VideoJob(*paths, Options(upscale=1, crf=crf)), predictor,
                    {"weights": 1}, say=said.append)
        return len(predictor.made)

    with pytest.raises(UserError, match="1 of 4 videos failed: .*broken.mp4"):
        make(sources)
    assert [line for line in said if "broken.mp4 failed" in line and "not a video" in line]
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mp4")}
    assert sorted(made) == ["a_safa.mp4", "c_safa.mp4", "d_safa.mp4"]

    write_levels(sources[1], 4)  # mended
    write_levels(sources[2], 5)  # changed
    (tmp_path / "out" / "d_safa.mp4").write_text("touched")
    assert make(sources) == 7 + 9 + 5
    assert sum("finished already" in line for line in said) == 1
    assert (tmp_path / "out" / "a_safa.mp4").stat().st_mtime_ns == made["a_safa.mp4"]
    near(levels(outputs[2]), [40, 50, 60, 70, 80, 90, 100, 110, 120, 120])
    assert make(sources) == 0
    assert make(sources, crf=20) > 20 and sum("exists, and is replaced" in line for line in said) == 4


def test_an_existing_result_is_replaced_aloud_or_not_at_all(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 3)
    (tmp_path / "b.mp4").write_text("earlier")
    with pytest.raises(UserError, match="b.mp4 exists already"):
        VideoJob(source, tmp_path / "b.mp4", Options(upscale=1)).run(BlendPredictor(), overwrite=False)
    assert sorted(names(tmp_path.iterdir())) == ["a.mp4", "b.mp4"] and (tmp_path / "b.mp4").read_text() == "earlier"
    said = []
    VideoJob(source, tmp_path / "b.mp4", Options(upscale=1)).run(BlendPredictor(), say=said.append)
    assert "b.mp4 exists, and is replaced" in said[0]


def test_finished_folders_of_images_are_not_made_again(tmp_path):
    sources = [write_levels(tmp_path / name, 2) for name in ("a.mp4", "b.mp4")]
    outputs = choose_outputs(sources, tmp_path / "out", True, None)
    predictor = BlendPredictor()
    for _ in range(2):
        make_videos(sources, outputs, lambda *paths: VideoJob(*paths, Options(upscale=1, png=True)), predictor)
    assert [len(list(output.iterdir())) for output in outputs] == [4, 4] and len(predictor.made) == 6
    (outputs[0] / "00000001.png").unlink()
    with pytest.raises(UserError, match="1 of 2 videos failed: .*a.mp4"):  # has been changed
        make_videos(sources, outputs, lambda *paths: VideoJob(*paths, Options(upscale=1, png=True)), predictor)


def test_interruption_ends_all(tmp_path):
    sources = [write_levels(tmp_path / name, 3) for name in ("a.mp4", "b.mp4")]
    outputs = choose_outputs(sources, tmp_path, False, "h264")
    with pytest.raises(KeyboardInterrupt):
        make_videos(sources, outputs, lambda *paths: VideoJob(*paths, Options(upscale=1)), BlendPredictor(2))
    assert not any(output.exists() for output in outputs)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Run the script in a folder that holds a small network."""
    torch.manual_seed(0)
    save_model(SAFA(channels=8, blocks=2), tmp_path / "small.safetensors")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["inference_video.py", *arguments, "--model", "small.safetensors", "--device",
                                          "cpu", "--upscale", "1"])
        inference_video.main()

    return run


def test_script_takes_files_and_folders(tmp_path, script, capsys):
    for name in ("in/a.mp4", "in/b.mp4", "c.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_levels(tmp_path / name, 2)
    (tmp_path / "in" / "b.mp4").write_text("no video")
    with pytest.raises(UserError, match="1 of 3 videos failed: .*b.mp4"):
        script("--video", "in", "c.mkv", "--output", "out")
    with pytest.raises(UserError, match="has to be a folder"):
        script("--video", "in", "--output", "out.mp4")
    assert names(sorted((tmp_path / "out").glob("*.m*"))) == ["a_safa.mp4", "c_safa.mkv"]
    assert "b.mp4 failed: cannot read" in capsys.readouterr().err
    script("--video", "c.mkv", "--output", "out/", "--multi", "3")  # a folder for one video, too
    assert len(times(tmp_path / "out" / "c_safa.mkv")) == 6
    (tmp_path / "in" / "b.mp4").unlink()
    with pytest.raises(UserError, match="--fps_in"):
        script("--video", "c.mkv", "--fps_in", "10")
    with pytest.raises(UserError, match="too long"):
        script("--video", "c.mkv", "--output", "x" * 300 + ".mp4")
    script("--video", "in", "--start", "0.04")
    assert len(times(tmp_path / "in" / "a_safa.mp4")) == 2


def test_rates_and_times_as_users_write_them():
    for text, whole in (("23.976", 24), ("23.98", 24), ("29.97", 30), ("59.94", 60), ("119.88", 120)):
        assert inference_video.frame_rate(text) == Fraction(1000 * whole, 1001)
    for text in ("2.0", "5.0", "6.00", "25.0", "12.5", "99.95"):
        assert inference_video.frame_rate(text) == Fraction(text)
    assert inference_video.frame_rate("0.0004") == Fraction(1, 2500) and inference_video.frame_rate("25/2") == 12.5
    assert inference_video.timestamp("1:02:03.5") == 3723.5 and inference_video.timestamp("90") == 90
    for text in ("0", "nan", "-1", "1e5", "1/0", "10001", "0.00001", "", "1/2/3"):
        with pytest.raises(inference_video.argparse.ArgumentTypeError):
            inference_video.frame_rate(text)
    for text in ("-1", "1:2:3:4", "x", "1h"):
        with pytest.raises(inference_video.argparse.ArgumentTypeError):
            inference_video.timestamp(text)


def test_every_option_has_a_help_text():
    parser = inference_video.new_parser()
    assert [action.option_strings for action in parser._actions if not action.help] == []
