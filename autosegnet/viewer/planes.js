"use strict";
/* The three planes. NiiVue lays them out, moves the crosshair and draws it; a shader of ours colours them.

   NiiVue by itself paints every voxel of every volume into a texture whenever a window changes: 15 s for 12.5 million
   voxels on a machine without a graphics card. So NiiVue is given a box of 2 x 2 x 2 voxels with the study's extent,
   and the shader looks PET, CT and lesions up in textures of their own and applies the windows to what is seen. */

const SHADER = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler3D;
uniform sampler3D petMap;
uniform sampler3D ctMap;
uniform sampler3D chanceMap;
uniform usampler3D lesionMap;
uniform vec2 suvWindow;
uniform vec2 huWindow;
uniform float blend;
uniform int mode;
uniform int maskShown;
uniform int picked;
uniform float rim;
in vec3 texPos;
out vec4 color;

uint lesionAt(vec3 place) {
  ivec3 size = textureSize(lesionMap, 0);
  return texelFetch(lesionMap, clamp(ivec3(floor(place * vec3(size))), ivec3(0), size - 1), 0).r;
}

float within(float value, vec2 window) {
  return clamp((value - window.x) / (window.y - window.x), 0.0, 1.0);
}

vec3 outline(vec3 seen, bool isLight) {
  vec3 right = dFdx(texPos) * rim, up = dFdy(texPos) * rim;
  uint here = lesionAt(texPos), other = 0u;
  for (int i = -1; i <= 1; i++)
    for (int j = -1; j <= 1; j++) {
      uint near = lesionAt(texPos + float(i) * right + float(j) * up);
      if (near != here) other = max(other, near);
    }
  if (here > 0u || other == 0u) return seen;
  return int(other) == picked ? vec3(1.0, 0.8, 0.0) : isLight ? vec3(0.89, 0.09, 0.2) : vec3(0.0, 0.88, 1.0);
}

