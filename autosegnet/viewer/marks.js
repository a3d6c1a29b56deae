"use strict";
/* A reader's clicks and scribbles, each a list of voxels of the whole PET, and the file that `--clicks` reads. */

class Marks {
  constructor() {
    this.list = []; // {name: "tumor" or "background", points: [[x, y, z], …]}
    this.isSaved = true;
    this.onChange = () => {};
  }

  add(name, points) {
    const fresh = points.filter((point, k) => points.findIndex((other) => isSame(other, point)) === k);
    // A voxel cannot be both: what was said last counts.
    for (const mark of this.list) {
      if (mark.name !== name) mark.points = mark.points.filter((old) => !fresh.some((point) => isSame(old, point)));
    }
    this.list = this.list.filter((mark) => mark.points.length);
    this.list.push({ name, points: fresh });
    this._change(false);
  }

  remove(place) {
    this.list.splice(place, 1);
    this._change(false);
  }

  undo() {
    if (this.list.length) this.remove(this.list.length - 1);
  }

  /* Return the platform's "Multiple points". */
  write() {
    const points = this.list.flatMap(({ name, points: own }) => own.map((point) => ({ point, name })));
    return JSON.stringify({ version: { major: 1, minor: 0 }, type: "Multiple points", points }, null, 1) + "\n";
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.write()], { type: "application/json" }));
    link.download = "lesion-clicks.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    this._change(true);
  }

  /* Add the points of a file that was written before; throws if it is another file. */
  read(text) {
    const value = JSON.parse(text);
    if (!Array.isArray(value.points)) throw new Error("it holds no list of points");
    if (value.space === "mm") throw new Error("it holds positions in mm; this page reads voxels");
    for (const { point, name } of value.points) {
      const isVoxel = Array.isArray(point) && point.length === 3 &&
        point.every((at, k) => Number.isInteger(at) && at >= 0 && at < STUDY.pet.size[k]);
      if (!isVoxel) throw new Error(`${JSON.stringify(point)} is no voxel of this PET`);
      if (name !== "tumor" && name !== "background") throw new Error(`${JSON.stringify(name)} is no name of a click`);
    }
    for (const { point, name } of value.points) this.add(name, [point]);
  }

  _change(isSaved) {
    this.isSaved = isSaved;
    this.onChange();
  }
}

function isSame(a, b) {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2];
}

/* Return the voxels on the line between two voxels, the first left out. */
function findBetween(a, b) {
  const steps = Math.max(...a.map((value, k) => Math.abs(b[k] - value)));
  return Array.from({ length: steps }, (_, i) => a.map((value, k) => Math.round(value + ((b[k] - value) * (i + 1)) / steps)));
}
