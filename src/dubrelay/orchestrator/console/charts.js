"use strict";
// Line charts as SVG: drawChart(title, unit, series, marks) with series [{name, points: [[seconds, value], ...]}].

const SVG = "http://www.w3.org/2000/svg";
const CHART = {width: 600, height: 160, left: 46, right: 8, top: 10, bottom: 18};
const COLOURS = ["#7cb7ff", "#ffb86b", "#8fe0a8", "#e58cf0", "#f0e58c", "#ff8f8f"];

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function rangeOf(series) {
  const values = series.flatMap(one => one.points.map(point => point[1])).filter(Number.isFinite);
  if (!values.length) return null;
  let low = Math.min(...values), high = Math.max(...values);
  if (high - low < 1e-9) { low -= 1; high += 1; }
  return [low, high];
}

// A gap in time or a missing value breaks the line.
function pathOf(points, x, y, gap) {
  let path = "", before = null;
  for (const [at, value] of points) {
    if (!Number.isFinite(value)) { before = null; continue; }
    path += `${before === null || at - before > gap ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    before = at;
  }
  return path;
}

function drawChart(title, unit, series, marks, since, until, missing) {
  const {width, height, left, right, top, bottom} = CHART;
  const shown = series.filter(one => one.points.some(point => Number.isFinite(point[1])));
  const range = rangeOf(shown);
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.append(`${title}, ${unit}`);
  figure.append(caption);
  if (range === null) { caption.append(`: ${missing}`); return figure; }
  const [low, high] = range;
  const x = at => left + (at - since) / (until - since) * (width - left - right);
  const y = value => height - bottom - (value - low) / (high - low) * (height - top - bottom);
  const text = (value, at) => {
    const made = svg("text", {x: left - 6, y: at + 4, "text-anchor": "end", fill: "#a3aebd", "font-size": 12});
    made.textContent = Math.abs(high - low) < 10 ? value.toFixed(1) : value.toFixed(0);
    return made;
  };
  const latest = shown.map(one => `${one.name} ${one.points.at(-1)[1]}`).join(", ");
  const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `${title} in ${unit}, from ${low.toFixed(1)} to ${high.toFixed(1)}; latest: ${latest}`});
  picture.append(text(high, y(high)), text(low, y(low)));
  for (let minute = Math.ceil(since / 600) * 600; minute < until; minute += 600) {
    const label = svg("text", {x: x(minute), y: height - 4, "text-anchor": "middle", fill: "#a3aebd", "font-size": 11});
    label.textContent = new Date(minute * 1000).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
    picture.append(svg("line", {x1: x(minute), x2: x(minute), y1: top, y2: height - bottom, stroke: "#333c48"}), label);
  }
  for (const mark of marks) {
    const line = svg("line", {x1: x(mark.at), x2: x(mark.at), y1: top, y2: height - bottom, stroke: "#d9442f"});
    const name = svg("title", {});
    name.textContent = mark.name;
    line.append(name);
    picture.append(line);
  }
  shown.forEach((one, n) => {
    const colour = COLOURS[n % COLOURS.length];
    picture.append(svg("path", {d: pathOf(one.points, x, y, 15), fill: "none", stroke: colour, "stroke-width": 1.5}));
    if (shown.length > 1) {
      const key = document.createElement("span");
      key.style.color = colour;
      key.textContent = one.name;
      caption.append(key);
    }
  });
  figure.append(picture);
  return figure;
}

// All charts of a stream from the rows of GET /v1/streams/ID/history.
function chartsOf(rows, mode) {
  const until = rows.at(-1).at, since = Math.max(rows[0].at, until - 3600);
  const column = (name, pick) => ({name, points: rows.map(row => [row.at, pick(row) ?? NaN])});
  const marks = rows.flatMap(row => row.marks.map(name => ({at: row.at, name})));
  const stages = [...new Set(rows.flatMap(row => Object.keys(row.stageMs)))];
  const outcomes = [...new Set(rows.flatMap(row => Object.keys(row.outcomes)))];
  const drawn = (missing, ...what) => drawChart(...what, marks, since, Math.max(until, since + 60), missing);
  const chart = (...what) => drawn("nothing yet", ...what);
  const ofDub = (...what) => drawn(mode === "bypass" ? "not in bypass mode, where no sound is decoded" : "nothing yet", ...what);
  const loud = (name, key) => column(name, row => row.loudness?.[key]);
  return [
    ofDub("Margin to the deadline, least", "s", [column("margin", row => row.marginMs === null ? null : row.marginMs / 1000)]),
    ofDub("Time by stage, median", "ms", stages.map(stage => column(stage, row => row.stageMs[stage]))),
    ofDub("Phrases a step", "count", outcomes.map(one => column(one.replace("_", " "), row => row.outcomes[one] ?? 0))),
    chart("Sound against picture", "ms", [column("A/V", row => row.avSyncMs)]),
    chart("Delay", "s", [column("delay", row => row.delayMs === null ? null : row.delayMs / 1000)]),
    ofDub("Loudness", "LUFS", [loud("in", "inputMomentary"), loud("out", "outputMomentary"),
      loud("in, all", "inputIntegrated"), loud("out, all", "outputIntegrated")]),
    chart("Memory of the worker", "MB", [column("memory", row => row.rssBytes === null ? null : row.rssBytes / 1e6)]),
    chart("CPU of the worker", "% of a core", [column("CPU", row => row.cpuPercent)]),
  ];
}