void main() {
  float ct = within(texture(ctMap, texPos).r, huWindow);
  float pet = within(texture(petMap, texPos).r, suvWindow);
  vec3 seen = vec3(ct);
  if (mode == 0)
    seen = mix(seen, clamp(3.0 * pet - vec3(0.0, 1.0, 2.0), 0.0, 1.0), blend * clamp(2.5 * pet, 0.0, 1.0));
  if (mode == 1) seen = vec3(1.0 - pet);
  if (mode == 3) {
    float chance = texture(chanceMap, texPos).r;
    vec3 hue = mix(vec3(0.1, 0.2, 1.0), vec3(1.0, 0.2, 0.6), clamp(2.0 * chance, 0.0, 1.0));
    hue = mix(hue, vec3(1.0, 0.95, 0.3), clamp(2.0 * chance - 1.0, 0.0, 1.0));
    seen = mix(seen, hue, blend * clamp(4.0 * chance, 0.0, 1.0));
  }
  if (maskShown == 1) seen = outline(seen, mode == 1);
  color = vec4(seen, 1.0);
}`;
const MODES = { fusion: 0, pet: 1, ct: 2, probability: 3 };
const UNITS = { petMap: 11, ctMap: 12, chanceMap: 13, lesionMap: 14 };
const AXIS_OF_TILE = [2, 1, 0]; // of NiiVue's axial, coronal and sagittal tiles
const SLAB = 8; // planes that are converted together

class Planes {
  constructor(canvas, volumes) {
    this.canvas = canvas;
    this.volumes = volumes;
    this.shown = "all";
    this.frame = 0; // that is asked for
    this.onMove = () => {};
    this.onDraw = () => {};
  }

  async open() {
    this.nv = new niivue.Niivue({
      logLevel: "silent", backColor: [0, 0, 0, 1], multiplanarShowRender: 0, isRadiologicalConvention: true,
      sagittalNoseLeft: true, dragAndDropEnabled: false, crosshairWidthUnit: "mm", crosshairWidth: 0.8,
      crosshairColor: [0.3, 0.9, 0.3, 0.8], crosshairGap: 12, fontColor: [1, 0.85, 0.4, 1], fontMinPx: 12,
      fontSizeScaling: 0, clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "", loadingText: "",
    });
    await this.nv.attachToCanvas(this.canvas, false);
    this.nv.setMouseEventConfig({ leftButton: { primary: 8 }, rightButton: 3, centerButton: 3 });
    const box = await niivue.NVImage.new(this._makeBox(), "box.nii", "gray", 1, null, 0, 1);
    this.nv.addVolume(box);
    this.nv.setCustomSliceShader(SHADER);
    this._upload();
    this._follow();
    this.layOut();
    this.goTo([NX >> 1, NY >> 1, NZ >> 1]);
  }

  /* Return a NIfTI file of 2 x 2 x 2 voxels with the extent of the shown grid. */
  _makeBox() {
    const file = this.volumes.pet.file.slice(0, HEADER_BYTES + 8), header = new DataView(file);
    const counts = [NX, NY, NZ];
    for (let k = 0; k < 3; k++) {
      header.setInt16(42 + 2 * k, 2, true);
      header.setFloat32(80 + 4 * k, (header.getFloat32(80 + 4 * k, true) * counts[k]) / 2, true);
    }
    header.setInt16(70, 2, true);
    header.setInt16(72, 8, true);
    header.setFloat32(112, 1, true);
    header.setFloat32(116, 0, true);
    for (let row = 0; row < 3; row++) {
      const at = 280 + 16 * row;
      let first = header.getFloat32(at + 12, true);
      for (let k = 0; k < 3; k++) {
        const step = header.getFloat32(at + 4 * k, true);
        first += step * (counts[k] / 4 - 0.5);
        header.setFloat32(at + 4 * k, (step * counts[k]) / 2, true);
      }
      header.setFloat32(at + 12, first, true);
    }
    new Uint8Array(file, HEADER_BYTES).set([0, 1, 0, 1, 0, 1, 0, 1]);
    return file;
  }

  _upload() {
    const gl = this.nv.gl, { pet, ct, labels, probability } = this.volumes;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.textures = {
      petMap: this._uploadScaled(pet),
      ctMap: ct ? this._uploadScaled(ct) : this._uploadScaled(pet),
      chanceMap: probability ? this._uploadWhole(probability.values, gl.R8, gl.RED, gl.LINEAR) : null,
      lesionMap: labels.values instanceof Uint8Array
        ? this._uploadWhole(labels.values, gl.R8UI, gl.RED_INTEGER, gl.NEAREST)
        : this._uploadWhole(labels.values, gl.R16UI, gl.RED_INTEGER, gl.NEAREST),
    };
    this.textures.chanceMap ??= this.textures.petMap;
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
  }

  _makeTexture(format, filter) {
    const gl = this.nv.gl, texture = gl.createTexture();
    gl.activeTexture(gl.TEXTURE0 + UNITS.petMap);
    gl.bindTexture(gl.TEXTURE_3D, texture);
    gl.texStorage3D(gl.TEXTURE_3D, 1, format, NX, NY, NZ);
    for (const name of ["MIN_FILTER", "MAG_FILTER"]) gl.texParameteri(gl.TEXTURE_3D, gl[`TEXTURE_${name}`], filter);
    for (const axis of "STR") gl.texParameteri(gl.TEXTURE_3D, gl[`TEXTURE_WRAP_${axis}`], gl.CLAMP_TO_EDGE);
    return texture;
  }

  _uploadWhole(values, internal, format, filter) {
    const gl = this.nv.gl, texture = this._makeTexture(internal, filter);
    const type = values instanceof Uint8Array ? gl.UNSIGNED_BYTE : gl.UNSIGNED_SHORT;
    gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, NX, NY, NZ, format, type, values);
    return texture;
  }

  _uploadScaled({ values, slope, intercept }) {
    const gl = this.nv.gl, texture = this._makeTexture(gl.R16F, gl.LINEAR), plane = NX * NY;
    const scaled = new Float32Array(plane * SLAB);
    for (let z = 0; z < NZ; z += SLAB) {
      const depth = Math.min(SLAB, NZ - z), start = z * plane;
      for (let k = 0; k < plane * depth; k++) scaled[k] = values[start + k] * slope + intercept;
      gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, z, NX, NY, depth, gl.RED, gl.FLOAT, scaled);
    }
    return texture;
  }

  /* Take over what NiiVue would do by the voxels of its box. */
  _follow() {
    const { nv, canvas } = this, draw = nv.drawScene.bind(nv);
    nv.moveCrosshairInVox = (x, y, z) => this.step([x, y, z]);
    nv.drawScene = () => { this.frame ||= requestAnimationFrame(() => this._draw(draw)); }; // once for all changes
    nv.onLocationChange = () => this.onMove(this.voxel());
    for (const kind of ["dblclick", "keydown", "keyup"]) {
      canvas.addEventListener(kind, (event) => event.stopImmediatePropagation(), true);
    }
    canvas.addEventListener("wheel", (event) => this._wheel(event), { capture: true, passive: false });
    new ResizeObserver(() => this.layOut()).observe(canvas.parentElement);
  }

  _draw(draw) {
    const { gl } = this.nv;
    this.frame = 0;
    for (const [name, unit] of Object.entries(UNITS)) {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_3D, this.textures[name]);
    }
    draw();
    this.onDraw();
  }

  _wheel(event) {
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.ctrlKey || event.metaKey) {
      this.zoom(event.deltaY < 0 ? 1.25 : 0.8);
      return;
    }
    const tile = this.tileAt(event);
    if (!tile || !event.deltaY) return;
    const by = [0, 0, 0];
    by[AXIS_OF_TILE[tile.axCorSag]] = event.deltaY < 0 ? 1 : -1;
    this.step(by);
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect(), dpr = this.nv.uiData.dpr;
    return [(event.clientX - box.left) * dpr, (event.clientY - box.top) * dpr];
  }

  tileAt(event) {
    const [x, y] = this.place(event);
    return this.nv.screenSlices.find(({ leftTopWidthHeight: [left, top, width, height] }) =>
      x >= left && x < left + width && y >= top && y < top + height);
  }

  /* Return the voxel under the pointer, or null beside the body. */
  voxelAt(event) {
    const fraction = this.nv.canvasPos2frac(this.place(event));
    return fraction[0] < 0 ? null : toVoxel(fraction);
  }

  voxel() {
    return toVoxel(this.nv.scene.crosshairPos);
  }

  goTo(voxel, { centre = false } = {}) {
    toFraction(voxel).forEach((value, k) => { this.nv.scene.crosshairPos[k] = value; });
    if (centre) this._centre();
    this.onMove(voxel);
    this.nv.drawScene();
  }

  step(by) {
    const counts = [NX, NY, NZ];
    this.goTo(this.voxel().map((value, k) => Math.min(counts[k] - 1, Math.max(0, value + by[k]))));
  }

  zoom(factor) {
    const pan = this.nv.scene.pan2Dxyzmm, now = Math.min(16, Math.max(1, pan[3] * factor));
    pan[3] = now;
    this._centre();
    this.nv.drawScene();
  }

  /* Pan so that the crosshair is in the middle of each plane, or the whole body is seen if it is not enlarged. */
  _centre() {
    const pan = this.nv.scene.pan2Dxyzmm;
    const middle = this.nv.frac2mm([0.5, 0.5, 0.5]), at = this.nv.frac2mm(this.nv.scene.crosshairPos);
    for (let k = 0; k < 3; k++) pan[k] = pan[3] === 1 ? 0 : middle[k] - pan[3] * at[k];
  }

  /* Show "all" planes, or one: "axial", "coronal", "sagittal". */
  layOut(shown = this.shown) {
    this.shown = shown;
    if (!this.nv) return;
    const one = { axial: 0, coronal: 1, sagittal: 2 }[shown];
    this.nv.setCustomLayout(one === undefined ? this._layOutAll() : [{ sliceType: one, position: [0, 0, 1, 1] }]);
  }

  /* Return the arrangement in which the planes are seen largest. */
  _layOutAll() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    const [across, deep, tall] = STUDY.extent_mm;
    const sizes = [[across, deep], [across, tall], [deep, tall]]; // of axial, coronal, sagittal
    // The product of the three scales: no plane is made small for the sake of another.
    const measure = (layout) => layout.reduce((product, { sliceType, position: [, , w, h] }) =>
      product * Math.min((w * width) / sizes[sliceType][0], (h * height) / sizes[sliceType][1]), 1);
    const share = across / (across + deep);
    const beside = Math.min(0.62, ((height / tall) * (across + deep)) / width); // of coronal and sagittal
    const column = Math.min(0.5, ((height / tall) * across) / width); // of the coronal
    const top = Math.min(0.6, ((1 - column) * width * deep) / across / height), head = Math.min(0.6, (width * deep) / across / height);
    const layouts = [
      [[0, 0, 1 - beside, 1], [1 - beside, 0, beside * share, 1], [1 - beside * (1 - share), 0, beside * (1 - share), 1]],
      [[0, 0, 1 - column, top], [1 - column, 0, column, 1], [0, top, 1 - column, 1 - top]],
      [[0, 0, 1, head], [0, head, share, 1 - head], [share, head, 1 - share, 1 - head]],
    ].map((positions) => positions.map((position, sliceType) => ({ sliceType, position })));
    return layouts.reduce((best, layout) => (measure(layout) > measure(best) ? layout : best));
  }

  paint(look) {
    const { gl } = this.nv, shader = this.nv.customSliceShader, { uniforms } = shader;
    shader.use(gl);
    for (const [name, unit] of Object.entries(UNITS)) gl.uniform1i(uniforms[name], unit);
    gl.uniform2f(uniforms.suvWindow, look.suv[0], look.suv[1]);
    gl.uniform2f(uniforms.huWindow, look.hu[0], look.hu[1]);
    gl.uniform1f(uniforms.blend, look.opacity);
    gl.uniform1i(uniforms.mode, MODES[look.mode]);
    gl.uniform1i(uniforms.maskShown, look.mask ? 1 : 0);
    gl.uniform1i(uniforms.picked, look.picked);
    this.nv.opts.backColor = look.mode === "pet" ? [1, 1, 1, 1] : [0, 0, 0, 1];
    gl.uniform1f(uniforms.rim, Math.max(1, this.nv.uiData.dpr));
    this.nv.drawScene();
  }

  /* Yield where a voxel lies in the planes that show it: {x, y} in CSS pixels. */
  *findOnScreen(voxel) {
    const { nv } = this, now = this.voxel(), mm = nv.frac2mm(toFraction(voxel)), dpr = nv.uiData.dpr;
    for (const tile of nv.screenSlices) {
      if (now[AXIS_OF_TILE[tile.axCorSag]] !== voxel[AXIS_OF_TILE[tile.axCorSag]]) continue;
      const [across, up] = [[0, 1], [0, 2], [1, 2]][tile.axCorSag].map((k) => mm[k]);
      const [left, top, width, height] = tile.leftTopWidthHeight;
      const x = (across - tile.leftTopMM[0]) / tile.fovMM[0], y = 1 - (up - tile.leftTopMM[1]) / tile.fovMM[1];
      if (x >= 0 && x <= 1 && y >= 0 && y <= 1) yield { x: (left + x * width) / dpr, y: (top + y * height) / dpr };
    }
  }
}
