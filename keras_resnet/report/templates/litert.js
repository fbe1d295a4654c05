// Answers of exported files, which LiteRT.js runs in this browser.
const TOP = 5; // classes that are shown
const ROUNDS = 9; // of which the time is the median
const ROUND = 5; // milliseconds at least: the clock of a browser is coarse
const network = JSON.parse(byId("network").textContent);
const models = {}; // promises of them, by file
const starting = start();
let shown = null; // the picture

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function start() {
  const runtime = liteRt(async (Library) => new Library(await ModuleFactory({ wasmBinary: await unpacked("wasm") })));
  await runtime.loadLiteRt(""); // from this page, no path
  return runtime;
}

async function compiled(file) {
  const runtime = await starting;
  return runtime.loadAndCompile(await unpacked(file.id), { accelerator: "wasm" });
}

async function answerOf(picture) {
  shown = picture;
  try {
    await starting;
  } catch (error) {
    return { error: `this browser cannot run LiteRT.js: ${error.message}` };
  }
  try {
    const pixels = await pixelsOf(picture, network);
    return { image: drawn(pixels), files: [await rowOf(network.files[byId("choice").value], pixels)] };
  } catch (error) {
    return { error: `this is not a readable image: ${error.message}` };
  }
}

async function rowOf(file, pixels) {
  try {
    const model = await (models[file.id] ??= compiled(file));
    const { Tensor } = await starting;
    const run = () => outputsOf(Tensor, model, file, pixels);
    return { file: file.name, classes: best(file, await run()), milliseconds: await milliseconds(run) };
  } catch (error) {
    return { file: file.name, problem: `${file.name}: ${error.message}`, classes: [] };
  }
}

// The outputs of a file by name, as real values: value = scale * (integer - zero point).
async function outputsOf(Tensor, model, { input, outputs }, pixels) {
  const { scale = 1, zero_point: zero = 0 } = input;
  const values = input.type === "uint8" ? new Uint8Array(Uint8ClampedArray.from(pixels, (value) => value / scale + zero)) : new Float32Array(pixels);
  const image = new Tensor(values, input.shape);
  const found = await model.run([image]);
  image.delete();
  const names = model.getOutputDetails().map(({ name }) => name);
  return Object.fromEntries(
    found.map((tensor, place) => {
      const { scale = 1, zero_point: zero = 0 } = outputs.find(({ name }) => name === names[place]);
      const values = Float32Array.from(tensor.toTypedArray(), (value) => scale * (value - zero));
      tensor.delete();
      return [names[place], values];
    })
  );
}

function best({ scores, outputs }, values) {
  const row = (number, probability) => ({ class: network.classes[number], probability });
  if (scores === "scores") return Array.from(values.classes, (number, place) => row(number, values.scores[place]));
  const found = values[outputs[0].name];
  const shares = scores === "logits" ? softmax(found) : found;
  const order = Array.from(shares.keys()).sort((one, other) => shares[other] - shares[one]);
  return order.slice(0, TOP).map((number) => row(number, shares[number]));
}

function softmax(logits) {
  const largest = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((one, other) => one + other, 0);
  return powers.map((power) => power / sum);
}

async function milliseconds(action) {
  const rounds = [];
  while (rounds.length < ROUNDS) {
    const started = performance.now();
    let runs = 0;
    do {
      await action();
      runs++;
    } while (performance.now() - started < ROUND);
    rounds.push((performance.now() - started) / runs);
  }
  return rounds.sort((one, other) => one - other)[Math.floor(ROUNDS / 2)].toFixed(2);
}

function drawn(pixels) {
  const { width, height, channels } = network;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++)
    for (let channel = 0; channel < 4; channel++)
      image.data[4 * i + channel] = channel === 3 ? 255 : pixels[channels * i + Math.min(channel, channels - 1)];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.toDataURL();
}

byId("choice").addEventListener("change", () => shown && ask(shown));
