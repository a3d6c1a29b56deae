"use strict";
/* The volumes in the page: base64 of gzip of NIfTI, each in a script element that is no script. */

const STUDY = JSON.parse(document.getElementById("study").textContent);
const [NX, NY, NZ] = STUDY.shown.size;
const HEADER_BYTES = 352;
const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array };

function decodeBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = letters.charCodeAt(k);
  return bytes;
}

/* Return {file, values, slope, intercept}, or null if the page has no such volume; its text leaves the page. */
async function readVolume(name) {
  const about = STUDY.volumes[name];
  if (!about) return null;
  const element = document.getElementById(`volume-${name}`);
  const packed = decodeBase64(element.textContent);
  element.remove();
  const inflated = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const file = await new Response(inflated).arrayBuffer();
  return { file, values: new ARRAYS[about.type](file, HEADER_BYTES), slope: about.slope, intercept: about.intercept };
}

/* Voxels of the shown grid and positions: LPS in mm, and places as fractions of the grid from edge to edge. */

function toPosition(grid, [x, y, z]) {
  return [0, 1, 2].map((k) => grid.origin[k] + grid.steps[k][0] * x + grid.steps[k][1] * y + grid.steps[k][2] * z);
}

function toIndex(grid, position) {
  const off = position.map((value, k) => value - grid.origin[k]);
  return grid.inverse.map((row) => row[0] * off[0] + row[1] * off[1] + row[2] * off[2]);
}

function toVoxel(fraction) {
  return [NX, NY, NZ].map((count, k) => Math.min(count - 1, Math.max(0, Math.floor(fraction[k] * count))));
}

function toFraction([x, y, z]) {
  return [(x + 0.5) / NX, (y + 0.5) / NY, (z + 0.5) / NZ];
}

function offset([x, y, z]) {
  return x + NX * (y + NY * z);
}

/* Return the voxel of the whole PET in which a voxel of the shown grid has its centre. */
function toPetVoxel(voxel) {
  const index = toIndex(STUDY.pet, toPosition(STUDY.shown, voxel));
  return index.map((value, k) => Math.min(STUDY.pet.size[k] - 1, Math.max(0, Math.round(value))));
}

function fromPosition(position) {
  return toIndex(STUDY.shown, position).map((value, k) =>
    Math.min(STUDY.shown.size[k] - 1, Math.max(0, Math.round(value))));
}

function fromPetVoxel(voxel) {
  return fromPosition(toPosition(STUDY.pet, voxel));
}
