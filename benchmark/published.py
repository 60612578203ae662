"""Figures printed in papers, PSNR (dB) / SSIM on Y. Nothing here was measured by this project."""

SOURCES = {
    "VideoINR": "Chen et al., CVPR 2022", "MoTIF": "Chen et al., ICCV 2023", "BF-STVSR": "Kim et al., CVPR 2025",
    "Zooming Slow-Mo": "Xiang et al., CVPR 2020", "TMNet": "Xu et al., CVPR 2021",
}

# (dataset, protocol) -> figure's name -> method -> (PSNR, SSIM)
_PRINTED: dict[tuple[str, str], dict[str, dict[str, tuple[float, float]]]] = {
    ("vid4", "videoinr"): {"average": {
        "VideoINR": (25.61, 0.7709), "MoTIF": (25.79, 0.7745), "BF-STVSR": (25.85, 0.7772)}},
    ("gopro", "videoinr"): {
        "center": {"VideoINR": (30.26, 0.8792), "MoTIF": (31.04, 0.8877), "BF-STVSR": (31.17, 0.8898)},
        "average": {"VideoINR": (29.41, 0.8669), "MoTIF": (30.04, 0.8773), "BF-STVSR": (30.22, 0.8802)}},
    ("adobe240", "videoinr"): {
        "center": {"VideoINR": (29.92, 0.8746), "MoTIF": (30.63, 0.8839), "BF-STVSR": (30.83, 0.8880)},
        "average": {"VideoINR": (29.27, 0.8651), "MoTIF": (29.82, 0.8750), "BF-STVSR": (30.12, 0.8808)}},
    ("vid4", "zsm"): {"average": {"Zooming Slow-Mo": (26.31, 0.7976), "TMNet": (26.43, 0.8016)}},
    ("vimeo90k-fast", "zsm"): {"average": {"Zooming Slow-Mo": (36.81, 0.9415), "TMNet": (37.04, 0.9435)}},
    ("vimeo90k-medium", "zsm"): {"average": {"Zooming Slow-Mo": (35.41, 0.9361), "TMNet": (35.60, 0.9380)}},
    ("vimeo90k-slow", "zsm"): {"average": {"Zooming Slow-Mo": (33.36, 0.9138), "TMNet": (33.51, 0.9159)}},
}


def published_figures(protocol: dict) -> dict[str, dict[str, dict[str, float]]]:
    """Figure's name -> method -> metric -> value, of a protocol as results hold it; {} if nothing was published."""
    printed = _PRINTED.get((protocol["dataset"], protocol["name"]), {})
    return {figure: {method: dict(zip(("psnr", "ssim"), pair)) for method, pair in methods.items()}
            for figure, methods in printed.items()}


def comparison_note(expected: int | None, clips: int) -> str:
    """What a reader has to know of figures over `clips` clips; empty if they compare with what was published.

    Args:
        expected: the protocol's expected_clips.
    """
    if expected in (None, clips):
        return ""
    return f"measured on {clips} clips; the published figures are over {expected} and do not compare"
