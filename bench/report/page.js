"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
let images = [];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value != null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/* ------------------------------------------------------------------------------------------------------- toggling */
function setTheme(name) {
  root.dataset.theme = name;
  dispatchEvent(new Event("redraw"));
}

/* Tables that are wider than the screen begin with the last generation, the one that people look for. */
function showLastGenerations() {
  for (const frame of document.querySelectorAll(".scores .scroll")) frame.scrollLeft = frame.scrollWidth;
}

function showStudy(number) {
  for (const part of document.querySelectorAll("[data-study]")) part.hidden = part.dataset.study !== String(number);
  showLastGenerations();
  dispatchEvent(new Event("redraw"));
}

function setUpScores(article) {
  const panels = [...article.querySelectorAll(".panel")];
  const show = (chosen) => { panels.forEach((panel, i) => { panel.hidden = i !== chosen; }); showLastGenerations(); };
  article.querySelector(".choice").addEventListener("change", (event) => show(Number(event.target.value)));
  show(0);
  for (const button of article.querySelectorAll(".toggles button")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      for (const part of article.querySelectorAll(`svg [data-condition="${button.dataset.condition}"]`))
        part.style.display = shown ? "" : "none";
    });
  }
}

function setUpCopying() {
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => {
      if (navigator.clipboard) navigator.clipboard.writeText(button.previousElementSibling.textContent).catch(() => {});
      button.textContent = "Copied";
    });
  }
}

/* -------------------------------------------------------------------------------------------------------- samples */
function setUpSamples(article, study) {
  if (!study.count) return;
  const find = (name) => article.querySelector(`.samples .${name}`);
  const state = { generation: study.start, probe: 0, seed: Number(find("seed").value), neighbours: false };
  const { side, count } = study;
  let timer = null;

  function sheet(condition, generation) { // [samples, neighbours] of one condition and generation, either of them null
    const k = study.conditions[condition].seeds.indexOf(state.seed);
    const entry = k < 0 ? null : study.sheets[condition][k][generation];
    return entry ? entry.map((i) => (i == null ? null : images[i])) : [null, null];
  }

  function drawTiles(canvas, [samples, neighbours]) {
    const width = canvas.parentElement.clientWidth, gap = 4;
    const most = Math.max(1, Math.min(count, Math.floor((width + gap) / (44 + gap))));
    const perRow = Math.ceil(count / Math.ceil(count / most)); // rows of equal length
    const tile = Math.min(count > 1 ? 112 : side, Math.floor((width + gap) / perRow) - gap), numRows = Math.ceil(count / perRow);
    const each = state.neighbours && neighbours ? 2 * tile + 2 : tile, ratio = devicePixelRatio || 1;
    const height = numRows * (each + gap) - gap;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.imageSmoothingEnabled = side > tile;
    for (let k = 0; k < count; k++) {
      const x = (k % perRow) * (tile + gap), y = Math.floor(k / perRow) * (each + gap);
      pen.drawImage(samples, k * side, 0, side, side, x, y, tile, tile);
      if (each > tile) pen.drawImage(neighbours, k * side, 0, side, side, x, y + tile + 2, tile, tile);
      if (k === state.probe && count > 1) {
        pen.strokeStyle = getComputedStyle(root).getPropertyValue("--accent");
        pen.lineWidth = 2.5;
        pen.strokeRect(x + 1.25, y + 1.25, tile - 2.5, each - 2.5);
      }
    }
    const at = (event) => {
      const column = Math.floor(event.offsetX / (tile + gap));
      const k = column + perRow * Math.floor(event.offsetY / (each + gap));
      return column < perRow && k < count ? k : null;
    };
    canvas.onmousemove = (event) => { const k = at(event); canvas.title = k == null || count === 1 ? "" : `sample ${k + 1}`; };
    canvas.onclick = (event) => { const k = at(event); if (k != null) { state.probe = k; draw(); } };
  }

  function drawPath() {
    if (find("probe")) find("probe").textContent = `sample ${state.probe + 1} of ${count}`;
    const cell = (condition, generation) => {
      const [samples] = sheet(condition, generation);
      if (!samples) return make("td", { class: "gone" }, "–");
      const label = `${study.conditions[condition].label}, generation ${study.generations[generation]}`;
      const canvas = make("canvas", { width: 168, height: 168, role: "img", "aria-label": label, title: label });
      const pen = canvas.getContext("2d");
      pen.imageSmoothingEnabled = side > 168;
      pen.drawImage(samples, state.probe * side, 0, side, side, 0, 0, 168, 168);
      return make("td", generation === state.generation ? { class: "now" } : {}, canvas);
    };
    const head = make("tr", {}, make("th", { scope: "col" }, study.axis),
      ...study.generations.map((g) => make("th", { scope: "col" }, `gen ${g}`)));
    const rows = study.conditions.map((c, i) => make("tr", {}, make("th", { scope: "row" }, c.label),
      ...study.generations.map((_, generation) => cell(i, generation))));
    find("path").replaceChildren(make("table", {}, head, ...rows));
    const now = find("path").querySelector("td.now"); // the chosen generation stays in view
    if (now) find("path").scrollLeft = now.offsetLeft + now.offsetWidth / 2 - find("path").clientWidth / 2;
  }

  function draw() {
    if (article.hidden) return;
    const now = study.generations[state.generation];
    find("now").textContent = now;
    find("generation").value = state.generation;
    if (find("neighbours")) find("about-neighbours").hidden = !state.neighbours;
    [...find("browser").children].forEach((row, i) => {
      const tiles = row.querySelector(".tiles"), both = sheet(i, state.generation);
      if (!both[0]) return tiles.replaceChildren(make("p", { class: "gone" }, "no samples of this generation and seed"));
      let canvas = tiles.querySelector("canvas");
      if (!canvas) tiles.replaceChildren(canvas = make("canvas", { role: "img" }));
      canvas.setAttribute("aria-label", `samples of ${study.conditions[i].label} at generation ${now}`);
      drawTiles(canvas, both);
    });
    drawPath();
  }

  function play(on) {
    clearInterval(timer);
    timer = on ? setInterval(() => { state.generation = (state.generation + 1) % study.generations.length; draw(); }, 700) : null;
    find("play").textContent = on ? "Pause" : "Play";
    find("play").setAttribute("aria-pressed", String(on));
  }

  const step = (by) => { state.probe = (state.probe + by + count) % count; draw(); };
  find("back")?.addEventListener("click", () => step(-1));
  find("next")?.addEventListener("click", () => step(1));
  find("play").addEventListener("click", () => play(!timer));
  find("seed").addEventListener("change", (event) => { state.seed = Number(event.target.value); draw(); });
  find("generation").addEventListener("input", (event) => { play(false); state.generation = Number(event.target.value); draw(); });
  find("neighbours")?.addEventListener("change", (event) => { state.neighbours = event.target.checked; draw(); });
  addEventListener("redraw", draw);
}

/* ---------------------------------------------------------------------------------------------------------- start */
(async () => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => setTheme(root.dataset.theme === "dark" ? "light" : "dark"));
  document.getElementById("study")?.addEventListener("change", (event) => showStudy(event.target.value));
  images = await Promise.all(data.uris.map(async (uri) => { const image = new Image(); image.src = uri; await image.decode(); return image; }));
  document.querySelectorAll("article").forEach((article, i) => { setUpScores(article); setUpSamples(article, data.studies[i]); });
  setUpCopying();
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => dispatchEvent(new Event("redraw")), 120); });
  showStudy(0);
  root.dataset.ready = "yes";
})();
