// Names the best classes of a picture by LiteRT.js, on the processor. `pixelsOf` is that of pictures.js.
import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const FILE = "model_int8_softmax_batch1.tflite";
await loadLiteRt("./node_modules/@litertjs/core/wasm/");
const model = await loadAndCompile(FILE, { accelerator: "wasm" });
const labels = (await (await fetch("labels.txt")).text()).trimEnd().split("\n");
const shape = [...model.getInputDetails()[0].shape]; // 1, height, width, channels

export async function probabilities(picture) {
  const [, height, width, channels] = shape;
  const image = new Tensor(await pixelsOf(picture, { height, width, channels, rowsFirst: true }), shape); // bytes, 0 to 255
  const [output] = await model.run([image]);
  const found = Float32Array.from(output.toTypedArray(), (value) => value / 256);
  image.delete(); // WebAssembly's memory is not collected
  output.delete();
  return found;
}

export async function best(picture, count = 3) {
  const shares = await probabilities(picture);
  const order = [...shares.keys()].sort((one, other) => shares[other] - shares[one]);
  return order.slice(0, count).map((number) => ({ name: labels[number], probability: shares[number] }));
}

document.getElementById("file").addEventListener("change", async ({ target }) => {
  const found = await best(target.files[0]);
  const texts = found.map(({ name, probability }) => `${name} ${(100 * probability).toFixed(1)} %`);
  document.getElementById("answer").textContent = texts.join(", ");
});
