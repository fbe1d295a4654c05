"use strict";
const byId = (id) => document.getElementById(id);
const element = (name, text, properties = {}) => Object.assign(document.createElement(name), { textContent: text }, properties);

function bars(file) {
  const rows = file.classes.map(({ class: name, probability }) => {
    const row = element("div", "", { className: "bar" });
    row.append(
      element("span", name, { title: name }),
      element("meter", "", { value: probability }),
      element("b", `${(100 * probability).toFixed(1)} %`)
    );
    return row;
  });
  return [element("h3", `${file.file}: ${file.milliseconds} ms`), ...rows];
}

function picture({ name, picture }) {
  const figure = element("figure", "");
  figure.append(element("img", "", { src: picture, alt: `a channel of ${name}` }), element("figcaption", name));
  return figure;
}

async function ask(file) {
  byId("problem").textContent = "";
  const response = await fetch("/picture", { method: "POST", body: file }).catch(() => null);
  const answer = response ? await response.json() : { error: "the server does not answer: is it still running?" };
  byId("answer").hidden = "error" in answer;
  if ("error" in answer) return void (byId("problem").textContent = answer.error);
  byId("image").src = answer.image;
  byId("heat").src = answer.heat;
  byId("files").replaceChildren(...answer.files.flatMap(bars));
  byId("stages").replaceChildren(...answer.stages.map(picture));
}

const drop = byId("drop");
byId("file").addEventListener("change", (event) => event.target.files.length && ask(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"])
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
  });
