"use strict";
// Reads Chrome trace events and draws them: rows of slices, arrows of hops, counters as stacked areas.

const GUTTER = 190, AXIS = 26, ROW = 19, HEAD = 21, CHART = 46, SMALLEST_TEXT = 22, MOST_ARROWS = 3000;
const PASS_COLORS = { F: "#3a68ae", B: "#8cc26f", I: "#f2a65a", W: "#f3dd86", "F&B": "#6fb3c9", update: "#7a4a9e", host: "#9a9a9a" };
const AXIS_COLORS = { tp: "#ee6677", cp: "#aa3377", ep: "#cc7711", etp: "#997700", pp: "#228833", dp: "#ccbb44", edp: "#999933", offload: "#882255" };
const AREAS = ["#31507d", "#5f86b8", "#9db9da", "#c9d8ea", "#b7b7b7", "#8cc26f", "#f2a65a", "#d9455f", "#7a4a9e"];
const LIGHT_TEXT = new Set(["#3a68ae", "#7a4a9e", "#882255", "#aa3377", "#228833", "#997700"]);
const LABELS = { F: "forward", B: "backward", I: "input gradient", W: "weight gradient", "F&B": "both at once", update: "optimizer" };

// --- model -----------------------------------------------------------------------------------------------------------

function readTrace(events) {
  const processes = new Map(), flows = new Map();
  const process = pid => processes.get(pid) ?? processes.set(pid, { pid, name: `process ${pid}`, tracks: new Map(), counters: new Map(), open: true }).get(pid);
  const track = event => {
    const tracks = process(event.pid).tracks;
    return tracks.get(event.tid) ?? tracks.set(event.tid, { name: `thread ${event.tid}`, tid: event.tid, slices: [] }).get(event.tid);
  };
  let end = 0, slices = 0;
  for (const event of events) {
    if (event.ph === "M") {
      if (event.name === "process_name") process(event.pid).name = event.args.name;
      if (event.name === "thread_name") track(event).name = event.args.name;
    } else if (event.ph === "X") {
      track(event).slices.push(event);
      end = Math.max(end, event.ts + event.dur);
      slices += 1;
    } else if (event.ph === "C") {
      const counters = process(event.pid).counters;
      (counters.get(event.name) ?? counters.set(event.name, []).get(event.name)).push(event);
    } else if ("stf".includes(event.ph)) {
      (flows.get(event.id) ?? flows.set(event.id, []).get(event.id)).push({ pid: event.pid, tid: event.tid, ts: event.ts });
    }
  }
  for (const item of processes.values()) {
    item.tracks = [...item.tracks.values()].sort((a, b) => a.tid - b.tid);
    item.counters = [...item.counters].map(([name, points]) => counter(name, points));
  }
  return { processes: [...processes.values()].sort((a, b) => a.pid - b.pid), flows: [...flows.values()], end, slices };
}

function counter(name, points) {
  const keys = [...new Set(points.flatMap(point => Object.keys(point.args)))];
  const total = point => keys.reduce((sum, key) => sum + (point.args[key] ?? 0), 0);
  return { name, keys, points, top: Math.max(1e-12, ...points.map(total)) };
}

function colorOf(slice) {
  if (slice.cat !== "compute") return AXIS_COLORS[slice.cat] ?? "#bbbbbb";
  return PASS_COLORS[slice.name.split(" ")[0]] ?? "#cccccc";
}

// First index whose value, ascending over the list, is above the limit.
function above(list, value, limit) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (value(list[middle]) > limit) high = middle; else low = middle + 1;
  }
  return low;
}

// --- state -----------------------------------------------------------------------------------------------------------

const trace = readTrace(JSON.parse(document.getElementById("events").textContent));
const canvas = document.getElementById("view"), pen = canvas.getContext("2d"), tip = document.getElementById("tip");
const state = { from: 0, to: trace.end || 1, scroll: 0, arrows: true, counters: true, find: "", rows: [], height: 0, drawn: 0 };

function layRows() {
  const rows = [];
  let y = 0;
  const add = (kind, height, content) => { rows.push({ kind, y, height, ...content }); y += height; };
  for (const item of trace.processes) {
    add("head", HEAD, { process: item });
    if (!item.open) continue;
    for (const one of item.tracks) add("track", ROW, { process: item, track: one });
    if (state.counters) for (const one of item.counters) add("chart", CHART, { process: item, counter: one });
  }
  state.rows = rows;
  state.height = y;
  state.rowOf = new Map(rows.filter(row => row.kind === "track").map(row => [`${row.process.pid}/${row.track.tid}`, row]));
}

