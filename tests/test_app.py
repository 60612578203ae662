"""The web page in a real browser, wide and as narrow as a phone. Needs Gradio, Selenium, Chromium and its driver."""
import shutil
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from tiny_networks import TINY

from media.animation import open_animation
from media.image import read_image, write_image
from model import Predictor, create_network

gradio = pytest.importorskip("gradio")
webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PATIENCE = 300  # seconds, for machines at work


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    network = create_network("safa_small", **TINY)
    return Predictor(network, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def address(predictor, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        from demo import app
        blocks = app.page(predictor)
        _, url, _ = blocks.launch(server_name="127.0.0.1", server_port=None, prevent_thread_lock=True, quiet=True,
                                  theme=app.theme(gradio), css=app.STYLE, footer_links=[])
        yield url
        blocks.close()


@pytest.fixture(params=SIZES)
def browser(request, address, tmp_path):
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--disable-sync",
                   "--force-device-scale-factor=1", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(option)
    options.binary_location = shutil.which("chromium")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as driver:
        width, height = SIZES[request.param]
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": request.param == "phone"})
        driver.get(address)
        wait(lambda: find(driver, "#interpolate"))
        yield driver


def wait(found):
    """The first true value of `found()`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("nothing came")


def find(driver, selector):
    return driver.find_elements("css selector", selector)


def choose(driver, box, path):
    """Put a file into an upload box, in place of the one that is there, if any."""
    for button in find(driver, f"#{box} button[aria-label='Clear'], #{box} button[aria-label='Remove Image']"):
        driver.execute_script("arguments[0].click()", button)
    wait(lambda: find(driver, f"#{box} input[type=file]"))[0].send_keys(str(path))
    wait(lambda: find(driver, f"#{box} img[src*='{Path(path).stem}'], #{box} video[src*='{Path(path).stem}']"))


def click(driver, selector):
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()",
                          find(driver, selector)[0])


def downloaded(driver, button, folder, suffix):
    """The file that the button gives, once it can be pressed."""
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    wait(lambda: find(driver, f"{button}:enabled"))
    click(driver, button)
    return wait(lambda: [*folder.glob(f"*{suffix}")])[0]


def fits(driver):
    """Whether nothing sticks out to the right."""
    return driver.execute_script("return document.scrollingElement.scrollWidth <= window.innerWidth")


def test_two_images_become_a_frame_to_compare_and_download(browser, predictor, tmp_path):
    pair = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
    for name, image in zip(("left", "right"), pair):
        write_image(tmp_path / f"{name}.png", image)
    assert fits(browser)
    choose(browser, "first", tmp_path / "left.png")
    choose(browser, "second", tmp_path / "right.png")
    click(browser, "#interpolate")
    shown = wait(lambda: [image for image in find(browser, "#result img") if image.get_property("naturalWidth") == 128])
    assert len(shown) == 2 and all(image.is_displayed() for image in shown) and fits(browser)
    file = downloaded(browser, "#download", tmp_path / "downloads", ".png")
    np.testing.assert_array_equal(read_image(file), predictor.interpolate(*pair, [0.5], 4)[0])


def test_a_clip_becomes_larger_and_has_more_frames(browser, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    with open_animation(tmp_path / "short.mp4", fps=10) as animation:
        for frame in frames:
            animation.add(frame)
    click(browser, "button[role=tab]:nth-of-type(2)")
    choose(browser, "clip", tmp_path / "short.mp4")
    click(browser, "#make")
    file = downloaded(browser, "#save", tmp_path / "downloads", ".mp4")
    assert find(browser, "#video video") and fits(browser)
    with av.open(str(file)) as container:
        sizes = [(frame.width, frame.height) for frame in container.decode(video=0)]
    assert sizes == [(4 * 48, 4 * 32)] * 10


def test_what_cannot_be_is_said_on_the_page(browser, tmp_path):
    write_image(tmp_path / "wide.png", np.zeros((16, 40, 3), np.uint8))
    write_image(tmp_path / "tall.png", np.zeros((40, 16, 3), np.uint8))
    choose(browser, "first", tmp_path / "wide.png")
    choose(browser, "second", tmp_path / "tall.png")
    click(browser, "#interpolate")
    wait(lambda: any("different sizes" in toast.text for toast in find(browser, ".toast-body, [role=alert]")))
    assert fits(browser)
