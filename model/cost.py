"""What the published network costs, counted from its layers."""


def multiply_adds(height: int, width: int, scales: list[list[int]], channels: int = 80) -> int:
    """Multiply-adds of the convolutions for one pair of frames, by the published arrangement of the work.

    Both frames are encoded and fused once; everything after that is done for each moment. Work this
    project saves without changing the result is counted all the same, so that times can be compared.

    Args:
        height, width: of the enlarged frames, in pixels.
        scales: for each moment, the processing scale (1, 2 or 4) of each block.
    """
    c, inputs = channels, 3 * channels + 7
    encoder = (7 * 7 * 3 * 64 + 4 * 9 + 4 * 9 * 64 * 64 // 4 + (64 * 128 * 9 + 3 * 128 * 128 * 9 + 64 * 128) // 16
               + 64 * c + 64 * c // 4 + 128 * c // 16)
    fusion = 2 * c * c * 9
    selector_and_flow = inputs * c + c * c // 4 + c * 24 * 9
    block_at_full = inputs * c * 9 + 4 * c * c * 9
    decoder = ((2 * c + 1) * c * 9 + 24 * c * c * 9 + c * 2 * c * 9) // 4 + (c // 2) * 12 * 9
    moments = sum(decoder + sum(selector_and_flow + block_at_full / scale**2 for scale in blocks) for blocks in scales)
    return round((2 * encoder + fusion + moments) * (height // 2) * (width // 2))