const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight });
const xOf = time => GUTTER + (time - state.from) / (state.to - state.from) * (size().width - GUTTER);
const timeAt = x => state.from + (x - GUTTER) / (size().width - GUTTER) * (state.to - state.from);
const shown = (microseconds, digits = 4) => {
  const magnitude = Math.abs(microseconds);
  if (magnitude >= 1e6) return `${Number((microseconds / 1e6).toPrecision(digits))} s`;
  if (magnitude >= 1e3) return `${Number((microseconds / 1e3).toPrecision(digits))} ms`;
  return `${Number(microseconds.toPrecision(digits))} µs`;
};

// --- drawing ---------------------------------------------------------------------------------------------------------

function draw() {
  const { width, height } = size(), ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";
  state.drawn = 0;
  const visible = state.rows.filter(row => row.y + row.height > state.scroll && row.y < state.scroll + height - AXIS);
  drawGrid(width, height);
  for (const row of visible) ({ head: drawHead, track: drawTrack, chart: drawChart })[row.kind](row, AXIS + row.y - state.scroll, width);
  if (state.arrows) drawArrows(width, height);
  pen.clearRect(0, 0, width, AXIS);
  drawAxis(width);
  document.body.dataset.drawn = state.drawn;
}

function ticks(width) {
  const wanted = (state.to - state.from) / Math.max(2, (width - GUTTER) / 110), power = 10 ** Math.floor(Math.log10(wanted));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= wanted);
  const list = [];
  for (let time = Math.ceil(state.from / step) * step; time <= state.to; time += step) list.push(time);
  return list;
}

function drawGrid(width, height) {
  pen.strokeStyle = "#ececec";
  pen.beginPath();
  for (const time of ticks(width)) { const x = Math.round(xOf(time)) + 0.5; pen.moveTo(x, AXIS); pen.lineTo(x, height); }
  pen.stroke();
}

function drawAxis(width) {
  pen.fillStyle = "#333";
  pen.textAlign = "center";
  for (const time of ticks(width)) if (xOf(time) > GUTTER + 15) pen.fillText(shown(time, 6), xOf(time), AXIS / 2);
  pen.textAlign = "left";
  pen.fillText(`${shown(state.to - state.from)} in view`, 8, AXIS / 2);
}

function label(text, y, height, bold, indent) {
  pen.fillStyle = "#fff";
  pen.fillRect(0, y, GUTTER - 1, height);
  pen.fillStyle = "#222";
  pen.font = `${bold ? "600 " : ""}11px system-ui, 'DejaVu Sans', sans-serif`;
  pen.save();
  pen.beginPath();
  pen.rect(0, y, GUTTER - 4, height);
  pen.clip();
  pen.textAlign = "left";
  pen.fillText(text, indent, y + height / 2);
  pen.restore();
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
}

function drawHead(row, y, width) {
  label("", y, row.height, true, 0);
  pen.fillStyle = "#e9edf3";
  pen.fillRect(0, y + 1, width, row.height - 2);
  pen.fillStyle = "#222";
  pen.textAlign = "left";
  pen.font = "600 11px system-ui, 'DejaVu Sans', sans-serif";
  pen.fillText(`${row.process.open ? "▾" : "▸"} ${row.process.name}`, 6, y + row.height / 2);
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
}

function drawTrack(row, y, width) {
  const slices = row.track.slices;
  let last = -1;
  for (let i = above(slices, slice => slice.ts + slice.dur, state.from); i < slices.length; i += 1) {
    const slice = slices[i];
    if (slice.ts > state.to) break;
    const left = Math.max(xOf(slice.ts), GUTTER), right = Math.min(xOf(slice.ts + slice.dur), width), wide = right - left;
    // Of slices narrower than a pixel one per pixel is enough.
    if (wide < 1 && Math.round(left) === last) continue;
    last = Math.round(left);
    const color = colorOf(slice), found = !state.find || slice.name.includes(state.find);
    pen.globalAlpha = found ? 1 : 0.2;
    pen.fillStyle = color;
    pen.fillRect(left, y + 1, Math.max(wide, 1), row.height - 2);
    if (wide > 4) { pen.strokeStyle = "#0006"; pen.strokeRect(left + 0.5, y + 1.5, wide - 1, row.height - 3); }
    if (wide > SMALLEST_TEXT) writeInside(slice.name, left, wide, y + row.height / 2, LIGHT_TEXT.has(color) ? "#fff" : "#111");
    pen.globalAlpha = 1;
    state.drawn += 1;
  }
  label(row.track.name, y, row.height, false, 16);
}

