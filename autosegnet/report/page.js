"use strict";
document.documentElement.classList.add("js");
const widest = Number(document.body.dataset.widest);
const black = document.getElementById("black");
const transfers = document.querySelectorAll("#window feFuncR, #window feFuncG, #window feFuncB");
function setWindow() {
  const slope = widest / Number(black.value);
  for (const transfer of transfers) {
    transfer.setAttribute("slope", slope);
    transfer.setAttribute("intercept", 1 - slope);
  }
  document.getElementById("black-value").textContent = black.value;
}
black.addEventListener("input", setWindow);
setWindow();

const turn = document.getElementById("turn");
if (turn) {
  const angle = document.getElementById("angle");
  const play = document.getElementById("play");
  const views = Array.from(turn.querySelectorAll(".layers"));
  const step = 180 / views.length;
  let timer = 0;
  function showAngle() {
    const degrees = ((Number(angle.value) % 360) + 360) % 360;
    const shown = Math.round(degrees / step) % (2 * views.length);
    views.forEach((view, k) => {
      view.hidden = k !== shown % views.length;
      view.classList.toggle("mirror", shown >= views.length);
    });
    angle.setAttribute("aria-valuetext", degrees + " degrees");
  }
  function turnBy(degrees) {
    angle.value = (((Number(angle.value) + degrees) % 360) + 360) % 360;
    showAngle();
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Turn";
  }
  angle.addEventListener("input", () => { stop(); showAngle(); });
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    play.textContent = "Stop";
    timer = setInterval(() => turnBy(step), 150);
  });
  let from = null;
  turn.addEventListener("pointerdown", (event) => {
    if (event.target.tagName === "IMG") { from = event.clientX; stop(); event.preventDefault(); }
  });
  window.addEventListener("pointermove", (event) => {
    if (from !== null && Math.abs(event.clientX - from) >= 12) {
      turnBy(Math.sign(event.clientX - from) * step);
      from = event.clientX;
    }
  });
  window.addEventListener("pointerup", () => { from = null; });
  showAngle();
}
