"use strict";

// Compare two images: drag anywhere on the stage, or focus it and use the arrow keys (a real range input).
for (const scene of document.querySelectorAll(".scene")) {
  const stage = scene.querySelector(".stage");
  const range = stage.querySelector("input");
  const images = [...stage.querySelectorAll("img")];
  const names = Object.fromEntries(images.map((image) => [image.dataset.name, image.alt]));
  const [tagLeft, tagRight] = stage.querySelectorAll(".tag");

  function place() {
    stage.style.setProperty("--x", range.value + "%");
    range.setAttribute("aria-valuetext", `${Math.round(range.value)}% ${tagLeft.textContent}`);
  }
  function show(button) {
    const [left, right] = button.dataset.pair.split(" ");
    for (const image of images) {
      image.classList.toggle("left", image.dataset.name === left);
      image.classList.toggle("right", image.dataset.name === right);
    }
    tagLeft.textContent = names[left];
    tagRight.textContent = names[right];
    for (const other of scene.querySelectorAll(".pairs button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    place();
  }
  function follow(event) {
    const box = stage.getBoundingClientRect();
    range.value = ((event.clientX - box.left) / box.width) * 100;
    place();
  }
  range.addEventListener("input", place);
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true, focusVisible: false });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (stage.hasPointerCapture(event.pointerId)) follow(event);
  });
  for (const button of scene.querySelectorAll(".pairs button")) {
    button.addEventListener("click", () => show(button));
  }
  show(scene.querySelector('.pairs [aria-pressed="true"]') ?? scene.querySelector(".pairs button"));
}

// Read a plot under the pointer.
for (const plot of document.querySelectorAll("svg.plot")) {
  const lines = Object.entries(JSON.parse(plot.dataset.points));
  const cursor = plot.querySelector(".cursor");
  const tip = plot.parentElement.querySelector(".tip");
  const labels = JSON.parse(plot.parentElement.dataset.labels);
  const width = plot.viewBox.baseVal.width;

  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    const nearest = lines.filter(([, points]) => points.length).map(([name, points]) =>
      [name, points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a))]);
    if (!nearest.length) return;
    const x = nearest[0][1][0];
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.removeAttribute("hidden");
    tip.hidden = false;
    tip.style.left = `${Math.min(Math.max((x / width) * 100, 22), 78)}%`;
    tip.textContent = `${labels.x} ${nearest[0][1][2]}: ` +
      nearest.map(([name, point]) => `${labels[name]} ${point[3].toFixed(2)} dB`).join(", ");
  });
  plot.addEventListener("pointerleave", () => {
    cursor.setAttribute("hidden", "");
    tip.hidden = true;
  });
}