function writeInside(text, left, wide, y, color) {
  const short = pen.measureText(text).width < wide - 5 ? text : text.split(" ").pop();
  if (pen.measureText(short).width >= wide - 4) return;
  pen.fillStyle = color;
  pen.textAlign = "center";
  pen.fillText(short, left + wide / 2, y);
}

function drawChart(row, y, width) {
  const { keys, points, top, name } = row.counter, base = y + row.height - 3, scale = (row.height - 8) / top;
  const first = Math.max(0, above(points, point => point.ts, state.from) - 1);
  const last = above(points, point => point.ts, state.to);
  const part = points.slice(first, last);
  const below = part.map(() => 0);
  keys.forEach((key, index) => {
    pen.fillStyle = AREAS[index % AREAS.length];
    pen.beginPath();
    const edges = part.map((point, i) => [Math.max(xOf(point.ts), GUTTER), Math.min(xOf(part[i + 1]?.ts ?? state.to), width)]);
    part.forEach((point, i) => {
      const value = point.args[key] ?? 0, high = base - (below[i] + value) * scale;
      if (value > 0) pen.rect(edges[i][0], high, Math.max(edges[i][1] - edges[i][0], 0.5), value * scale);
      below[i] += value;
    });
    pen.fill();
  });
  pen.strokeStyle = "#999";
  pen.strokeRect(GUTTER - 0.5, y + 3.5, width - GUTTER, row.height - 6);
  label(`${name}, to ${Number(top.toPrecision(3))}${keys.length === 1 ? ` ${keys[0]}` : ""}`, y, row.height, false, 16);
}

function drawArrows(width, height) {
  const time = flow => [flow[0].ts, flow[flow.length - 1].ts];
  const seen = trace.flows.filter(flow => time(flow)[1] >= state.from && time(flow)[0] <= state.to);
  document.body.dataset.arrows = Math.min(seen.length, MOST_ARROWS);
  if (seen.length > MOST_ARROWS) return;
  pen.save();
  pen.beginPath();
  pen.rect(GUTTER, AXIS, width - GUTTER, height - AXIS);
  pen.clip();
  pen.strokeStyle = pen.fillStyle = seen.length > 150 ? "#00000040" : "#000000a0";
  for (const flow of seen) {
    const ends = [flow[0], flow[flow.length - 1]].map(step => ({ row: state.rowOf.get(`${step.pid}/${step.tid}`), x: xOf(step.ts) }));
    if (ends.some(end => !end.row)) continue;
    const [from, to] = ends.map(end => ({ x: end.x, y: AXIS + end.row.y - state.scroll + end.row.height / 2 }));
    const bend = Math.max(8, (to.x - from.x) / 2);
    pen.beginPath();
    pen.moveTo(from.x, from.y);
    pen.bezierCurveTo(from.x + bend, from.y, to.x - bend, to.y, to.x, to.y);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(to.x, to.y);
    pen.lineTo(to.x - 5, to.y - 3);
    pen.lineTo(to.x - 5, to.y + 3);
    pen.fill();
  }
  pen.restore();
}

// --- interaction -----------------------------------------------------------------------------------------------------

function look(from, to) {
  const span = Math.min(Math.max(to - from, 0.01), trace.end * 1.02 || 1);
  state.from = Math.min(Math.max(from, -0.01 * trace.end), trace.end * 1.01 - span);
  state.to = state.from + span;
  requestAnimationFrame(draw);
}

const zoom = (factor, at = (state.from + state.to) / 2) => look(at - (at - state.from) * factor, at + (state.to - at) * factor);
const move = share => look(state.from + share * (state.to - state.from), state.to + share * (state.to - state.from));
const fit = () => look(0, trace.end * 1.01 || 1);
const scrollTo = y => { state.scroll = Math.max(0, Math.min(y, state.height - size().height + AXIS + 8)); requestAnimationFrame(draw); };

