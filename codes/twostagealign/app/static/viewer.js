// The picture before and after restoration, in tiles, with a divide and zoom. Gradio calls this once, with `element`,
// `props` and `watch`; props.value describes the picture: see Session.view.
const TILE = 512;
const MAX_SCALE = 32; // screen pixels per pixel of the picture
const STEP = 0.1; // of the visible part, by which an arrow key moves
const REACH = 24; // screen pixels to each side of the divide where it is caught
const RETRY = 1000; // milliseconds

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const root = element.querySelector(".tsa-viewer");
const stage = root.querySelector(".stage");
const canvas = root.querySelector("canvas");
const split = root.querySelector(".split");
const output = root.querySelector("output");
const select = root.querySelector("select");
const context = canvas.getContext("2d");

let picture = null;
let matches = null; // per frame: [x, y, dx, dy] of each patch
const view = { scale: 1, x: 0, y: 0 }; // screen pixels per pixel of the picture; its pixel at the top left
const tiles = new Map(); // "side/level/row/column" -> { url, image, loading }
const pointers = new Map();
let drag = null; // "divide" or "picture"
let scheduled = false;
let fitted = true; // the whole picture is shown, and stays so when the page changes its width

const box = () => ({ width: stage.clientWidth, height: stage.clientHeight });
const fitScale = () => Math.min(box().width / picture.width, box().height / picture.height);
const isFit = () => view.scale <= fitScale() * 1.001;
const density = () => window.devicePixelRatio || 1;
const leastScale = () => Math.min(fitScale(), 1 / density());
const levels = () => Math.max(0, Math.ceil(Math.log2(Math.max(picture.width, picture.height) / TILE)));
const levelFor = (scale) => clamp(Math.floor(Math.log2(1 / (scale * density())) + 0.01), 0, levels());

const place = () => {
  const { width, height } = box();
  const centre = (whole, seen, start) => (whole <= seen ? (whole - seen) / 2 : clamp(start, 0, whole - seen));
  const scale = fitted ? fitScale() : view.scale;
  view.scale = clamp(scale, leastScale(), Math.max(MAX_SCALE, fitScale()));
  view.x = centre(picture.width, width / view.scale, view.x);
  view.y = centre(picture.height, height / view.scale, view.y);
};

const draw = () => {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    if (picture && stage.clientWidth) paint();
  });
};

const tile = (side, level, row, column) => {
  const name = `${side}/${level}/${row}/${column}`;
  const version = side === "after" ? picture.version : picture.opened;
  const url = `picture/${picture.key}/${name}.png?v=${version}&${side === "after" ? picture.look : picture.tone}`;
  let known = tiles.get(name);
  if (!known) tiles.set(name, (known = {}));
  if (known.url !== url && known.loading !== url) {
    known.loading = url;
    const image = new Image();
    image.onload = () => {
      if (known.loading === url) Object.assign(known, { url, image, loading: null });
      draw();
    };
    image.onerror = () => {
      if (known.loading === url) setTimeout(() => { known.loading = null; draw(); }, RETRY);
    };
    image.src = url;
  }
  return known.image;
};

const paintLayer = (side, level) => {
  const step = TILE * 2 ** level;
  const { width, height } = box();
  const last = (whole, seen, start) => Math.min(Math.ceil(whole / step), Math.ceil((start + seen / view.scale) / step));
  for (let row = Math.max(0, Math.floor(view.y / step)); row < last(picture.height, height, view.y); row++) {
    for (let column = Math.max(0, Math.floor(view.x / step)); column < last(picture.width, width, view.x); column++) {
      const image = tile(side, level, row, column);
      if (!image) continue;
      const [x, y] = [column * step, row * step];
      const [w, h] = [Math.min(step, picture.width - x), Math.min(step, picture.height - y)];
      context.drawImage(image, (x - view.x) * view.scale, (y - view.y) * view.scale, w * view.scale, h * view.scale);
    }
  }
};

const paintMatches = () => {
  const lines = matches?.[select.value];
  if (!lines) return;
  context.lineWidth = 1.5;
  for (const [colour, width] of [["#000", 3.5], ["#ffd60a", 1.5]]) {
    context.strokeStyle = colour;
    context.fillStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [x, y, dx, dy] of lines) {
      const [left, top] = [(x - view.x) * view.scale, (y - view.y) * view.scale];
      context.moveTo(left, top);
      context.lineTo(left + dx * view.scale, top + dy * view.scale);
      context.moveTo(left + width, top);
      context.arc(left, top, width, 0, 2 * Math.PI);
    }
    context.stroke();
  }
};

