"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const NS = "http://www.w3.org/2000/svg";
const state = { study: 0, measure: 0, seed: "all", hidden: new Set(), log: false, generation: 0, sampleSeed: 0, probe: 0, neighbours: false };
let S = D.studies[0];
let pictures = [];

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((c) => c != null));
  return node;
}
function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const colour = (i) => `var(--c${i})`;
const mean = (v) => v.reduce((a, b) => a + b, 0) / v.length;
function places(values) {
  const most = Math.max(0, ...values.map(Math.abs));
  return most < 10 ? 2 : most < 100 ? 1 : 0;
}
const show = (v, p) => (v == null ? "–" : v.toFixed(p));
const options = (select, entries, chosen) =>
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value, selected: String(value) === String(chosen) }, text)));
const valuesAt = (m, c, g, seed) => {
  const all = S.values[m][c].map((line) => line[g]);
  return (seed === "all" ? all : [all[S.conditions[c].seeds.indexOf(Number(seed))]]).filter((v) => v != null);
};
const visible = () => S.conditions.map((_, i) => i).filter((i) => !state.hidden.has(i));

/* ------------------------------------------------------------------------------------------------- theme and colours */
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  const ramp = name === "dark" ? "dark" : "light";
  S.conditions.forEach((c, i) => document.documentElement.style.setProperty(`--c${i}`, c[ramp]));
  S.origins.forEach((o, i) => document.documentElement.style.setProperty(`--o${i}`, i === 0 ? "var(--real)" : o[ramp]));
}
$("theme").addEventListener("click", () => { setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); drawHeat(); drawSamples(); });

/* ----------------------------------------------------------------------------------------------------------- summary */
function drawSummary() {
  $("eyebrow").textContent = [S.protocol, `setting ${S.hash}`, `${S.numChains} chains`, S.seedsText].join(" · ");
  $("title").textContent = S.title;
  $("lead").textContent = S.lead;
  $("rule").textContent = S.rule;
  $("verdicts").replaceChildren(...S.conditions.map((c, i) => make("div", { class: "verdict", style: `--c:${colour(i)}` },
    make("i"), make("span", { class: "name" }, c.label), make("span", { class: `badge ${c.verdict.kind}` }, c.verdict.badge),
    make("span", { class: "words" }, c.verdict.words), sparkline(i))));
  $("notes").replaceChildren(...S.notes.map((n) => make("li", {}, n)));
}
function sparkline(c) {
  const all = S.conditions.flatMap((_, i) => S.generations.map((_, g) => valuesAt(0, i, g, "all")).filter((v) => v.length).map(mean));
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const points = S.generations.map((_, g) => valuesAt(0, c, g, "all")).map((v, g) => [g, v]).filter(([, v]) => v.length)
    .map(([g, v]) => `${4 + 72 * g / Math.max(1, S.generations.length - 1)},${24 - 20 * (mean(v) - low) / (high - low || 1)}`);
  const name = `${S.measures[0].name} by generation`;
  return draw("svg", { width: 80, height: 28, role: "img", "aria-label": name },
    draw("polyline", { points: points.join(" "), fill: "none", stroke: colour(c), "stroke-width": 2, "stroke-linejoin": "round" }));
}