function hit(event) {
  const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top - AXIS + state.scroll;
  const row = state.rows[above(state.rows, one => one.y, y) - 1], time = timeAt(x);
  if (!row || y > row.y + row.height) return {};
  if (x < GUTTER || row.kind === "head") return { row };
  if (row.kind === "chart") return { row, point: row.counter.points[above(row.counter.points, point => point.ts, time) - 1] };
  const slack = 2 * (state.to - state.from) / size().width;
  const slice = row.track.slices[above(row.track.slices, one => one.ts + one.dur, time - slack)];
  return slice && slice.ts <= time + slack ? { row, slice } : { row };
}

function showTip(event) {
  const { row, slice, point } = hit(event);
  tip.hidden = !slice && !point;
  if (tip.hidden) return;
  const lines = slice
    ? [slice.name, row.process.name, `from ${shown(slice.ts, 7)}, for ${shown(slice.dur)}`, ...Object.entries(slice.args).map(([key, value]) => `${key.replace("_", "-")}: ${value.toLocaleString("en")}`)]
    : [`${row.counter.name} from ${shown(point.ts, 7)}`, ...Object.entries(point.args).filter(([, value]) => value).map(([key, value]) => `${key}: ${Number(value.toPrecision(4))}`)];
  tip.textContent = lines.join("\n");
  const box = canvas.getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 6)}px`;
  tip.style.top = `${Math.min(event.clientY - box.top + 14, box.height - tip.offsetHeight - 6)}px`;
}

function listen() {
  let drag = null;
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    if (event.shiftKey) scrollTo(state.scroll + event.deltaY + event.deltaX);
    else zoom(Math.exp(Math.sign(event.deltaY) * 0.18), timeAt(event.clientX - canvas.getBoundingClientRect().left));
  }, { passive: false });
  canvas.addEventListener("pointerdown", event => { drag = { x: event.clientX, y: event.clientY, from: state.from, to: state.to, scroll: state.scroll, moved: false }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => {
    if (!drag) { showTip(event); return; }
    const shift = (drag.x - event.clientX) / (size().width - GUTTER) * (drag.to - drag.from);
    drag.moved ||= Math.abs(event.clientX - drag.x) + Math.abs(event.clientY - drag.y) > 3;
    look(drag.from + shift, drag.to + shift);
    scrollTo(drag.scroll + drag.y - event.clientY);
  });
  canvas.addEventListener("pointerup", event => {
    const { row } = hit(event);
    if (drag && !drag.moved && row?.kind === "head") { row.process.open = !row.process.open; layRows(); scrollTo(state.scroll); }
    drag = null;
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  const keys = { w: () => zoom(0.7), s: () => zoom(1.4), a: () => move(-0.2), d: () => move(0.2), 0: fit,
    ArrowUp: () => scrollTo(state.scroll - 40), ArrowDown: () => scrollTo(state.scroll + 40), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2) };
  window.addEventListener("keydown", event => { if (event.target.tagName !== "INPUT" && keys[event.key]) { keys[event.key](); event.preventDefault(); } });
  const on = (id, kind, action) => document.getElementById(id).addEventListener(kind, action);
  on("fit", "click", fit);
  on("in", "click", () => zoom(0.6));
  on("out", "click", () => zoom(1.6));
  on("arrows", "change", event => { state.arrows = event.target.checked; draw(); });
  on("counters", "change", event => { state.counters = event.target.checked; layRows(); scrollTo(state.scroll); });
  on("find", "input", event => { state.find = event.target.value.trim(); draw(); });
  new ResizeObserver(draw).observe(canvas);
}

function writeLegend() {
  const used = new Map();
  for (const item of trace.processes) for (const one of item.tracks) for (const slice of one.slices) {
    const kind = slice.cat === "compute" ? slice.name.split(" ")[0] : slice.cat;
    if (!used.has(kind)) used.set(kind, colorOf(slice));
  }
  for (const [kind, color] of used) {
    const entry = document.createElement("span"), box = document.createElement("i");
    box.style.background = color;
    entry.append(box, LABELS[kind] ? `${kind}: ${LABELS[kind]}` : kind);
    document.getElementById("legend").append(entry);
  }
}

layRows();
writeLegend();
listen();
// "#1.5-2.0" in the address opens the page at these seconds.
const range = /^#([\d.]+)-([\d.]+)$/.exec(location.hash);
if (range) look(Number(range[1]) * 1e6, Number(range[2]) * 1e6); else fit();
Object.assign(document.body.dataset, { ready: "yes", slices: trace.slices, flows: trace.flows.length, rows: state.rows.length });
