"use strict";
const STYLE = JSON.parse(document.getElementById("style").textContent);
const WIDTH = 520, HEIGHT = 240, LEFT = 74, RIGHT = 14, TOP = 8, BOTTOM = 34, ROW = 18;
const MARK = "M-5,-4 L5,-4 L0,5 Z";
const DASHES = { bounce: "", final: "6 4" };
const title = (timestep, words) => make("title", {}, `timestep ${timestep.toLocaleString("en")}: ${words}`);

const make = (name, attributes = {}, text = "") => {
  const svg = ["svg", "path", "line", "text", "title", "circle", "g"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  if (text) node.textContent = text;
  return node;
};

const short = value => {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return size && size < 1e-4 ? value.toExponential(0).replace("-", "−") : `${+value.toPrecision(3)}`.replace("-", "−");
};

// Round numbers that lie within, about five of them.
const ticks = (low, high, logarithmic) => {
  if (logarithmic) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) [1, 2, 5].forEach(m => found.push(m * 10 ** e));
    const inside = found.filter(value => value >= low && value <= high);
    const tens = inside.filter(value => Math.abs(Math.log10(value) % 1) < 1e-9);
    return inside.length > 6 && tens.length > 1 ? tens : inside;
  }
  const raw = (high - low) / 5, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * unit).find(size => size >= raw);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
};

// Where a value lies between two ends, and where its ticks are.
const scale = (values, from, to, logarithmic, exact) => {
  let low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  if (!(low < high)) {
    const middle = Number.isFinite(low) ? low : 0, room = Math.abs(middle) / 10 || 1;
    [low, high] = [middle - room, middle + room];
  } else if (!exact) {
    const room = logarithmic ? 0 : (high - low) / 20;
    [low, high] = [low - room, high + room];
  }
  const turn = logarithmic ? Math.log10 : value => value;
  const place = value => from + (to - from) * (turn(value) - turn(low)) / (turn(high) - turn(low));
  return { place, ticks: ticks(low, high, logarithmic) };
};

const sample = (attributes, mark) => {
  const svg = make("svg", { viewBox: "0 0 22 10", "aria-hidden": "true" });
  svg.append(mark ? make("path", { d: MARK, transform: "translate(11,5)", ...attributes })
    : make("line", { x1: 0, x2: 22, y1: 5, y2: 5, "stroke-width": 2, ...attributes }));
  return svg;
};