const paint = () => {
  const { width, height } = box();
  const ratio = density();
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  place();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const level = levelFor(view.scale);
  context.imageSmoothingEnabled = view.scale * ratio < 1.5;
  const at = picture.restored ? (width * split.value) / 100 : width;
  for (const [side, start, length] of [["before", 0, at], ["after", at, width - at]]) {
    if (length <= 0) continue;
    context.save();
    context.beginPath();
    context.rect(start, 0, length, height);
    context.clip();
    const whole = levelFor(fitScale());
    if (level !== whole) paintLayer(side, whole); // until the finer tiles are there
    paintLayer(side, level);
    context.restore();
  }
  paintMatches();
  if (picture.restored) {
    context.strokeStyle = "rgb(0 0 0 / 60%)"; // shows on white, too
    context.lineWidth = 1;
    context.fillStyle = "#fff";
    context.strokeRect(at - 1.5, -1, 3, height + 2);
    context.fillRect(at - 1, 0, 2, height);
    context.beginPath();
    context.arc(at, height / 2, 11, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    context.fillStyle = "#222";
    context.font = "bold 11px sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("↔", at, height / 2 + 1);
  }
  stage.classList.toggle("zoomed", !isFit());
  output.value = `${Math.round(100 * view.scale * ratio)} %`;
};

const layout = () => {
  if (!picture) return;
  stage.style.aspectRatio = `${picture.width} / ${picture.height}`;
  root.hidden = false;
  draw();
};

const moveDivide = (percent) => {
  split.value = clamp(percent, 0, 100);
  const value = Math.round(split.value);
  split.setAttribute("aria-valuetext", `${value} % before, ${100 - value} % after`);
  draw();
};

const zoomTo = (scale, x = box().width / 2, y = box().height / 2) => {
  const target = clamp(scale, leastScale(), Math.max(MAX_SCALE, fitScale()));
  view.x += x / view.scale - x / target;
  view.y += y / view.scale - y / target;
  view.scale = target;
  fitted = Math.abs(target / fitScale() - 1) < 0.001;
  draw();
};

const move = (dx, dy) => {
  view.x += dx / view.scale;
  view.y += dy / view.scale;
  draw();
};

const zooms = {
  in: () => zoomTo(2 * view.scale),
  out: () => zoomTo(view.scale / 2),
  fit: () => zoomTo(fitScale()),
  pixels: () => zoomTo(1 / density()),
};
for (const button of root.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", zooms[button.dataset.zoom]);
}
split.addEventListener("input", () => moveDivide(Number(split.value)));

stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !picture) return;
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const zoom = { "+": zooms.in, "=": zooms.in, "-": zooms.out, 0: zooms.fit, 1: zooms.pixels }[event.key];
  if (zoom) {
    zoom();
  } else if (event.key in moves) {
    const [x, y] = moves[event.key];
    if (!isFit()) move(STEP * x * box().width, STEP * y * box().height);
    else if (x) moveDivide(Number(split.value) + 2 * x);
    else return; // the page scrolls
  } else {
    return;
  }
  event.preventDefault();
});

const at = (event) => {
  const { left, top } = stage.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};
stage.addEventListener("wheel", (event) => {
  if (!picture || (!event.ctrlKey && document.activeElement !== stage)) return; // the page scrolls
  event.preventDefault();
  zoomTo(view.scale * 2 ** clamp(-event.deltaY / 200, -1, 1), ...at(event));
}, { passive: false });

const spread = () => {
  const [[ax, ay], [bx, by]] = [...pointers.values()];
  return { size: Math.hypot(ax - bx, ay - by), middle: [(ax + bx) / 2, (ay + by) / 2] };
};
stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || !picture) return;
  const [x, y] = at(event);
  pointers.set(event.pointerId, [x, y]);
  stage.setPointerCapture(event.pointerId);
  const near = Math.abs(x - (split.value / 100) * box().width) <= REACH;
  drag = near || isFit() ? "divide" : "picture";
  if (drag === "divide" && pointers.size === 1) moveDivide((100 * x) / box().width);
});
stage.addEventListener("pointermove", (event) => {
  if (!pointers.has(event.pointerId)) return;
  const [x, y] = at(event);
  const [oldX, oldY] = pointers.get(event.pointerId);
  const before = pointers.size === 2 ? spread() : null;
  pointers.set(event.pointerId, [x, y]);
  if (before) {
    const after = spread();
    zoomTo((view.scale * after.size) / Math.max(before.size, 1), ...after.middle);
  } else if (drag === "divide") {
    moveDivide((100 * x) / box().width);
  } else {
    move(oldX - x, oldY - y);
  }
});
for (const kind of ["pointerup", "pointercancel"]) {
  stage.addEventListener(kind, (event) => pointers.delete(event.pointerId));
}

const showMatches = async () => {
  matches = null;
  if (select.value && picture?.matches) {
    const answer = await fetch(`matches/${picture.key}.json?v=${picture.version}`);
    if (answer.ok) matches = await answer.json();
  }
  draw();
};
select.addEventListener("change", showMatches);

const update = (value) => {
  const before = picture;
  picture = value?.key ? value : null;
  root.hidden = !picture || root.hidden;
  if (!picture) return;
  if (before?.opened !== picture.opened) {
    tiles.clear();
    matches = null;
    fitted = true;
  }
  canvas.setAttribute("aria-label", picture.alt);
  stage.querySelector(".tag.right").hidden = !picture.restored;
  const frames = picture.matches ?? [];
  root.querySelector(".shifts").hidden = !frames.length;
  if (String(frames) !== String(before?.matches ?? [])) {
    select.replaceChildren(new Option("no frame", ""), ...frames.map((name, index) => new Option(name, index)));
    showMatches();
  }
  layout();
};

new ResizeObserver(layout).observe(element);
watch("value", () => update(props.value));
update(props.value);
