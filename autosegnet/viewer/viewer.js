"use strict";
/* What the page does: opens the volumes, then lets planes, projection, table, controls and clicks follow each other. */

const CT_WINDOWS = { soft: [-160, 240], lung: [-1350, 150], bone: [-450, 1050], brain: [0, 80] };
const CLICKED_ON = { tumor: "Tumour", background: "Background" };

const find = (id) => document.getElementById(id);
const look = { mode: STUDY.volumes.ct ? "fusion" : "pet", suv: [0, 10], hu: [...CT_WINDOWS.soft], opacity: 0.7,
  mask: true, picked: 0 };
const marks = new Marks();
let tool = "navigate", volumes, planes, projection, voxel = [NX >> 1, NY >> 1, NZ >> 1];

for (const lesion of STUDY.lesions) lesion.voxel = fromPosition(lesion.position_mm);

async function openStudy() {
  const [pet, ct, labels, probability] = await Promise.all(["pet", "ct", "labels", "probability"].map(readVolume));
  volumes = { pet, ct, labels, probability };
  wireControls();
  if (hasWebGl2()) {
    planes = new Planes(find("planes"), volumes);
    planes.onMove = move;
    planes.onDraw = drawMarks;
    await planes.open();
    wirePlanes();
  } else {
    find("no-webgl").hidden = false;
  }
  if (STUDY.lesions.length) pick(STUDY.lesions[0].number);
  else refresh();
  find("busy").hidden = true;
  await new Promise((done) => setTimeout(done)); // the planes are seen first
  projection = new Projection(find("mip"), volumes);
  projection.onPick = goTo;
  projection.onTurn = turn;
  turn(0);
  new ResizeObserver(() => projection.paint(look, voxel)).observe(find("mip"));
  document.documentElement.dataset.ready = "yes";
}

function hasWebGl2() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext();
  return Boolean(context);
}

/* Moving about */

function goTo(place, options) {
  if (planes) planes.goTo(place, options);
  else move(place);
}

function move(place) {
  voxel = place;
  find("readout").replaceChildren(...describe(place).map(([name, value]) => {
    const item = document.createElement("span"), strong = document.createElement("b");
    strong.textContent = value;
    item.append(`${name} `, strong);
    item.dataset.name = name;
    return item;
  }));
  projection?.paint(look, voxel);
}

function describe(place) {
  const at = offset(place), number = volumes.labels.values[at];
  const value = ({ values, slope, intercept }, digits) => (values[at] * slope + intercept).toFixed(digits);
  const named = toPosition(STUDY.shown, place).map((mm, k) => `${"LPS"[k]} ${mm.toFixed(0).replace("-", "−")}`);
  return [
    ["SUV", value(volumes.pet, 2)],
    ...(volumes.ct ? [["HU", value(volumes.ct, 0).replace("-", "−")]] : []),
    ...(volumes.probability ? [["Probability", value(volumes.probability, 2)]] : []),
    ["mm", named.join(" ")],
    ["Voxel", toPetVoxel(place).join(", ")],
    ...(number ? [["Lesion", String(number)]] : []),
  ];
}

function pick(number) {
  const lesion = STUDY.lesions.find((one) => one.number === number);
  if (!lesion) return;
  look.picked = number;
  for (const row of document.querySelectorAll("tr[data-lesion]")) {
    const isPicked = Number(row.dataset.lesion) === number;
    row.classList.toggle("picked", isPicked);
    row.setAttribute("aria-current", isPicked);
    if (isPicked) keepInSight(row);
  }
  goTo(lesion.voxel, { centre: true });
  refresh();
}

/* Keep the row in sight; on a phone, where the table is below the planes, rather these. */
function keepInSight(row) {
  if (matchMedia("(max-width: 900px)").matches) {
    if (document.documentElement.dataset.ready) find("planes").parentElement.scrollIntoView({ block: "start" });
    return;
  }
  const panel = find("lesions"), above = row.offsetTop - panel.offsetTop;
  if (above < panel.scrollTop) panel.scrollTop = above;
  if (above + row.offsetHeight > panel.scrollTop + panel.clientHeight) panel.scrollTop = above + row.offsetHeight - panel.clientHeight;
}

function pickNext(by) {
  const numbers = STUDY.lesions.map((lesion) => lesion.number), at = numbers.indexOf(look.picked);
  pick(numbers[(at + by + numbers.length) % numbers.length]);
}

function turn(degrees) {
  projection.turn(degrees);
  find("angle").value = projection.degrees;
  projection.paint(look, voxel);
}

/* Looks */

function refresh() {
  planes?.paint(look);
  projection?.paint(look, voxel);
}

