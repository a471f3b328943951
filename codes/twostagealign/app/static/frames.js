// Thumbnails of the frames, of which one is chosen. Gradio calls this once, with `element`, `props`, `trigger` and
// `watch`; props.value describes the frames: see Session.frames. A choice triggers "select" with its `index`.
const root = element.querySelector(".tsa-frames");
const strip = root.querySelector(".strip");
let shown = "";

const choice = (frames, name, index) => {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "radio", name: "tsa-frame" });
  const image = Object.assign(new Image(), { src: `thumbnail/${frames.key}/${index}.png?v=${frames.loaded}`, alt: "" });
  const title = Object.assign(document.createElement("span"), { className: "name", textContent: name, title: name });
  const use = Object.assign(document.createElement("span"), { className: "use" });
  input.addEventListener("change", () => trigger("select", { index }));
  label.append(input, image, title, use);
  return label;
};

const update = () => {
  const frames = props.value;
  root.hidden = !frames?.key;
  if (root.hidden) return;
  const now = JSON.stringify([frames.loaded, frames.names]);
  if (now !== shown) strip.replaceChildren(...frames.names.map((name, index) => choice(frames, name, index)));
  shown = now;
  [...strip.children].forEach((label, index) => {
    label.querySelector("input").checked = index === frames.reference;
    const use = frames.used.includes(index) ? "used" : "not used";
    label.querySelector(".use").textContent = index === frames.reference ? "reference" : use;
  });
};

watch("value", update);
update();
