"""Everything beside the picture: sound, subtitles, chapters, names and attachments of real little files."""
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from video_files import moving_picture, packets, run, times, write_levels

from common.errors import UserError

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
        for sound, language, flags in zip(sounds, ("eng", "fra"), (0, disposition.default.value)):
            sound.metadata.update({"language": language, "title": f"Sound {language}"})
            sound.disposition = flags
        text = container.add_mux_stream("subrip")
        text.time_base, text.disposition, text.metadata["language"] = F(1, 1000), disposition.forced.value, "deu"
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
    default = av.stream.Disposition.default.value  # MP4 files make the only subtitle the default one
    with av.open(str(path)) as container:
        return [(stream.type, stream.metadata.get("language"),
                 stream.metadata.get("title", stream.metadata.get("name")),
                 stream.disposition.value & ~default if stream.type == "subtitle" else stream.disposition.value)
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


def write_beep(path, codec, rate=44100, layout="stereo", video="mpeg4", at=0.3, length=0.6, bit_rate=None):
    """A video with a sound that is silent up to a tone that starts `at` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(video, rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout=layout)
        if bit_rate:
            sound.bit_rate = bit_rate
        for k in range(round(length * 25)):
            frame = av.VideoFrame.from_ndarray(moving_picture(k), "bgr24")
            frame.pts, frame.time_base = k, F(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        wave = (12000 * np.sin(np.arange(round(length * rate)) * 2 * np.pi * 1000 / rate)).astype(np.int16)
        wave[:round(at * rate)] = 0
        for start in range(0, len(wave), rate // 50):
            samples = np.repeat(wave[start:start + rate // 50], av.AudioLayout(layout).nb_channels)[None]
            frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, F(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def beep_of(path):
    """(codec, rate, channels, when the tone starts, counted from the first video frame) of the first audio stream."""
    start = times(path)[0]
    with av.open(str(path)) as container:
        context = container.streams.audio[0].codec_context
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float) / (1 if frame.format.name.startswith("fl") else 32768)
            samples = 256 * samples - 1 if frame.format.name == "u8" else samples
            samples = samples.reshape(-1, context.layout.nb_channels).T if frame.format.is_packed else samples
            loud = np.nonzero(np.abs(samples[0]) > 0.1)[0]
            if loud.size:
                when = frame.pts * frame.time_base + F(int(loud[0]), frame.sample_rate) - start
                return context.codec.canonical_name, context.sample_rate, context.layout.nb_channels, float(when)
    return None


@pytest.mark.parametrize("source, sound, output, options, expected", [
    ("a.avi", {"codec": "adpcm_ms"}, "b.mkv", {}, ("aac", 44100, 2)),  # sound without a named layout
    ("a.avi", {"codec": "pcm_u8", "rate": 22050, "layout": "mono"}, "b.mp4", {}, ("aac", 22050, 1)),
    ("a.mkv", {"codec": "flac"}, "b.mov", {"codec": "prores"}, ("pcm_s16le", 44100, 2)),
    ("a.mkv", {"codec": "libopus", "rate": 48000}, "b.mov", {"codec": "prores"}, ("aac", 48000, 2)),
    ("a.mkv", {"codec": "flac", "layout": "5.1", "rate": 96000}, "b.ts", {}, ("aac", 96000, 6)),
    ("a.mkv", {"codec": "ac3", "layout": "5.1", "rate": 48000}, "b.mkv", {"audio_codec": "opus"}, ("opus", 48000, 6)),
    ("a.mkv", {"codec": "flac", "layout": "5.1"}, "b.mp4", {"audio_codec": "mp3"}, ("mp3", 44100, 2)),
    ("a.mkv", {"codec": "aac"}, "b.mkv", {"audio_codec": "aac"}, ("aac", 44100, 2)),
])
def test_sound_is_converted_where_it_does_not_fit_and_stays_in_time(tmp_path, source, sound, output, options, expected):
    run(write_beep(tmp_path / source, **sound), tmp_path / output, multi=1, **options)
    *found, when = beep_of(tmp_path / output)
    assert tuple(found) == expected and abs(when - 0.3) < 0.004  # AC-3 and its kind start a tone softly
    if options.get("audio_codec") == "aac":
        assert packets(tmp_path / output, "audio") == packets(tmp_path / source, "audio")


def with_gap(source, target):
    """The same packets, those of sound 0.2 seconds later from 0.1 seconds on."""
    with av.open(str(source)) as container, av.open(str(target), "w") as copy:
        streams = [copy.add_stream_from_template(stream, opaque=True) for stream in container.streams]
        for packet in container.demux():
            if packet.size:
                if packet.stream.type == "audio" and packet.pts * packet.time_base >= F(1, 10):
                    packet.pts = packet.dts = packet.pts + round(F(1, 5) / packet.time_base)
                packet.stream = streams[packet.stream.index]
                copy.mux(packet)
    return target


@pytest.mark.parametrize("codec, output, asked, expected", [
    ("pcm_s24le", "c.mov", None, "pcm_s24le"), ("pcm_u8", "c.mov", None, "pcm_u8"),
    ("pcm_s16le", "c.mp4", None, "pcm_s16le"), ("flac", "c.mov", None, "pcm_s16le"),
    ("flac", "c.mov", "pcm_mulaw", "pcm_mulaw")])
def test_gaps_are_silence_where_samples_are_only_counted(tmp_path, codec, output, asked, expected):
    source = with_gap(write_beep(tmp_path / "a.mkv", codec, layout="mono", length=0.8), tmp_path / "b.mkv")
    run(source, tmp_path / output, multi=1, audio_codec=asked)
    name, *_, when = beep_of(tmp_path / output)
    assert name == expected and abs(when - 0.5) < 0.003  # Matroska's milliseconds


def test_sound_without_losses_stays_so_in_quicktime(tmp_path):
    source = write_beep(tmp_path / "a.mkv", "flac")
    run(source, tmp_path / "b.mov", multi=1)
    heard = []
    for path in (source, tmp_path / "b.mov"):
        with av.open(str(path)) as container:
            heard.append(np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]))
    assert (heard[0] == heard[1]).all()


def test_sound_may_change_its_layout_on_the_way(tmp_path):
    parts = [write_beep(tmp_path / f"{layout}.ts", "aac", rate, layout, video="libx264").read_bytes()
             for rate, layout in ((24000, "mono"), (48000, "stereo"))]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    run(tmp_path / "a.ts", tmp_path / "b.mkv", multi=1, audio_codec="flac")
    with av.open(str(tmp_path / "b.mkv")) as container:
        heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
        assert container.streams.audio[0].codec_context.sample_rate == 24000
    loud = np.abs(heard.astype(float)) > 3000
    # The tone is heard from 0.3 to 0.6 seconds of each recording; AAC adds some silence to the end of the first.
    assert [loud[round(a * 24000):round(b * 24000)].mean() > 0.5
            for a, b in ((0.05, 0.25), (0.35, 0.55), (0.7, 0.85), (1.05, 1.2))] == [False, True, False, True]


def test_what_does_not_fit_is_left_out_with_a_word_or_stops_the_work(tmp_path):
    source = write_beep(tmp_path / "a.mkv", "libopus", 48000)
    assert "left out: audio stream 1" in run(source, tmp_path / "b.mov", multi=1, audio_codec="copy")
    with av.open(str(tmp_path / "b.mov")) as container:
        assert not container.streams.audio
    for output, options, word in [("c.mov", {"audio_codec": "copy", "strict_streams": True}, "audio stream 1"),
                                  ("c.mp4", {"slowmo": True, "strict_streams": True}, "audio stream 1"),
                                  ("c.webm", {"audio_codec": "mp3"}, "audio stream 1 cannot be converted to mp3"),
                                  ("c.mp4", {"audio_codec": "nope"}, "no audio codec 'nope'"),
                                  ("c.mp4", {"audio_codec": "libx264"}, "no audio codec 'libx264'")]:
        with pytest.raises(UserError, match=word):
            run(source, tmp_path / output, **options)
        assert not list(tmp_path.glob("*c.*"))
    run(source, tmp_path / "d.mov", multi=1, strict_streams=True)  # converting is no loss of the stream
    assert beep_of(tmp_path / "d.mov")[0] == "aac"


def test_chapters_are_named_where_there_is_no_place_for_them(tmp_path):
    chapters = [{"id": 1, "start": 0, "end": 80, "time_base": F(1, 1000), "metadata": {"title": "One"}}]
    source = write_levels(tmp_path / "a.mkv", 12, step=10, chapters=chapters)
    for suffix in (".mkv", ".mp4", ".mov", ".m4v", ".webm", ".ts"):
        notes = run(source, tmp_path / f"b{suffix}", multi=1)
        with av.open(str(tmp_path / f"b{suffix}")) as container:
            assert bool(container.chapters()) != ("left out: chapters" in notes)
    with pytest.raises(UserError, match="--strict_streams: .*chapters"):
        run(source, tmp_path / "c.ts", strict_streams=True)


def test_images_hold_nothing_beside_the_picture(tmp_path):
    source = write_levels(tmp_path / "a.mkv", 2, audio=(0.1, "flac"))
    assert "left out" in run(source, tmp_path / "b", png=True)
    for options in ({}, {"subtitles": [(0, 80, "Hello")], "audio": None}):
        write_levels(source, 2, **{"audio": (0.1, "flac"), **options})
        with pytest.raises(UserError, match="--strict_streams: .*(audio|subtitle) stream 1"):
            run(source, tmp_path / "c", png=True, strict_streams=True)
    write_levels(source, 2)
    assert "left out" not in run(source, tmp_path / "c", png=True, strict_streams=True)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_timecode_that_is_no_longer_true_is_left_out(tmp_path, suffix):
    """It counts frames of the source's rate from the source's start."""
    source = write_levels(tmp_path / f"a{suffix}", 3, metadata={"timecode": "01:00:00:00"})
    for output in ("b.mov", "b.mkv"):
        notes = run(source, tmp_path / output)
        assert "left out: the time code" in notes and notes.count("left out") == 1
        with av.open(str(tmp_path / output)) as container:
            tags = [container.metadata, *(stream.metadata for stream in container.streams)]
            assert "timecode" not in {name.lower() for metadata in tags for name in metadata}
            assert len(container.streams) == 1


def test_tags_of_phones_are_kept_and_others_named_where_they_are_not(tmp_path):
    own = {"com.apple.quicktime.model": "iPhone 15", "com.android.version": "14", "title": "Holiday"}
    source = write_levels(tmp_path / "a.mkv", 3, metadata=own)
    for name in ("b.mp4", "b.mov"):
        assert "left out" not in run(source, tmp_path / name, multi=1)
        with av.open(str(tmp_path / name)) as container:
            found = {name.lower(): value for name, value in container.metadata.items()}  # Matroska's are in capitals
        assert {name: found.get(name) for name in own} == own
    source = write_levels(tmp_path / "c.mkv", 3, metadata={"title": "Film", "DIRECTOR": "Somebody"})
    assert "tags that .mp4 files do not hold: DIRECTOR" in run(source, tmp_path / "d.mp4", multi=1)
    with av.open(str(tmp_path / "d.mp4")) as container:
        assert container.metadata["title"] == "Film" and "DIRECTOR" not in container.metadata


def test_cover_images_are_kept_where_the_container_has_a_place(tmp_path):
    source, image = write_levels(tmp_path / "a.mp4", 3), cv2.imencode(".jpg", moving_picture(0))[1].tobytes()
    with av.open(str(source)) as container, av.open(str(tmp_path / "b.mkv"), "w") as target:
        stream = target.add_stream_from_template(container.streams.video[0])
        target.add_attachment("cover.jpg", "image/jpeg", image)
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    run(tmp_path / "b.mkv", tmp_path / "c.mp4")
    run(tmp_path / "c.mp4", tmp_path / "d.mkv")
    for name in ("c.mp4", "d.mkv"):
        assert len(times(tmp_path / name)) == (6 if name == "c.mp4" else 12)
        with av.open(str(tmp_path / name)) as container:
            cover = container.streams[1]
            assert cover.disposition.value & av.stream.Disposition.attached_pic.value
            assert [bytes(packet) for packet in container.demux(cover) if packet.size] == [image]
    assert "left out: cover image stream 1" in run(tmp_path / "b.mkv", tmp_path / "e.mov")


def test_captions_in_the_video_are_named(tmp_path):
    source = write_levels(tmp_path / "a.mp4", 4)
    # A supplemental message with captions as broadcasters write it (CTA-708, ATSC A/53), before each frame's slices.
    message = bytes.fromhex("b50031") + b"GA94" + bytes.fromhex("03c1fffc9420ff")
    captions = bytes([6, 4, len(message)]) + message + b"\x80"
    with av.open(str(source)) as container, av.open(str(tmp_path / "b.mp4"), "w") as target:
        stream = target.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                captioned = av.Packet(len(captions).to_bytes(4, "big") + captions + bytes(packet))
                captioned.pts, captioned.dts, captioned.time_base = packet.pts, packet.dts, packet.time_base
                captioned.is_keyframe, captioned.stream = packet.is_keyframe, stream
                target.mux(captioned)
    assert "left out: closed captions" in run(tmp_path / "b.mp4", tmp_path / "c.mp4")
    assert "left out" not in run(source, tmp_path / "d.mp4")


def test_constant_rate_stays_constant_in_another_container(tmp_path):
    source = write_levels(tmp_path / "a.mkv", 12, step=10, time_base=F(1001, 24000))  # Matroska counts milliseconds
    run(source, tmp_path / "b.mp4")
    shown = times(tmp_path / "b.mp4")
    assert {later - earlier for earlier, later in zip(shown, shown[1:])} == {F(1001, 48000)}


def test_libav_threads_do_not_wait_for_python(tmp_path):
    """Whoever has set a level for libav's messages could hang when a decoder was closed."""
    source = write_levels(tmp_path / "a.mp4", 12, step=10)
    program = ("import sys, av\nfrom media.video.decode import VideoSource\nav.logging.set_level(av.logging.DEBUG)\n"
               "for _ in range(3): next(VideoSource(sys.argv[1]).scan())\n"
               "assert av.logging.get_level() == av.logging.DEBUG")
    subprocess.run([sys.executable, "-c", program, source], cwd=Path(__file__).parents[1], timeout=60, check=True)
