"use strict";

// Tables: a click on a header sorts by that column, numbers by value; the means stay below the clips.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.querySelector("button").addEventListener("click", () => {
      const numeric = header.classList.contains("number");
      const order = header.getAttribute("aria-sort") ?? (numeric ? "ascending" : "descending");
      const next = order === "ascending" ? "descending" : "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const compare = (a, b) => {
        const [first, second] = [a, b].map((row) => row.cells[column].dataset.value);
        if (first === "" || second === "") return (first === "") - (second === ""); // what is not known comes last
        return sign * (numeric ? Number(first) - Number(second) : first.localeCompare(second, "en", { numeric: true }));
      };
      for (const body of table.tBodies) body.append(...[...body.rows].sort(compare));
    });
  });
}

// Frames: two pictures under a divide that can be moved, zoomed together.
const MAX_ZOOM = 32;
const STEP = 0.1; // of the visible part, by which an arrow key moves
const REACH = 22; // pixels to each side of the divide where it is caught

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

for (const frame of document.querySelectorAll(".frame")) {
  const stage = frame.querySelector(".compare .stage");
  const layers = [...stage.querySelectorAll(".layer")];
  const split = frame.querySelector(".split");
  const picks = Object.fromEntries([...frame.querySelectorAll(".pick")].map((pick) => [pick.dataset.side, pick]));
  const view = { zoom: 1, x: 0, y: 0 }; // x, y: left and top of what is seen, in parts of the picture
  const pointers = new Map();
  let drag = null; // "divide", "picture" or null

  const draw = () => {
    view.x = clamp(view.x, 0, 1 - 1 / view.zoom);
    view.y = clamp(view.y, 0, 1 - 1 / view.zoom);
    for (const [name, value] of Object.entries(view)) frame.style.setProperty(`--${name}`, value);
    frame.classList.toggle("zoomed", view.zoom > 1);
    frame.querySelector("output").value = `${Number(view.zoom.toPrecision(2))}×`;
  };
  const name = (side) => picks[side].selectedOptions[0].textContent;
  const choose = () => {
    layers.forEach((layer, index) => {
      layer.classList.toggle("left", index === Number(picks.left.value));
      layer.classList.toggle("right", index === Number(picks.right.value) && picks.left.value !== picks.right.value);
    });
    for (const side of ["left", "right"]) stage.querySelector(`.tag.${side}`).textContent = name(side);
    moveDivide(Number(split.value));
  };
  const moveDivide = (percent) => {
    split.value = percent;
    frame.style.setProperty("--split", split.value);
    split.setAttribute("aria-valuetext", `${Math.round(split.value)} % ${name("left")}, the rest ${name("right")}`);
  };
  const zoomAt = (zoom, [x, y] = [0.5, 0.5]) => {
    const target = clamp(zoom, 1, MAX_ZOOM);
    view.x += x / view.zoom - x / target;
    view.y += y / view.zoom - y / target;
    view.zoom = target;
    draw();
  };
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...pointers.values()];
    return { size: Math.hypot(ax - bx, ay - by), middle: [(ax + bx) / 2, (ay + by) / 2] };
  };

  for (const pick of Object.values(picks)) pick.addEventListener("change", choose);
  split.addEventListener("input", () => moveDivide(Number(split.value)));

  const zooms = { in: () => zoomAt(2 * view.zoom), out: () => zoomAt(view.zoom / 2), reset: () => zoomAt(1) };
  for (const button of frame.querySelectorAll("[data-zoom]")) button.addEventListener("click", zooms[button.dataset.zoom]);

  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== stage) return; // the page scrolls
    event.preventDefault();
    zoomAt(view.zoom * 2 ** clamp(-event.deltaY / 200, -1, 1), place(event));
  }, { passive: false });

  frame.querySelector(".compare").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const zoom = { "+": zooms.in, "=": zooms.in, "-": zooms.out, "0": zooms.reset }[event.key];
    if (zoom) {
      zoom();
    } else if (event.target === stage && event.key in moves) {
      const [x, y] = moves[event.key];
      if (view.zoom === 1 && y) return; // the page scrolls
      if (view.zoom === 1) {
        moveDivide(Number(split.value) + 2 * x);
      } else {
        view.x += (STEP * x) / view.zoom;
        view.y += (STEP * y) / view.zoom;
        draw();
      }
    } else {
      return;
    }
    event.preventDefault();
  });

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = place(event);
    pointers.set(event.pointerId, [x, y]);
    stage.setPointerCapture(event.pointerId);
    const near = Math.abs(x - split.value / 100) * stage.clientWidth <= REACH;
    drag = near || view.zoom === 1 ? "divide" : "picture";
    if (drag === "divide" && pointers.size === 1) moveDivide(100 * x);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const [x, y] = place(event);
    const [oldX, oldY] = pointers.get(event.pointerId);
    const before = pointers.size === 2 ? spread() : null;
    pointers.set(event.pointerId, [x, y]);
    if (before) {
      const after = spread();
      zoomAt((view.zoom * after.size) / Math.max(before.size, 0.01), after.middle);
    } else if (drag === "divide") {
      moveDivide(100 * x);
    } else {
      view.x -= (x - oldX) / view.zoom;
      view.y -= (y - oldY) / view.zoom;
      draw();
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    stage.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  }

  // What belongs to one run is shown for the chosen one.
  const run = frame.querySelector(".run");
  const showRun = () => {
    for (const part of frame.querySelectorAll("[data-run]")) part.toggleAttribute("hidden", part.dataset.run !== (run?.value ?? "0"));
  };
  run?.addEventListener("change", showRun);
  showRun();
  choose();
  draw();
}
