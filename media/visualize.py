"""Images of what the network estimated: flow as colours, the blending mask, the scales it chose."""
import cv2
import numpy as np

SCALE_NAMES = {0: "-", 1: "full", 2: "1/2", 4: "1/4"}
_SCALE_COLOURS = {0: (96, 96, 96), 1: (96, 174, 39), 2: (18, 156, 243), 4: (182, 89, 155)}  # BGR
_MARGIN = 40
_TALLEST = 1080  # pixels, to which a small panel may be enlarged


def flow_colours(flow: np.ndarray, longest: float) -> np.ndarray:
    """Colour wheel: hue is the direction (red right, yellow-green down, cyan left, violet up), white is no motion.

    Args:
        flow: (H, W, 2) float32, x (right) and y (down) in pixels.
        longest: the length in pixels that gets full saturation.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    x, y = flow[..., 0].astype(np.float32), flow[..., 1].astype(np.float32)
    length, angle = cv2.cartToPolar(x, y, angleInDegrees=True)
    saturation = (length / max(longest, 1e-6)).clip(0, 1)
    hsv = np.dstack([angle % 360, saturation, np.ones_like(x)])
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * 255).astype(np.uint8)


def draw_motion(frame: np.ndarray, timestep: float, flow: np.ndarray, mask: np.ndarray, scales: list[int],
                ) -> np.ndarray:
    """One image of four labelled panels: the frame with its blocks' scales, the mask, and both flows.

    Args:
        frame: (H, W, 3) uint8 BGR, the result at `timestep`.
        flow: (H, W, 4) float32 pixels: x, y to frame 0; x, y to frame 1.
        mask: (H, W) float32 in [0, 1], 1 (white) where frame 0 is taken.
        scales: for each block the processing scale, 1, 2 or 4; 0 where it was left out.

    Returns:
        (about H, W; at least 640 wide) uint8 BGR.
    """
    height, width = frame.shape[:2]
    panel_width = max(320, width // 2)
    inner = min(panel_width, int(width * max(1, _TALLEST / height)))  # of narrow frames: the rest is a border
    size = (inner, max(1, round(height * inner / width)))
    # A quantile, so that a few outliers do not fade the rest.
    longest = float(np.quantile(np.hypot(flow[..., ::2], flow[..., 1::2]), 0.995))
    grey = cv2.cvtColor(np.rint(mask * 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    panels = [_panel(frame, size, panel_width, f"t = {timestep:.4g}"),
              _panel(grey, size, panel_width, "mask: white = frame 0")]
    for index in (0, 1):
        colours = flow_colours(flow[..., 2 * index:2 * index + 2], longest)
        panels.append(_wheel(_panel(colours, size, panel_width, f"flow to frame {index}"), longest))
    _write_scales(panels[0], scales)
    return np.vstack([np.hstack(panels[:2]), np.hstack(panels[2:])])


def label(image: np.ndarray, text: str, position: tuple[int, int], size: float = 0.6,
          colour: tuple[int, int, int] = (255, 255, 255)) -> None:
    """Write `text` into a uint8 BGR image, its baseline starting at `position` (x, y)."""
    cv2.putText(image, text, position, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _panel(image: np.ndarray, size: tuple[int, int], width: int, title: str) -> np.ndarray:
    """The image at `size` (width, height), amid `width` pixels, below a dark line with its title."""
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    left, right = (width - size[0]) // 2, (width - size[0] + 1) // 2
    panel = cv2.copyMakeBorder(scaled, _MARGIN, 0, left, right, cv2.BORDER_CONSTANT, value=(32, 32, 32))
    label(panel, title, (10, 27))
    return panel


def _wheel(panel: np.ndarray, longest: float) -> np.ndarray:
    """The key to the colours, in the title line: its rim is `longest` pixels."""
    radius = _MARGIN // 2 - 3
    y, x = np.mgrid[-radius:radius + 1, -radius:radius + 1].astype(np.float32)
    colours = flow_colours(np.dstack([x, y]), radius)
    inside = np.hypot(x, y) <= radius
    left = panel.shape[1] - 2 * radius - 8
    panel[3:2 * radius + 4, left:left + 2 * radius + 1][inside] = colours[inside]
    text = f"rim {longest:.1f} px"
    label(panel, text, (left - 115, 26), 0.5)
    return panel


def _write_scales(panel: np.ndarray, scales: list[int]) -> None:
    """One coloured box for each block, in the title line."""
    step = min(42, (panel.shape[1] - 110) // max(1, len(scales)))
    left = panel.shape[1] - step * len(scales) - 4
    for index, scale in enumerate(scales):
        corner = left + index * step
        cv2.rectangle(panel, (corner, 8), (corner + step - 3, _MARGIN - 9), _SCALE_COLOURS[scale], cv2.FILLED)
        label(panel, SCALE_NAMES[scale], (corner + 4, 25), 0.42)
