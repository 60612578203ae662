"""Everything beside the picture: sound, subtitles, chapters, names and attachments of real little files."""
from fractions import Fraction

import av
import numpy as np
from video_files import moving_picture, packets, run, times, write_levels

F = Fraction


def test_sound_subtitles_chapters_and_tags_are_carried_over(tmp_path):
    chapters = [{"id": 1, "start": 0, "end": 120, "time_base": F(1, 1000), "metadata": {"title": "One"}},
                {"id": 2, "start": 120, "end": 200, "time_base": F(1, 1000), "metadata": {"title": "Two"}}]
    source = write_levels(tmp_path / "a.mkv", 5, audio=(0.2, "flac"), subtitles=[(40, 80, "Hello"), (120, 80, "there")],
                          chapters=chapters, metadata={"title": "A film"}, aspect=F(4, 3),
                          tags={"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1})
    run(source, tmp_path / "b.mkv")
    assert packets(tmp_path / "b.mkv", "audio") == packets(source, "audio")
    assert packets(tmp_path / "b.mkv", "subtitle") == packets(source, "subtitle")
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert container.metadata["title"] == "A film"
        assert [(c["metadata"]["title"], c["start"] * c["time_base"]) for c in container.chapters()] == \
            [("One", 0), ("Two", F(12, 100))]
        video, text = container.streams.video[0], container.streams.subtitles[0]
        assert text.language in ("deu", "ger") and video.sample_aspect_ratio == F(4, 3)
        context = video.codec_context
        assert (context.colorspace, context.color_range, context.color_primaries, context.color_trc) == (1, 1, 1, 1)


def test_container_that_holds_neither_sound_nor_subtitles_gets_them_converted(tmp_path):
    source = write_levels(tmp_path / "a.mkv", 10, audio=(0.5, "wavpack"), subtitles=[(40, 80, "Hello")])
    notes = run(source, tmp_path / "b.mp4")
    assert "converted to aac" in notes and "converted to mov_text" in notes
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
        assert heard.size > 3000 and np.abs(heard).max() > 0.1
    with av.open(str(tmp_path / "b.mp4")) as container:
        lines = [(p.pts * p.time_base, bytes(p)[2:]) for p in container.demux(subtitles=0) if p.size > 2]
    assert lines == [(F(4, 100), b"Hello")]


def test_aac_packets_in_mp4_are_the_same_at_the_same_times(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 6, audio=(0.4, "aac"))
    run(source, tmp_path / "b.mp4")
    assert packets(tmp_path / "b.mp4", "audio") == packets(source, "audio") != []
    run(source, tmp_path / "c.mp4", audio=False)
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert not container.streams.audio


def write_many_streams(path):
    """Video from 0.2 seconds on, two audio streams of which the second is the default, a forced subtitle, a font."""
    disposition = av.stream.Disposition
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 48, 32, "yuv420p"
        sounds = [container.add_stream("flac", rate=8000, layout="mono") for _ in range(2)]
        for sound, language, flags in zip(sounds, ("eng", "fra"), (0, disposition.default)):
            sound.metadata.update({"language": language, "title": f"Sound {language}"})
            sound.disposition = flags
        text = container.add_mux_stream("subrip")
        text.time_base, text.disposition, text.metadata["language"] = F(1, 1000), disposition.forced, "deu"
        container.add_attachment("font.ttf", "font/ttf", b"font" * 10)
        for k in range(4):
            frame = av.VideoFrame.from_ndarray(moving_picture(k), "bgr24")
            frame.pts = k + 5
            container.mux(video.encode(frame))
        for sound in sounds:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2000), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 8000, 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        packet = av.Packet(b"Hello")
        packet.pts = packet.dts = 240
        packet.duration, packet.time_base, packet.stream = 100, F(1, 1000), text
        container.mux(packet)
    return path


def described(path):
    """Of each stream beside the picture: type, language, name, and what it is for."""
    default = av.stream.Disposition.default  # MP4 files make the only subtitle the default one
    with av.open(str(path)) as container:
        return [(stream.type, stream.metadata.get("language"),
                 stream.metadata.get("title", stream.metadata.get("name")),
                 stream.disposition & ~default if stream.type == "subtitle" else stream.disposition)
                for stream in container.streams if stream.type != "video"]


def test_names_languages_and_attachments_are_kept(tmp_path):
    source = write_many_streams(tmp_path / "a.mkv")
    run(source, tmp_path / "b.mkv")
    assert described(tmp_path / "b.mkv") == described(source) and len(described(source)) == 4
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert bytes(container.streams.attachments[0].data) == b"font" * 10
    assert times(tmp_path / "b.mkv") == [F(k, 50) for k in range(10, 18)]  # as late as in the source
    notes = run(source, tmp_path / "c.mp4")
    assert "font.ttf" in notes and "attachment" in notes
    run(tmp_path / "c.mp4", tmp_path / "d.mp4")  # once more: nothing is lost or grows with each turn
    for name in ("c.mp4", "d.mp4"):
        assert described(tmp_path / name) == described(source)[:3]
        assert packets(tmp_path / name, "audio") == packets(source, "audio")
        with av.open(str(tmp_path / name)) as container:
            shown = [(p.pts * p.time_base, bytes(p)) for p in container.demux(subtitles=0) if p.size]
        assert shown == [(0, b"\0\0"), (F(24, 100), b"\0\5Hello")]


def test_transport_streams_get_only_what_players_read_there(tmp_path):
    notes = run(write_many_streams(tmp_path / "a.mkv"), tmp_path / "b.ts")
    assert notes.count("converted to aac") == 2 and "left out: subtitle stream 3" in notes
    with av.open(str(tmp_path / "b.ts")) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac", "aac"]
        assert sum(frame.samples for frame in container.decode(audio=0)) >= 2000