function setLook(change) {
  Object.assign(look, change);
  for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-pressed", button.dataset.mode === look.mode);
  find("mask").setAttribute("aria-pressed", look.mask);
  find("suv-low").value = look.suv[0];
  find("suv-high").value = look.suv[1];
  find("ct-low").value = look.hu[0];
  find("ct-high").value = look.hu[1];
  find("opacity").value = look.opacity;
  find("suv-preset").value = look.suv[0] === 0 ? String(look.suv[1]) : "";
  const same = Object.entries(CT_WINDOWS).find(([, window]) => window[0] === look.hu[0] && window[1] === look.hu[1]);
  find("ct-preset").value = same ? same[0] : "";
  refresh();
}

function setWindow(name, low, high) {
  if (Number.isFinite(low) && Number.isFinite(high) && low < high) setLook({ [name]: [low, high] });
}

function wireControls() {
  const on = (id, kind, act) => find(id).addEventListener(kind, act);
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.hidden = (button.dataset.mode === "probability" && !volumes.probability) || (!volumes.ct && button.dataset.mode !== "pet");
    button.addEventListener("click", () => setLook({ mode: button.dataset.mode }));
  }
  for (const group of document.querySelectorAll(".needs-ct")) group.hidden = !volumes.ct;
  on("mask", "click", () => setLook({ mask: !look.mask }));
  on("suv-preset", "change", (event) => event.target.value && setWindow("suv", 0, Number(event.target.value)));
  on("ct-preset", "change", (event) => event.target.value && setWindow("hu", ...CT_WINDOWS[event.target.value]));
  for (const [name, id] of [["suv", "suv"], ["hu", "ct"]]) {
    const read = () => setWindow(name, find(`${id}-low`).valueAsNumber, find(`${id}-high`).valueAsNumber);
    on(`${id}-low`, "change", read);
    on(`${id}-high`, "change", read);
  }
  on("opacity", "input", (event) => setLook({ opacity: event.target.valueAsNumber }));
  on("angle", "input", (event) => projection && turn(event.target.valueAsNumber));
  for (const row of document.querySelectorAll("tr[data-lesion]")) row.addEventListener("click", () => pick(Number(row.dataset.lesion)));
  for (const tab of document.querySelectorAll("[role=tab]")) tab.addEventListener("click", () => openTab(tab));
  document.addEventListener("keydown", press, true); // before NiiVue, whose keys are switched off
  window.addEventListener("beforeunload", (event) => { if (!marks.isSaved) event.preventDefault(); });
  setLook({});
  wireMarks(on);
}

function openTab(tab) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    other.setAttribute("aria-selected", other === tab);
    find(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
}

function wirePlanes() {
  for (const button of document.querySelectorAll("[data-planes]")) button.addEventListener("click", () => choosePlanes(button.dataset.planes));
  find("zoom-in").addEventListener("click", () => planes.zoom(1.5));
  find("zoom-out").addEventListener("click", () => planes.zoom(1 / 1.5));
  find("zoom-off").addEventListener("click", () => planes.zoom(0));
  const canvas = find("planes");
  let stroke = null;
  canvas.addEventListener("pointerdown", (event) => {
    const at = planes.voxelAt(event);
    if (event.button !== 0 || !at) return;
    stroke = { tile: planes.tileAt(event), voxels: [at] };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || tool === "navigate" || planes.tileAt(event)?.axCorSag !== stroke.tile.axCorSag) return;
    const at = planes.voxelAt(event);
    if (at) stroke.voxels.push(...findBetween(stroke.voxels.at(-1), at));
  });
  window.addEventListener("pointerup", () => {
    if (stroke && tool !== "navigate") marks.add(tool, stroke.voxels.map(toPetVoxel));
    else if (stroke && stroke.voxels.length === 1) pickUnder(stroke.voxels[0]);
    stroke = null;
  });
}

/* Mark the row of a lesion that was clicked in a plane, and stay where the click was. */
function pickUnder(place) {
  const number = volumes.labels.values[offset(place)];
  if (!number || number === look.picked) return;
  pick(number);
  goTo(place);
}

function choosePlanes(shown) {
  for (const button of document.querySelectorAll("[data-planes]")) button.setAttribute("aria-pressed", button.dataset.planes === shown);
  planes.layOut(shown);
}

/* Clicks */

function wireMarks(on) {
  marks.onChange = showMarks;
  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => chooseTool(button.dataset.tool));
  on("undo", "click", () => marks.undo());
  on("download", "click", () => marks.download());
  on("clicks-file", "change", async ({ target }) => {
    find("clicks-error").textContent = "";
    try {
      marks.read(await target.files[0].text());
    } catch (error) {
      find("clicks-error").textContent = `The file was not read: ${error.message}.`;
    }
    target.value = "";
  });
  const given = Object.entries(STUDY.clicks).flatMap(([name, points]) => points.map((point) => ({ point, name })));
  marks.begin(groupPoints(given));
}

