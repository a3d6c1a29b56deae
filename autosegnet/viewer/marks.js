"use strict";
/* A reader's clicks and scribbles, each a list of voxels of the whole PET, and the file that `--clicks` reads. */

class Marks {
  constructor() {
    this.list = []; // of {name: "tumor" or "background", points: [[x, y, z], …]}; never changed, only replaced
    this.past = []; // the lists before
    this.isSaved = true;
    this.onChange = () => {};
  }

  /* Start with clicks of an earlier round. */
  begin(list) {
    this.list = list;
    this.past = [];
    this.isSaved = true;
    this.onChange();
  }

  add(name, points) {
    const fresh = new Map(points.map((point) => [String(point), point]));
    // A voxel cannot be both: what was said last counts.
    const others = this.list
      .map((mark) => mark.name === name ? mark : { ...mark, points: mark.points.filter((old) => !fresh.has(String(old))) })
      .filter((mark) => mark.points.length);
    this._replace([...others, { name, points: [...fresh.values()] }]);
  }

  remove(place) {
    this._replace(this.list.filter((_, k) => k !== place));
  }

  undo() {
    if (!this.past.length) return;
    this.list = this.past.pop();
    this.isSaved = false;
    this.onChange();
  }

  _replace(list) {
    this.past.push(this.list);
    this.list = list;
    this.isSaved = false;
    this.onChange();
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
    this.isSaved = true;
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
    this._replace([...this.list, ...groupPoints(value.points)]);
  }
}

/* Return marks of points: those that follow and touch each other are one scribble. */
function groupPoints(points) {
  const marks = [];
  for (const { point, name } of points) {
    const last = marks.at(-1), near = last?.name === name ? last.points.at(-1) : null;
    if (near && point.every((at, k) => Math.abs(at - near[k]) <= 1)) last.points.push(point);
    else marks.push({ name, points: [point] });
  }
  return marks;
}

/* Return the voxels on the line between two voxels, the first left out. */
function findBetween(a, b) {
  const steps = Math.max(...a.map((value, k) => Math.abs(b[k] - value)));
  return Array.from({ length: steps }, (_, i) => a.map((value, k) => Math.round(value + ((b[k] - value) * (i + 1)) / steps)));
}
