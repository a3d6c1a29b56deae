"use strict";
/* The PET seen from any side as its maximum along the line of sight, with the outlines of the lesions. */

class Projection {
  constructor(canvas, { pet, labels }) {
    this.canvas = canvas;
    this.pet = pet;
    this.labels = labels.values;
    this.inLesions = [];
    for (let k = 0; k < this.labels.length; k++) if (this.labels[k]) this.inLesions.push(k);
    const [dx, dy] = STUDY.spacing_mm;
    this.pixelMm = Math.max(dx, dy);
    this.width = Math.ceil(Math.max(NX * dx, NY * dy) / this.pixelMm);
    this.picture = document.createElement("canvas");
    this.picture.width = this.width;
    this.picture.height = NZ;
    this.hottest = new Int32Array(this.width * NZ);
    this.shadow = new Uint16Array(this.width * NZ);
    this.degrees = 0;
    this.onPick = () => {};
    this._listen();
  }

  /* Return the column of each voxel of a plane, as seen from `degrees` to the patient's left of the front. */
  _findColumns() {
    const angle = (this.degrees * Math.PI) / 180, [dx, dy] = STUDY.spacing_mm;
    const c = (-Math.cos(angle) * dx) / this.pixelMm, s = (Math.sin(angle) * dy) / this.pixelMm; // x runs to the Right
    const columns = new Int16Array(NX * NY), middle = (this.width - 1) / 2;
    for (let y = 0, k = 0; y < NY; y++) {
      for (let x = 0; x < NX; x++, k++) {
        const column = Math.round(middle + (x - (NX - 1) / 2) * c + (y - (NY - 1) / 2) * s);
        columns[k] = Math.min(this.width - 1, Math.max(0, column)); // the corners hold air
      }
    }
    return columns;
  }

  turn(degrees) {
    this.degrees = ((degrees % 360) + 360) % 360;
    const columns = this._findColumns(), { hottest, shadow, width } = this, { values } = this.pet, plane = NX * NY;
    hottest.fill(-1);
    shadow.fill(0);
    const best = new Int32Array(width);
    for (let z = 0; z < NZ; z++) {
      const start = z * plane, row = (NZ - 1 - z) * width; // the head is at the top
      best.fill(-1);
      for (let k = 0; k < plane; k++) {
        const column = columns[k], value = values[start + k];
        if (value > best[column]) {
          best[column] = value;
          hottest[row + column] = start + k;
        }
      }
    }
    for (const at of this.inLesions) {
      const z = Math.floor(at / plane);
      shadow[(NZ - 1 - z) * width + columns[at % plane]] = this.labels[at];
    }
    this.columns = columns;
  }

  paint(look, voxel) {
    const { width, hottest, shadow } = this, pixels = new ImageData(width, NZ), colours = pixels.data;
    const { values, slope, intercept } = this.pet, scale = 255 / (look.suv[1] - look.suv[0]);
    for (let k = 0; k < hottest.length; k++) {
      const suv = hottest[k] < 0 ? 0 : values[hottest[k]] * slope + intercept;
      const grey = 255 - Math.min(255, Math.max(0, (suv - look.suv[0]) * scale));
      colours[4 * k] = colours[4 * k + 1] = colours[4 * k + 2] = grey;
      colours[4 * k + 3] = 255;
      const lesion = shadow[k];
      if (!look.mask || !lesion) continue;
      const isEdge = shadow[k - 1] !== lesion || shadow[k + 1] !== lesion || shadow[k - width] !== lesion ||
        shadow[k + width] !== lesion;
      if (isEdge) colours.set(lesion === look.picked ? [240, 170, 0] : [226, 24, 52], 4 * k);
    }
    this.picture.getContext("2d").putImageData(pixels, 0, 0);
    this._show(look, voxel);
  }

  _show(look, voxel) {
    const { canvas } = this, dpr = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * dpr));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * dpr));
    const context = canvas.getContext("2d"), wideMm = this.width * this.pixelMm, highMm = NZ * STUDY.spacing_mm[2];
    const scale = Math.min(canvas.width / wideMm, canvas.height / highMm);
    this.frame = { left: (canvas.width - wideMm * scale) / 2, top: (canvas.height - highMm * scale) / 2,
      perColumn: this.pixelMm * scale, perRow: STUDY.spacing_mm[2] * scale };
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, this.frame.left, this.frame.top, wideMm * scale, highMm * scale);
    if (look.mask) this._writeNumbers(context, look, dpr);
    const { x, y } = this.find(voxel);
    context.strokeStyle = "rgba(20, 130, 40, .8)";
    context.lineWidth = dpr;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, canvas.height);
    context.moveTo(0, y);
    context.lineTo(canvas.width, y);
    context.stroke();
  }

  _writeNumbers(context, look, dpr) {
    context.font = `600 ${11 * dpr}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const taken = [];
    for (const lesion of STUDY.lesions) {
      const { x, y } = this.find(lesion.voxel), place = { x: x + 7 * dpr, y: y - 7 * dpr };
      const isFree = taken.every((other) => Math.abs(other.x - place.x) > 13 * dpr || Math.abs(other.y - place.y) > 10 * dpr);
      if (!isFree && lesion.number !== look.picked) continue;
      taken.push(place);
      context.lineWidth = 3 * dpr;
      context.strokeStyle = "rgba(255, 255, 255, .85)";
      context.strokeText(lesion.number, place.x, place.y);
      context.fillStyle = lesion.number === look.picked ? "#a86c00" : "#c2142f";
      context.fillText(lesion.number, place.x, place.y);
    }
  }

  /* Return where a voxel is seen, in pixels of the canvas. */
  find([x, y, z]) {
    const { left, top, perColumn, perRow } = this.frame;
    return { x: left + (this.columns[x + NX * y] + 0.5) * perColumn, y: top + (NZ - z - 0.5) * perRow };
  }

  _listen() {
    const { canvas } = this;
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      from = { x: event.clientX, y: event.clientY, degrees: this.degrees, moved: false };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const by = event.clientX - from.x;
      from.moved ||= Math.hypot(by, event.clientY - from.y) > 4;
      if (from.moved) this.onTurn(from.degrees - by);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (from && !from.moved) this._pick(event);
      from = null;
    });
    canvas.addEventListener("pointercancel", () => { from = null; });
  }

  _pick(event) {
    const box = this.canvas.getBoundingClientRect(), dpr = this.canvas.width / box.width;
    const column = Math.floor(((event.clientX - box.left) * dpr - this.frame.left) / this.frame.perColumn);
    const row = Math.floor(((event.clientY - box.top) * dpr - this.frame.top) / this.frame.perRow);
    if (column < 0 || column >= this.width || row < 0 || row >= NZ) return;
    const at = this.hottest[row * this.width + column];
    if (at >= 0) this.onPick([at % NX, Math.floor(at / NX) % NY, Math.floor(at / (NX * NY))]);
  }
}