function chooseTool(name) {
  tool = name;
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === name);
  find("planes").classList.toggle("marking", name !== "navigate");
  if (name !== "navigate") openTab(find("tab-clicks"));
}

function showMarks() {
  find("clicks").replaceChildren(...marks.list.map((mark, place) => {
    const item = document.createElement("li"), go = document.createElement("button"), away = document.createElement("button");
    item.className = mark.name;
    go.type = away.type = "button";
    const count = mark.points.length;
    go.textContent = `${CLICKED_ON[mark.name]}, ${count > 1 ? `${count} voxels from` : "voxel"} ${mark.points[0].join(", ")}`;
    go.addEventListener("click", () => goTo(fromPetVoxel(mark.points[0]), { centre: true }));
    away.textContent = "Delete";
    away.setAttribute("aria-label", `Delete ${go.textContent}`);
    away.addEventListener("click", () => marks.remove(place));
    item.append(go, away);
    return item;
  }));
  find("no-clicks").hidden = marks.list.length > 0;
  find("download").disabled = !marks.list.length;
  find("undo").disabled = !marks.past.length;
  find("clicks-count").textContent = marks.list.length || "";
  if (planes) drawMarks();
}

/* Draw the clicks whose voxels are in a plane, on a canvas over the planes. */
function drawMarks() {
  const canvas = find("marks"), dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * dpr);
  canvas.height = Math.round(canvas.clientHeight * dpr);
  const context = canvas.getContext("2d");
  context.scale(dpr, dpr);
  for (const { name, points } of marks.list) {
    const isAlone = points.length === 1;
    for (const point of points) {
      for (const { x, y } of planes.findOnScreen(fromPetVoxel(point))) {
        context.beginPath();
        context.arc(x, y, isAlone ? 6 : 2.5, 0, 2 * Math.PI);
        context.fillStyle = name === "tumor" ? "#00c853" : "#2979ff";
        context.fill();
        context.strokeStyle = "#fff";
        context.lineWidth = isAlone ? 1.5 : 0.5;
        context.stroke();
        if (!isAlone) continue;
        context.beginPath();
        context.moveTo(x - 3, y);
        context.lineTo(x + 3, y);
        if (name === "tumor") {
          context.moveTo(x, y - 3);
          context.lineTo(x, y + 3);
        }
        context.stroke();
      }
    }
  }
}

/* Keys */

const KEYS = {
  n: () => pickNext(1), p: () => pickNext(-1), m: () => setLook({ mask: !look.mask }),
  f: () => setLook({ mode: "fusion" }), s: () => setLook({ mode: "pet" }), c: () => setLook({ mode: "ct" }),
  r: () => volumes.probability && setLook({ mode: "probability" }),
  1: () => choosePlanes("all"), 2: () => choosePlanes("axial"), 3: () => choosePlanes("coronal"), 4: () => choosePlanes("sagittal"),
  "+": () => planes.zoom(1.5), "-": () => planes.zoom(1 / 1.5), 0: () => planes.zoom(0),
  ArrowLeft: () => planes.step([1, 0, 0]), ArrowRight: () => planes.step([-1, 0, 0]),
  ArrowUp: () => planes.step([0, 1, 0]), ArrowDown: () => planes.step([0, -1, 0]),
  PageUp: () => planes.step([0, 0, 1]), PageDown: () => planes.step([0, 0, -1]),
  t: () => chooseTool("tumor"), b: () => chooseTool("background"), Escape: () => chooseTool("navigate"),
  u: () => marks.undo(),
};
const NEEDS_CT = new Set(["f", "c", "r"]), NEEDS_PLANES = /^(Arrow.*|Page.*|[0-4+-])$/;

function press(event) {
  const isTyping = event.target.matches("input[type=number], select, textarea") || event.altKey || event.ctrlKey || event.metaKey;
  const isMoved = event.target.matches("input[type=range]") && event.key.startsWith("Arrow");
  const act = KEYS[event.key];
  if (!act || isTyping || isMoved || (NEEDS_PLANES.test(event.key) && !planes)) return;
  if (NEEDS_CT.has(event.key) && !volumes.ct) return;
  event.preventDefault();
  act();
}

openStudy().catch((error) => {
  find("busy").textContent = `The study could not be shown: ${error.message}. Try a current Chrome, Edge, Firefox or Safari.`;
  throw error;
});