/* ------------------------------------------------------------------------------------------------------------ charts */
function ticks(low, high, count = 5) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((f) => f >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-6; v += step) found.push(Number(v.toPrecision(12)));
  return found;
}
function logTicks(low, high) {
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const f of [1, 2, 5]) if (f * 10 ** p >= low && f * 10 ** p <= high) found.push(Number((f * 10 ** p).toPrecision(6)));
  return found;
}
function frame(host, { height, x, y, xTicks, xLabel, yLabel, log, label }) {
  const width = Math.max(280, host.clientWidth), left = 52, right = 16, top = 22, bottom = 40;
  const f = log ? Math.log10 : (v) => v;
  const X = (v) => left + (width - left - right) * (v - x[0]) / (x[1] - x[0] || 1);
  const Y = (v) => height - bottom - (height - top - bottom) * (f(v) - f(y[0])) / (f(y[1]) - f(y[0]) || 1);
  const root = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
  for (const t of log ? logTicks(...y) : ticks(...y)) {
    root.append(draw("line", { class: "gridline", x1: left, x2: width - right, y1: Y(t), y2: Y(t) }));
    root.append(Object.assign(draw("text", { x: left - 8, y: Y(t) + 4, "text-anchor": "end" }), { textContent: String(t) }));
  }
  for (const t of xTicks) root.append(Object.assign(draw("text", { x: X(t), y: height - bottom + 18, "text-anchor": "middle" }), { textContent: String(t) }));
  root.append(draw("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
  root.append(Object.assign(draw("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }), { textContent: xLabel }));
  root.append(Object.assign(draw("text", { x: 4, y: 12 }), { textContent: yLabel }));
  host.replaceChildren(root);
  return { root, X, Y, width, left, right, top, bottom, height };
}
const MARKS = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.3 * r}l${1.3 * r},${1.3 * r}l${-1.3 * r},${1.3 * r}l${-1.3 * r},${-1.3 * r}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}l${1.2 * r},${2.2 * r}h${-2.4 * r}z`,
  (x, y, r) => `M${x},${y + 1.2 * r}l${1.2 * r},${-2.2 * r}h${-2.4 * r}z`,
];
const DASHES = ["", "8 3", "2 3", "9 3 2 3", "5 3"];
const mark = (i, x, y, r = 4) => draw("path", { d: MARKS[i % MARKS.length](x, y, r), fill: colour(i), stroke: "var(--card)", "stroke-width": 1, class: "point" });
function pad(low, high, zero) {
  const span = high - low || Math.abs(high) || 1;
  return [zero ? 0 : low - 0.06 * span, high + 0.06 * span];
}
function drawCurves() {
  const m = S.measures[state.measure], shown = visible();
  const lines = shown.map((c) => S.generations.map((g, j) => [g, valuesAt(state.measure, c, j, state.seed)]).filter(([, v]) => v.length));
  const every = lines.flatMap((line) => line.flatMap(([, v]) => v)).concat(m.floor == null ? [] : [m.floor]);
  if (!every.length) return void $("curves").replaceChildren(make("p", { class: "gone" }, "Nothing is selected."));
  const log = state.log && Math.min(...every) > 0;
  const y = log ? [Math.min(...every) * 0.85, Math.max(...every) * 1.15] : pad(Math.min(0, ...every), Math.max(...every), Math.min(...every) >= 0);
  const gs = S.generations;
  const F = frame($("curves"), { height: 360, x: [gs[0], gs.at(-1)], y, xTicks: gs, xLabel: "generation", yLabel: m.title, log, label: `${m.title} against generation` });
  if (m.floor != null) {
    F.root.append(draw("line", { class: "floor", x1: F.left, x2: F.width - F.right, y1: F.Y(m.floor), y2: F.Y(m.floor) }));
    F.root.append(Object.assign(draw("text", { x: F.width - F.right, y: F.Y(m.floor) - 6, "text-anchor": "end" }), { textContent: "real images" }));
  }
  shown.forEach((c, k) => {
    const line = lines[k];
    if (line.some(([, v]) => v.length > 1)) {
      const d = line.map(([g, v], j) => `${j ? "L" : "M"}${F.X(g)},${F.Y(Math.max(...v))}`).join("") + [...line].reverse().map(([g, v]) => `L${F.X(g)},${F.Y(Math.min(...v))}`).join("") + "z";
      F.root.append(draw("path", { d, fill: colour(c), opacity: 0.14, class: "band" }));
    }
    const d = line.map(([g, v], j) => `${j ? "L" : "M"}${F.X(g)},${F.Y(mean(v))}`).join("");
    F.root.append(draw("path", { d, fill: "none", stroke: colour(c), "stroke-width": 2.2, "stroke-linejoin": "round", "stroke-dasharray": DASHES[c % DASHES.length], class: "curve" }));
  });
  shown.forEach((c, k) => lines[k].forEach(([g, v]) => F.root.append(mark(c, F.X(g), F.Y(mean(v))))));
  crosshair(F, m, shown);
  const many = S.conditions.some((c) => c.seeds.length > 1) && state.seed === "all";
  $("curves-note").textContent = `${m.featureSpace} · against ${m.reference} · ${m.sizes}` + (many ? " · lines: mean over seeds, bands: their range" : state.seed === "all" ? " · a single seed" : ` · seed ${state.seed}`);
}
function crosshair(F, m, shown) {
  const bar = draw("line", { class: "cross", y1: F.top, y2: F.height - F.bottom, visibility: "hidden" });
  F.root.append(bar);
  F.root.setAttribute("tabindex", "0");
  let at = 0;
  const p = places(S.values[state.measure].flat(2).filter((v) => v != null));
  const point = (j, x, y) => {
    at = j;
    const g = S.generations[j];
    for (const end of ["x1", "x2"]) bar.setAttribute(end, F.X(g));
    bar.setAttribute("visibility", "visible");
    const rows = shown.map((c) => [c, valuesAt(state.measure, c, j, state.seed)]).filter(([, v]) => v.length).sort((a, b) => mean(b[1]) - mean(a[1]));
    tip([make("b", {}, `generation ${g}`), ...rows.map(([c, v]) => make("div", { style: `--c:${colour(c)}` }, make("i"), S.conditions[c].label, show(mean(v), p)))], x, y);
  };
  const hide = () => { bar.setAttribute("visibility", "hidden"); $("tip").hidden = true; };
  F.root.addEventListener("pointermove", (e) => {
    const box = F.root.getBoundingClientRect(), x = (e.clientX - box.left) * F.width / box.width;
    const j = S.generations.map((g) => Math.abs(F.X(g) - x)).reduce((best, d, i, all) => (d < all[best] ? i : best), 0);
    point(j, e.clientX, e.clientY);
  });
  F.root.addEventListener("pointerleave", hide);
  F.root.addEventListener("blur", hide);
  F.root.addEventListener("keydown", (e) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!step) return;
    e.preventDefault();
    const j = Math.min(S.generations.length - 1, Math.max(0, at + step)), box = F.root.getBoundingClientRect();
    point(j, box.left + F.X(S.generations[j]) * box.width / F.width, box.top + 40);
  });
}
function tip(nodes, x, y) {
  const t = $("tip");
  t.replaceChildren(...nodes);
  t.hidden = false;
  t.style.left = `${Math.min(x + 14, innerWidth - t.offsetWidth - 8)}px`;
  t.style.top = `${Math.max(8, Math.min(y + 14, innerHeight - t.offsetHeight - 8))}px`;
}
function drawFinal() {
  const m = S.measures[state.measure], j = S.lastCommon, g = S.generations[j];
  $("final-title").textContent = `${m.title} at generation ${g}`;
  const shown = visible();
  const all = shown.map((c) => valuesAt(state.measure, c, j, "all"));
  const every = all.flat().concat(m.floor == null ? [] : [m.floor]);
  if (!every.length) return $("final").replaceChildren();
  const xs = S.byRatio ? S.conditions.map((c) => c.ratio) : S.conditions.map((_, i) => i);
  const xTicks = S.byRatio ? [...new Set(shown.map((c) => xs[c]))] : [];
  const span = [Math.min(...xs), Math.max(...xs)], room = 0.05 * (span[1] - span[0] || 1);
  const F = frame($("final"), { height: 260, x: [span[0] - room, span[1] + room], y: pad(0, Math.max(...every), Math.min(...every) >= 0), xTicks, xLabel: S.byRatio ? "synthetic ratio" : "mixing policy, in the order of the legend", yLabel: "", label: `${m.title} at the last generation` });
  if (m.floor != null) F.root.append(draw("line", { class: "floor", x1: F.left, x2: F.width - F.right, y1: F.Y(m.floor), y2: F.Y(m.floor) }));
  const known = shown.filter((_, k) => all[k].length);
  if (S.byRatio) F.root.append(draw("polyline", { points: known.map((c) => `${F.X(xs[c])},${F.Y(mean(all[shown.indexOf(c)]))}`).join(" "), fill: "none", stroke: "var(--faint)", "stroke-width": 1.2 }));
  known.forEach((c) => {
    const v = all[shown.indexOf(c)];
    v.forEach((value) => F.root.append(draw("circle", { cx: F.X(xs[c]), cy: F.Y(value), r: 2.4, fill: colour(c), opacity: 0.55 })));
    F.root.append(mark(c, F.X(xs[c]), F.Y(mean(v)), 5));
  });
}
function drawPlane() {
  const [p, r] = S.plane;
  const host = $("plane");
  if (p == null) return host.closest("figure").hidden = true;
  host.closest("figure").hidden = false;
  const F = frame(host, { height: 260, x: [0, 1], y: [0, 1], xTicks: [0, 0.2, 0.4, 0.6, 0.8, 1], xLabel: "precision ↑", yLabel: "recall ↑", label: "recall against precision" });
  for (const c of visible()) {
    const path = S.generations.map((_, j) => [valuesAt(p, c, j, state.seed), valuesAt(r, c, j, state.seed)]).filter(([a, b]) => a.length && b.length).map(([a, b]) => [F.X(mean(a)), F.Y(mean(b))]);
    F.root.append(draw("polyline", { points: path.map((q) => q.join(",")).join(" "), fill: "none", stroke: colour(c), "stroke-width": 1.8, "stroke-dasharray": DASHES[c % DASHES.length] }));
    path.forEach(([x, y], k) => F.root.append(mark(c, x, y, k === path.length - 1 ? 5 : 2.6)));
  }
  if (S.measures[p].floor != null && S.measures[r].floor != null) {
    const x = F.X(S.measures[p].floor), y = F.Y(S.measures[r].floor);
    F.root.append(draw("path", { d: `M${x - 6},${y}h12M${x},${y - 6}v12`, stroke: "var(--floor)", "stroke-width": 1.5 }));
    F.root.append(Object.assign(draw("text", { x: x - 9, y: y + 4, "text-anchor": "end" }), { textContent: "real images" }));
  }
}
function drawHeat() {
  const m = S.measures[state.measure];
  $("heat-title").textContent = `${m.title}, mean over seeds${m.cells.flat().some((c) => c && c[1] != null) ? " ± 95 % interval" : ""}`;
  const known = m.cells.flat().filter(Boolean).map((c) => c[0]), p = places(known.concat(m.floor ?? []));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const bad = (v) => (m.direction === "down" ? v - low : high - v) / (high - low || 1);
  const head = make("tr", {}, make("th", { scope: "col" }, S.head), ...S.generations.map((g) => make("th", { scope: "col" }, `gen ${g}`)), make("th", { scope: "col" }, "seeds"));
  const rows = visible().map((c) => make("tr", {}, make("th", { scope: "row", style: "text-align:left" }, S.conditions[c].label), ...m.cells[c].map((cell, j) => {
    if (!cell) return make("td", {}, "–");
    const share = bad(cell[0]);
    const style = `background:color-mix(in oklab, var(--heat-high) ${Math.round(92 * share)}%, var(--heat-low))`;
    return make("td", { style, "data-shade": true, class: m.best[c][j] ? "best" : "", title: m.best[c][j] ? "better than every other condition (95 % interval of the paired difference)" : null },
      show(cell[0], p), cell[1] == null ? null : make("span", { class: "pm" }, ` ± ${show(cell[1], p)}`));
  }), make("td", {}, String(S.conditions[c].seeds.length))));
  for (const [label, value] of Object.entries(m.baselines)) rows.push(make("tr", {}, make("th", { scope: "row", style: "text-align:left" }, label), make("td", {}, show(value, p))));
  $("heat").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  for (const cell of $("heat").querySelectorAll("[data-shade]")) cell.style.color = inkOn(getComputedStyle(cell).backgroundColor);
}
const swatch = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function inkOn(ground) { // black or white, whichever is read better
  swatch.fillStyle = ground;
  swatch.fillRect(0, 0, 1, 1);
  const linear = [...swatch.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff";
}
function drawLegend() {
  $("legend").replaceChildren(make("span", {}, S.head), ...S.conditions.map((c, i) => {
    const key = draw("svg", { width: 34, height: 14, "aria-hidden": "true" }, draw("line", { x1: 1, x2: 33, y1: 7, y2: 7, stroke: colour(i), "stroke-width": 2.2, "stroke-dasharray": DASHES[i % DASHES.length] }), mark(i, 17, 7));
    return make("button", { type: "button", "aria-pressed": String(!state.hidden.has(i)), onclick: () => { state.hidden.has(i) ? state.hidden.delete(i) : state.hidden.add(i); drawScores(); drawLegend(); $("legend").querySelectorAll("button")[i].focus(); } }, key, c.label);
  }));
}
function drawScores() { drawCurves(); drawFinal(); drawPlane(); drawHeat(); }

/* ----------------------------------------------------------------------------------------------------------- samples */
function sheet(c, g) { // the pictures of one condition and generation: [samples, neighbours], either null
  const k = S.conditions[c].seeds.indexOf(Number(state.sampleSeed));
  const entry = k < 0 ? null : S.pictures.sheets[c][k][g];
  return entry ? entry.map((i) => (i == null ? null : pictures[i])) : [null, null];
}
function drawTiles(canvas, [samples, neighbours], count) {
  const side = S.pictures.side, width = canvas.parentElement.clientWidth, gap = 4;
  const most = Math.max(1, Math.min(count, Math.floor((width + gap) / (44 + gap))));
  const per = Math.ceil(count / Math.ceil(count / most)); // rows of equal length
  const tile = Math.min(112, Math.floor((width + gap) / per) - gap), rows = Math.ceil(count / per);
  const each = state.neighbours && neighbours ? 2 * tile + 2 : tile, ratio = devicePixelRatio || 1;
  const height = rows * (each + gap) - gap;
  canvas.width = width * ratio; canvas.height = height * ratio; canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.imageSmoothingEnabled = side > tile;
  for (let k = 0; k < count; k++) {
    const x = (k % per) * (tile + gap), y = Math.floor(k / per) * (each + gap);
    pen.drawImage(samples, k * side, 0, side, side, x, y, tile, tile);
    if (each > tile) { pen.globalAlpha = 0.92; pen.drawImage(neighbours, k * side, 0, side, side, x, y + tile + 2, tile, tile); pen.globalAlpha = 1; }
    if (k === state.probe) { pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent"); pen.lineWidth = 2.5; pen.strokeRect(x + 1.25, y + 1.25, tile - 2.5, each - 2.5); }
  }
  canvas.onclick = (e) => {
    const k = Math.floor(e.offsetX / (tile + gap)) + per * Math.floor(e.offsetY / (each + gap));
    if (k < count) { state.probe = k; drawSamples(); }
  };
}
function drawSamples() {
  const host = $("browser"), count = S.pictures.count;
  $("generation-now").textContent = S.generations[state.generation];
  $("neighbours-note").hidden = !state.neighbours;
  if (!count) return host.replaceChildren(make("p", { class: "gone" }, "The pictures of these runs are not in their store."));
  if (host.children.length !== S.conditions.length || !host.querySelector("canvas, .gone"))
    host.replaceChildren(...S.conditions.map((c, i) => make("div", { class: "row", style: `--c:${colour(i)}` }, make("div", { class: "name" }, make("i"), c.label), make("div", { class: "tiles" }))));
  S.conditions.forEach((c, i) => {
    const cell = host.children[i].querySelector(".tiles"), found = sheet(i, state.generation);
    if (!found[0]) return cell.replaceChildren(make("p", { class: "gone" }, "no pictures of this generation and seed"));
    let canvas = cell.querySelector("canvas");
    if (!canvas) cell.replaceChildren(canvas = make("canvas", { role: "img" }));
    canvas.setAttribute("aria-label", `samples of ${c.label} at generation ${S.generations[state.generation]}`);
    drawTiles(canvas, found, count);
  });
  drawPath();
}
function drawPath() {
  $("probe-now").textContent = `picture ${state.probe + 1} of ${S.pictures.count}`;
  const side = S.pictures.side;
  const one = (c, g) => {
    const [samples] = sheet(c, g);
    if (!samples) return make("td", { class: "gone" }, "–");
    const canvas = make("canvas", { width: 168, height: 168, role: "img", "aria-label": `${S.conditions[c].label}, generation ${S.generations[g]}` });
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = side > 168;
    pen.drawImage(samples, state.probe * side, 0, side, side, 0, 0, 168, 168);
    return make("td", { class: g === state.generation ? "now" : "" }, canvas);
  };
  $("path").replaceChildren(make("table", {}, make("tr", {}, make("th", { scope: "col" }, S.head), ...S.generations.map((g) => make("th", { scope: "col", style: "text-align:center" }, `gen ${g}`))),
    ...S.conditions.map((c, i) => make("tr", {}, make("th", { scope: "row", style: "text-align:left" }, c.label), ...S.generations.map((_, g) => one(i, g))))));
}
let playing = null;
function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => { state.generation = (state.generation + 1) % S.generations.length; $("generation").value = state.generation; drawSamples(); }, 700) : null;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(on));
}

/* ------------------------------------------------------------------------------------------- composition, provenance */
function drawBars() {
  $("origin-legend").replaceChildren(...S.origins.map((o, i) => make("span", { class: "key", style: `--c:var(--o${i})` }, make("i"), o.label)));
  const most = Math.max(1, ...S.compositions.flat().filter(Boolean).map((parts) => parts.reduce((a, b) => a + b, 0)));
  $("bars").replaceChildren(...S.conditions.map((c, i) => {
    const host = make("div", { class: "chart" });
    const width = 240, height = 170, bottom = 34, left = 6, slot = (width - left) / S.generations.length;
    const root = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `training sets of ${c.label}` });
    S.compositions[i].forEach((parts, g) => {
      let base = 0;
      (parts || []).forEach((n, o) => {
        if (!n) return;
        const h = (height - bottom - 6) * n / most;
        root.append(draw("rect", { x: left + slot * g + 3, width: slot - 6, y: height - bottom - base - h, height: h, fill: `var(--o${o})`, rx: 1.5 }, Object.assign(draw("title"), { textContent: `generation ${S.generations[g]}: ${n} ${S.origins[o].label}` })));
        base += h;
      });
      root.append(Object.assign(draw("text", { x: left + slot * (g + 0.5), y: height - bottom + 16, "text-anchor": "middle" }), { textContent: S.generations[g] }));
    });
    root.append(Object.assign(draw("text", { x: width / 2, y: height - 2, "text-anchor": "middle" }), { textContent: "generation" }));
    host.append(root);
    return make("figure", { class: "card" }, make("h3", {}, c.label), host);
  }));
}
function drawChains() {
  $("chains").replaceChildren(...S.chains.map((chain) => make("details", {}, make("summary", {}, chain.id, make("small", {}, chain.brief)),
    make("div", { class: "command" }, make("pre", {}, chain.command), make("button", { type: "button", onclick: (e) => { copy(chain.command); e.target.textContent = "Copied"; } }, "Copy")),
    make("dl", { class: "facts" }, ...Object.entries(chain.facts).flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, String(v))])),
    make("details", {}, make("summary", {}, "Configuration"), make("pre", { tabindex: 0 }, JSON.stringify(chain.config, null, 2))))));
}
function copy(text) {
  if (navigator.clipboard) navigator.clipboard.writeText(text).catch(() => {});
}
function drawDownloads() {
  $("downloads").replaceChildren(...Object.entries(D.files).map(([name, body]) => {
    const link = make("a", { download: name, href: URL.createObjectURL(new Blob([body], { type: "text/plain;charset=utf-8" })) });
    return make("button", { type: "button", onclick: () => link.click() }, `Download ${name}`);
  }));
  $("markdown").textContent = D.files["tables.md"];
}

/* -------------------------------------------------------------------------------------------------------------- start */
function open(index) {
  S = D.studies[index];
  Object.assign(state, { study: index, measure: 0, seed: "all", hidden: new Set(), generation: S.lastCommon, probe: 0 });
  state.sampleSeed = S.seeds[0];
  setTheme(document.documentElement.dataset.theme);
  const spaces = [...new Set(S.measures.map((m) => `${m.featureSpace} · against ${m.reference} · ${m.num}`))];
  $("measure").replaceChildren(...spaces.map((space) => make("optgroup", { label: space }, ...S.measures.map((m, i) => [m, i]).filter(([m]) => `${m.featureSpace} · against ${m.reference} · ${m.num}` === space).map(([m, i]) => make("option", { value: i }, m.title)))));
  $("measure").value = 0;
  options($("seed"), [["all", "all"], ...S.seeds.map((s) => [s, s])], "all");
  options($("sample-seed"), S.seeds.map((s) => [s, s]), state.sampleSeed);
  $("generation").max = S.generations.length - 1;
  $("generation").value = state.generation;
  $("neighbours-field").hidden = !S.pictures.neighbours;
  $("browser").replaceChildren();
  drawSummary(); drawLegend(); drawScores(); drawSamples(); drawBars(); drawChains();
}
$("measure").addEventListener("change", (e) => { state.measure = Number(e.target.value); drawScores(); });
$("seed").addEventListener("change", (e) => { state.seed = e.target.value; drawScores(); });
$("log").addEventListener("change", (e) => { state.log = e.target.checked; drawScores(); });
$("generation").addEventListener("input", (e) => { play(false); state.generation = Number(e.target.value); drawSamples(); });
$("sample-seed").addEventListener("change", (e) => { state.sampleSeed = e.target.value; drawSamples(); });
$("neighbours").addEventListener("change", (e) => { state.neighbours = e.target.checked; drawSamples(); });
$("play").addEventListener("click", () => play(!playing));
const turn = (step) => { state.probe = (state.probe + step + S.pictures.count) % (S.pictures.count || 1); drawSamples(); };
$("probe-back").addEventListener("click", () => turn(-1));
$("probe-next").addEventListener("click", () => turn(1));
$("study").addEventListener("change", (e) => open(Number(e.target.value)));
let waiting;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { drawScores(); drawSamples(); }, 120); });

(async () => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", (e) => { setTheme(e.matches ? "dark" : "light"); drawHeat(); drawSamples(); });
  pictures = await Promise.all(D.pictures.map(async (src) => { const p = new Image(); p.src = src; await p.decode(); return p; }));
  if (D.studies.length > 1) { $("study-field").hidden = false; options($("study"), D.studies.map((s, i) => [i, s.title]), 0); }
  $("footer").textContent = D.footer;
  drawDownloads();
  open(0);
  document.documentElement.dataset.ready = "yes";
})();
