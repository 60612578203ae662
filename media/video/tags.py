"""Tags of files and streams: which hold for the result, and which its container has a place for."""
import io

import av

# What the source's container and encoder say of themselves, which is no longer true of the result; and the time code,
# which counts the source's frames.
_STALE = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "number_of_frames",
          "number_of_bytes", "bps", "_statistics", "vendor_id", "creation_time_of_file", "alpha_mode",
          "timecode")
_KEYED = {"movflags": "use_metadata_tags"}


def still_true(tags: dict[str, str]) -> dict[str, str]:
    """The tags of a file or stream that hold for the result, too."""
    # What MP4 files call a stream's name is read as `name`, but written only as `title`.
    return {"title" if name == "name" else name: value for name, value in tags.items()
            if not name.lower().startswith(_STALE)}


def plan_tags(tags: dict[str, str], suffix: str) -> tuple[dict[str, str], list[str]]:
    """How a file of this kind is opened for writing to hold a file's tags, and the names of those that it cannot hold.

    MP4 and QuickTime files hold either a fixed set of tags, in the way every player reads, or any by QuickTime's keys.
    The second way is taken where a phone has left tags of its own (com.apple..., com.android...).
    """
    tags = still_true(tags)
    if not tags or suffix in (".mkv", ".webm"):  # they hold any
        return {}, []
    if suffix != ".ts" and any(name.lower().startswith("com.") for name in tags):
        return _KEYED, _lost(tags, suffix, _KEYED)
    return {}, _lost(tags, suffix, {})


def _lost(tags: dict[str, str], suffix: str, options: dict[str, str]) -> list[str]:
    """Names of tags that are not found in a little file they have been written to."""
    file = io.BytesIO()
    name = av.open(f"probe{suffix}", "w").format.name  # no file appears before something is written
    with av.open(file, "w", format=name, container_options=options) as container:
        container.metadata.update(tags)
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    file.seek(0)
    with av.open(file, metadata_errors="replace") as container:
        found = {name.lower().split("-")[0] for name in container.metadata}  # places come back as location-eng
    return sorted(name for name in tags if name.lower().split("-")[0] not in found)