// series: [{name, t, v, color, dash, points, steps}]; marks: rows of [timestep, text, cause] below, with a name each.
const chart = (name, series, span, { logarithmic = false, zero = false, marks = [], made = [], rule = "" } = {}) => {
  const known = series.flatMap(({ v }) => v).filter(value => value !== null && (!logarithmic || value > 0));
  const floor = HEIGHT - BOTTOM, height = HEIGHT + ROW * marks.length;
  const x = scale(span, LEFT, WIDTH - RIGHT, false, true);
  const y = scale(zero ? [...known, 0] : known, floor, TOP, logarithmic);
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": name, "font-size": 11 });
  const text = (words, at, extra) => svg.append(make("text", { ...at, fill: "#555", ...extra }, words));
  y.ticks.forEach(value => {
    const zero = value === 0 && !logarithmic;
    svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y.place(value), y2: y.place(value), stroke: zero ? "#aaa" : "#e8e8e8" }));
    text(short(value), { x: LEFT - 6, y: y.place(value) + 4, "text-anchor": "end" });
  });
  x.ticks.forEach(value => {
    svg.append(make("line", { x1: x.place(value), x2: x.place(value), y1: floor, y2: floor + 4, stroke: "#888" }));
    text(short(value), { x: x.place(value), y: floor + 15, "text-anchor": x.place(value) > WIDTH - 30 ? "end" : "middle" });
  });
  text("timesteps", { x: (LEFT + WIDTH - RIGHT) / 2, y: floor + 29, "text-anchor": "middle" });
  svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: floor, y2: floor, stroke: "#888" }));
  made.forEach(([timestep, words, cause]) => {
    const line = make("line", { x1: x.place(timestep), x2: x.place(timestep), y1: TOP, y2: floor, stroke: STYLE.decay, "stroke-dasharray": DASHES[cause] ?? "2 3", class: "made" });
    line.append(title(timestep, words));
    svg.append(line);
  });
  series.forEach(({ t, v, color, dash = "", points, steps }) => {
    let pen = false;
    const commands = v.map((value, i) => {
      const drawn = value !== null && (!logarithmic || value > 0);
      const level = pen && steps ? `H${x.place(t[i]).toFixed(1)}` : "";
      const command = drawn ? `${level}${pen ? "L" : "M"}${x.place(t[i]).toFixed(1)},${y.place(value).toFixed(1)}` : "";
      pen = drawn;
      return command;
    });
    svg.append(make("path", { d: commands.join(" "), fill: "none", stroke: color, "stroke-width": 1.6, "stroke-dasharray": dash, class: "course" }));
    if (points || t.length === 1)
      v.forEach((value, i) => value !== null && svg.append(make("circle", { cx: x.place(t[i]), cy: y.place(value), r: 2.2, fill: color })));
  });
  const mark = (timestep, at, words, kind) => {
    const sign = make("path", { d: MARK, transform: `translate(${x.place(timestep).toFixed(1)},${at.toFixed(1)})`, fill: STYLE.decay, stroke: "#222", "stroke-width": .7, class: kind });
    sign.append(title(timestep, words));
    svg.append(sign);
  };
  marks.forEach(({ name, at }, row) => {
    const middle = HEIGHT + ROW * row + ROW / 2;
    text(name, { x: LEFT - 6, y: middle + 4, "text-anchor": "end" }, { "font-weight": name === `rule ${rule}` ? 600 : 400 });
    if (at.length) svg.append(make("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: middle, y2: middle, stroke: "#ddd" }));
    else text("none", { x: LEFT + 4, y: middle + 4 });
    at.forEach(([timestep, words, , parts]) => {
      mark(timestep, middle, words, "mark");
      if (name !== `rule ${rule}`) return;
      series.filter(({ name }) => parts.includes(name)).forEach(({ t, v }) => {
        const i = t.indexOf(timestep);
        if (i >= 0 && v[i] !== null) mark(timestep, y.place(v[i]) - 6, words, "bounce");
      });
    });
  });
  const figure = make("figure"), legend = make("div", { class: "legend" });
  const entry = (words, attributes, isMark) => {
    const item = make("span");
    item.append(sample(attributes, isMark), words);
    legend.append(item);
  };
  series.forEach(({ name, color, dash = "" }) => entry(name, { stroke: color, "stroke-dasharray": dash }));
  [...new Set(made.map(([, , cause]) => cause))].forEach(cause =>
    entry(`decayed (${cause})`, { stroke: STYLE.decay, "stroke-dasharray": DASHES[cause] ?? "2 3" }));
  if (marks.some(({ name, at }) => name === `rule ${rule}` && at.length)) entry(`${rule} would decay`, { fill: STYLE.decay, stroke: "#222" }, true);
  figure.append(make("figcaption", {}, name), legend, svg);
  return figure;
};

const wide = values => {
  const positive = values.filter(value => value !== null && value > 0);
  return positive.reduce((a, b) => Math.max(a, b), 0) > 20 * positive.reduce((a, b) => Math.min(a, b), Infinity);
};

const draw = (place, run) => {
  const color = part => STYLE.parts[part] ?? "#333";
  const parts = (columns) => Object.entries(columns).map(([name, v]) => ({ name, t: run.timesteps, v, color: color(name) }));
  const norms = parts(run.norms);
  const curves = run.curves.map(({ name, t, v }) => ({ name, t, v, color: "#333" }));
  const all = [...run.timesteps, ...run.curves.flatMap(({ t }) => t)];
  const span = [all.reduce((a, b) => Math.min(a, b)), all.reduce((a, b) => Math.max(a, b))];
  const made = run.marks.filter(({ name }) => name === "in training").flatMap(({ at }) => at);
  const named = (...names) => curves.filter(({ name }) => names.includes(name));
  const add = (...chartOf) => place.append(chart(...chartOf));
  add("|w|² over its start, and who decays the rate", norms, span,
    { logarithmic: wide(norms.flatMap(({ v }) => v)), marks: run.marks, made, rule: STYLE.rule });
  if (named("learning rate").length) {
    const rate = named("learning rate").map(one => ({ ...one, steps: true }));
    add("learning rate", rate, span, { logarithmic: wide(rate[0].v), zero: !wide(rate[0].v), made });
  }
  const returns = named("episode reward", "evaluation").map(one => one.name === "evaluation" ? { ...one, dash: "5 3", points: true } : one);
  if (returns.length) add("return", returns, span, { made });
  const terms = (part, term) => run.terms[`${term}_${part}`];
  Object.keys(run.norms).filter(part => terms(part, "displacement") && terms(part, "alignment")).forEach(part => add(`why |w|² of the ${part} moves`, [
    { name: "displacement", t: run.timesteps, v: terms(part, "displacement"), color: color(part) },
    { name: "alignment", t: run.timesteps, v: terms(part, "alignment"), color: color(part), dash: "5 3" },
  ], span, { zero: true }));
  const updates = parts(Object.fromEntries(Object.keys(run.norms).filter(part => terms(part, "relative_update")).map(part => [part, terms(part, "relative_update")])));
  if (updates.length) add("what an update moves, as a share of |w|", updates, span, { logarithmic: true, made });
};

const open = (button, shown) => {
  const row = document.getElementById(button.getAttribute("aria-controls"));
  const place = row.querySelector(".charts");
  button.setAttribute("aria-expanded", shown);
  row.hidden = !shown;
  if (shown && !place.hasChildNodes()) draw(place, JSON.parse(row.querySelector("script").textContent));
};

const table = document.getElementById("runs");
if (table) {
  const heads = [...table.tHead.rows[0].cells], bodies = [...table.tBodies];
  const buttons = bodies.map(body => body.querySelector("button"));
  buttons.forEach(button => button.addEventListener("click", () => open(button, button.getAttribute("aria-expanded") !== "true")));
  if (buttons.length === 1) open(buttons[0], true);
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    // A number is mostly wanted from the largest on.
    const numeric = "numeric" in head.dataset, first = numeric ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? (numeric ? "ascending" : "descending") : first;
    const keyed = bodies.map(body => [body.rows[0].cells[column].dataset.key, body]);
    const filled = keyed.filter(([key]) => key !== undefined), empty = keyed.filter(([key]) => key === undefined);
    const compare = numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
    filled.sort(([a], [b]) => (order === "ascending" ? 1 : -1) * compare(a, b));
    table.append(...[...filled, ...empty].map(([, body]) => body));
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
  }));
}
