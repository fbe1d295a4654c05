"use strict";
// The page to try a network. `answerOf`, of another script, gives what it shows for a picture.
let latest = 0; // of the pictures, the one whose answer is shown
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
  const title = "problem" in file ? file.problem : `${file.file}: ${file.milliseconds} ms`;
  return [element("h3", title), ...rows];
}

function picture({ name, picture }) {
  const figure = element("figure", "");
  figure.append(element("img", "", { src: picture, alt: `a channel of ${name}` }), element("figcaption", name));
  return figure;
}

async function ask(file) {
  const number = ++latest;
  byId("problem").textContent = "";
  const answer = await answerOf(file);
  if (number !== latest) return; // another picture was chosen in the meantime
  byId("answer").hidden = "error" in answer;
  if ("error" in answer) return void (byId("problem").textContent = answer.error);
  byId("image").src = answer.image;
  byId("files").replaceChildren(...answer.files.flatMap(bars));
  if (!("heat" in answer)) return; // no Keras network answers
  byId("heat").src = answer.heat;
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
