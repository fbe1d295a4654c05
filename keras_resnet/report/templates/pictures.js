// Turns a picture into the pixels of a network, as data/images.py does. The resize is Pillow's, in its integers: a canvas has another.
const MOST_PIXELS = 2 ** 26; // of a picture
const STRIP = 2 ** 20; // pixels that are read at a time: phones refuse a large canvas
const TALLEST = 2048; // rows of a canvas or texture
const BITS = 22; // of Pillow's weights, after the point
const PLAIN = { premultiplyAlpha: "none", colorSpaceConversion: "none" };

async function pixelsOf(file, { height, width, channels, rowsFirst }) {
  const bitmap = await createImageBitmap(file, { ...PLAIN, imageOrientation: "from-image" });
  try {
    if (bitmap.width * bitmap.height > MOST_PIXELS) throw new Error(`at most ${MOST_PIXELS} pixels are read, make it smaller`);
    const box = covered(bitmap.width, bitmap.height, width / height);
    const columns = sources(bitmap.width, box.left, box.right, width);
    const rows = sources(bitmap.height, box.top, box.bottom, height);
    const isRowsFirst = rowsFirst && bitmap.height > height && bitmap.height - height > 2 * (bitmap.width - width);
    const sums = rows.map(() => new Int32Array((isRowsFirst ? bitmap.width : width) * channels).fill(2 ** (BITS - 1)));
    for await (const [number, line] of linesOf(bitmap, channels))
      add(sums, rows, number, isRowsFirst ? line : narrowed(line, columns, channels));
    const lines = sums.map((sum) => Uint8Array.from(sum, rounded));
    const pixels = new Uint8Array(height * width * channels);
    lines.forEach((line, row) => pixels.set(isRowsFirst ? narrowed(line, columns, channels) : line, row * width * channels));
    return pixels;
  } finally {
    bitmap.close();
  }
}

const rounded = (sum) => Math.min(sum >> BITS, 255);

// The centre of that ratio, as ImageOps.fit finds it.
function covered(width, height, ratio) {
  const own = width / height;
  const [wide, high] = own === ratio ? [width, height] : own > ratio ? [ratio * height, height] : [width, width / ratio];
  const [left, top] = [(width - wide) * 0.5, (height - high) * 0.5];
  return { left, top, right: left + wide, bottom: top + high };
}

// For each of `count` places between start and end, the first of the pixels that it is made of, and their weights.
function sources(size, start, end, count) {
  const [first, last] = [Math.fround(start), Math.fround(end)];
  const isSame = count === size && first === 0 && last === size;
  const scale = Math.fround(last - first) / count;
  const reach = Math.max(scale, 1);
  return Array.from({ length: count }, (_, place) => {
    if (isSame) return { from: place, weights: [2 ** BITS] };
    const centre = first + (place + 0.5) * scale;
    const from = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const length = Math.min(Math.trunc(centre + reach + 0.5), size) - from;
    const shares = Array.from({ length }, (_, i) => Math.max(1 - Math.abs((i + from - centre + 0.5) * (1 / reach)), 0));
    const sum = shares.reduce((one, other) => one + other, 0);
    return { from, weights: shares.map((share) => Math.trunc(0.5 + (share / sum) * 2 ** BITS)) };
  });
}

// Adds a line of the picture to each row that it is part of.
function add(sums, rows, number, line) {
  rows.forEach(({ from, weights }, row) => {
    const weight = weights[number - from];
    if (weight) for (let i = 0; i < line.length; i++) sums[row][i] += weight * line[i];
  });
}

function narrowed(line, columns, channels) {
  const result = new Uint8Array(columns.length * channels);
  columns.forEach(({ from, weights }, column) => {
    for (let channel = 0; channel < channels; channel++) {
      let sum = 2 ** (BITS - 1);
      for (let i = 0; i < weights.length; i++) sum += weights[i] * line[(from + i) * channels + channel];
      result[column * channels + channel] = rounded(sum);
    }
  });
  return result;
}

// The lines of a picture with their numbers, grey as Pillow makes it, or in colour; transparency is dropped.
async function* linesOf(bitmap, channels) {
  const { width, height } = bitmap;
  const rows = Math.min(height, TALLEST, Math.max(1, Math.floor(STRIP / width)));
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    let strip = context.getImageData(0, 0, width, count).data;
    if (!isOpaque(strip)) strip = await unblended(bitmap, top, count);
    for (let row = 0; row < count; row++)
      yield [top + row, (channels === 1 ? grey : colour)(strip.subarray(row * width * 4, (row + 1) * width * 4))];
  }
}

function isOpaque(strip) {
  for (let alpha = 3; alpha < strip.length; alpha += 4) if (strip[alpha] < 255) return false;
  return true;
}

function grey(strip) {
  const line = new Uint8Array(strip.length / 4);
  for (let i = 0, at = 0; i < line.length; i++, at += 4)
    line[i] = (strip[at] * 19595 + strip[at + 1] * 38470 + strip[at + 2] * 7471 + 0x8000) >> 16;
  return line;
}

function colour(strip) {
  const line = new Uint8Array((strip.length / 4) * 3);
  for (let i = 0, at = 0; i < line.length; at += 4) for (let channel = 0; channel < 3; channel++) line[i++] = strip[at + channel];
  return line;
}

// Lines of a picture with transparency: a canvas keeps their colours only in part.
async function unblended(bitmap, top, count) {
  const strip = await createImageBitmap(bitmap, 0, top, bitmap.width, count, PLAIN);
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl || Math.max(strip.width, count) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) throw new Error("this browser cannot read its transparency");
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, strip);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const pixels = new Uint8Array(strip.width * count * 4);
  gl.readPixels(0, 0, strip.width, count, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  gl.getExtension("WEBGL_lose_context")?.loseContext(); // a browser keeps few
  strip.close();
  return pixels;
}
