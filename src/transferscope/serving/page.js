"use strict";
// Asks what the study's store says, every two seconds while the window is seen, and shows it. What it is told becomes
// text and numbers only, never markup.
const SEEN = 2000, UNSEEN = 15000; // milliseconds between two questions
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);
const make = (tag, text, properties = {}) => Object.assign(document.createElement(tag), properties, text === undefined ? {} : { textContent: text });
const draw = (tag, attributes, text) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const tags = {}; // what each address answered last, for a server that may say "as before"
const ask = async (address) => {
  const answer = await fetch(address, { headers: tags[address] ? { "If-None-Match": tags[address].tag } : {}, cache: "no-store" });
  if (answer.status === 304) return tags[address].said;
  if (!answer.ok) throw new Error(answer.status === 401 ? "This page asks for the token that serve printed: open the address that it printed." : `The server answered ${answer.status}.`);
  const said = await answer.json();
  tags[address] = { tag: answer.headers.get("ETag"), said };
  return said;
};

// Times in words, as the terminal says them.
const duration = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
const clock = (seconds) => new Date(1000 * seconds).toLocaleString();
const percent = (share) => `${Math.round(100 * share)}%`;

const bar = (share) => {
  const outer = make("span", undefined, { className: "bar" }), inner = make("i");
  inner.style.width = percent(share);
  outer.append(inner);
  return outer;
};
const fill = (table, heads, rows) => {
  const top = make("tr");
  heads.forEach((head) => top.append(make("th", head, { scope: "col" })));
  const head = make("thead"), body = make("tbody");
  const held = table.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  head.append(top);
  body.append(...rows);
  table.replaceChildren(head, body);
  if (held) table.querySelector(`[data-key="${held}"]`)?.focus({ preventScroll: true });
};
const named = (step) => {
  const button = make("button", step.name, { type: "button" });
  button.dataset.key = step.key;
  const cell = make("td");
  cell.append(button);
  return cell;
};

let state = null;
const summary = () => {
  const done = state.counts.done || 0, all = state.steps.length - (state.counts["not needed"] || 0);
  const said = [`${done} of ${all} steps done`];
  for (const [name, word] of [["running", "running"], ["failed", "failed"], ["not run", "not run because of them"], ["waiting", "waiting"], ["begun", "begun and not finished"]])
    if (state.counts[name]) said.push(`${state.counts[name]} ${word}`);
  let left = "";
  if (state.runs.length) {
    const known = state.runs.map((run) => run.left).filter((one) => one !== null);
    left = known.length === state.runs.length ? `about ${duration(Math.max(0, ...known))} left` : "time left not known yet";
  } else if (!state.to_do) left = "nothing to do";
  else left = "no run is at work" + (state.left === null ? "" : `; one would take about ${duration(state.left)}`);
  $("study").textContent = state.study;
  document.title = `${percent(all ? done / all : 1)} ${state.study} · transferscope`;
  $("summary").textContent = `${said.join(", ")}; ${left}.`;
  const moving = state.steps.reduce((sum, step) => sum + (step.state === "running" ? step.share : 0), 0);
  const share = all ? (done + moving) / all : 1;
  $("bar").firstElementChild.style.width = percent(share);
  $("bar").setAttribute("aria-valuenow", share.toFixed(3));
  trouble(state.problem);
};
const trouble = (text) => {
  $("problem").hidden = !text;
  $("problem").textContent = text;
};
const runs = () => {
  $("runs").replaceChildren(...state.runs.map((run) => {
    const text = `A run of ${run.study} on ${run.host} (process ${run.pid}), begun ${clock(run.began)}: ${run.total} steps to do with ${run.workers} worker(s).`;
    const odd = run.unknown ? ` ${run.unknown} of those under way are not steps of ${state.file} as serve was given it; a run with --set wants the same --set here.` : "";
    return make("p", text + odd);
  }), ...(state.runs.length ? [] : [make("p", "No run is at work on this store.", { className: "soft" })]));
  const rows = state.steps.filter((step) => step.state === "running").map((step) => {
    const row = make("tr"), far = make("td");
    far.append(bar(step.share));
    const words = step.epochs ? `epoch ${step.epoch}/${step.epochs}` : step.total ? `${step.done}/${step.total}` : "";
    row.append(named(step), far, make("td", percent(step.share)), make("td", words), make("td", duration(step.seconds)));
    return row;
  });
  $("running").hidden = !rows.length;
  fill($("running"), ["step", "", "done", "", "for"], rows);
  const lost = state.steps.filter((step) => step.state === "failed").map((step) => {
    const row = make("tr");
    row.append(named(step), make("td", step.error));
    return row;
  });
  $("lost").hidden = !lost.length;
  fill($("failures"), ["step", "why"], lost);
};
const steps = () => {
  const wanted = $("state").value, word = $("named").value.toLowerCase();
  const states = Object.keys(state.counts).sort();
  if (states.join() !== [...$("state").options].slice(1).map((one) => one.value).join()) {
    $("state").replaceChildren(make("option", "all steps", { value: "" }), ...states.map((one) => make("option", one, { value: one })));
    $("state").value = states.includes(wanted) ? wanted : "";
  }
  const shown = state.steps.filter((step) => (!$("state").value || step.state === $("state").value) && step.name.toLowerCase().includes(word));
  fill($("steps"), ["step", "state", "seconds", ""], shown.map((step) => {
    const row = make("tr");
    const told = step.state === "running" ? `running, ${percent(step.share)}` : step.state;
    const seconds = typeof step.seconds === "number" ? step.seconds.toFixed(1) : "";
    row.append(named(step), make("td", told, { className: `is-${step.state.replace(" ", "")}` }), make("td", seconds), make("td", step.error));
    return row;
  }));
};

// The page itself: shown anew when it was written anew, unless somebody is reading in it.
let shown = null;
const show = () => {
  if (state.page === null) return;
  $("report").hidden = $("apart").hidden = false;
  $("report").src = `report.html?at=${state.page}`;
  shown = state.page;
  $("written").textContent = `Written ${clock(shown)}.`;
  $("again").hidden = true;
};
const page = () => {
  if (state.page === null || state.page === shown || $("page").hidden) return;
  if (shown !== null && document.activeElement === $("report")) {
    $("written").textContent = `Written anew ${clock(state.page)}.`;
    $("again").hidden = false;
  } else show();
};

// Learning curves: one chart a target, one line a run, one colour an arm.
const WIDE = 560, HIGH = 300, LEFT = 46, RIGHT = 12, TOP = 12, LOW = 34;
const ticks = (low, high, count) => {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + 1e-9 * step; at += step) found.push(Math.abs(at) < 1e-12 ? 0 : at);
  return found;
};
const short = (value) => String(Number(value.toPrecision(6)));
const chart = (panel, arms, of) => {
  const xs = panel.runs.flatMap((run) => [...run.x, run.epochs || 0]), ys = panel.runs.flatMap((run) => run.y);
  const high = ys.reduce((a, b) => Math.max(a, b)), low = ys.reduce((a, b) => Math.min(a, b));
  const room = (high - low || Math.abs(high) || 1) * 0.06, ends = [low - room, high + room];
  const last = xs.reduce((a, b) => Math.max(a, b), 1);
  const x = (value) => LEFT + (value / last) * (WIDE - LEFT - RIGHT);
  const y = (value) => HIGH - LOW - ((value - ends[0]) / (ends[1] - ends[0])) * (HIGH - LOW - TOP);
  const what = of.endsWith("loss") ? "loss" : panel.metric;
  const svg = draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": `${panel.title}: ${what} by epoch, ${panel.runs.length} runs` });
  for (const at of ticks(ends[0], ends[1], 5)) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(at), y2: y(at) }));
    svg.append(draw("text", { x: LEFT - 6, y: y(at) + 4, "text-anchor": "end" }, short(at)));
  }
  for (const at of ticks(0, last, 8).filter(Number.isInteger)) svg.append(draw("text", { x: x(at), y: HIGH - LOW + 16, "text-anchor": "middle" }, short(at)));
  svg.append(draw("text", { x: WIDE - RIGHT, y: HIGH - 4, "text-anchor": "end" }, `epoch (${what})`));
  for (const run of [...panel.runs].sort((a, b) => (a.state === "running") - (b.state === "running"))) {
    const group = draw("g", run.state === "running" ? { class: "live" } : {}), colour = `s${arms.indexOf(run.arm) % 6}`;
    const path = run.x.map((at, n) => `${n ? "L" : "M"}${x(at).toFixed(1)},${y(run.y[n]).toFixed(1)}`).join("");
    group.append(draw("title", {}, `${run.name}: ${short(run.y[run.y.length - 1])} at epoch ${run.x[run.x.length - 1]} (${run.state})`));
    group.append(draw("path", { class: colour, d: path, "data-points": run.x.length }));
    if (run.state === "running") group.append(draw("circle", { class: colour, cx: x(run.x[run.x.length - 1]), cy: y(run.y[run.y.length - 1]), r: 3.5 }));
    svg.append(group);
  }
  const figure = make("figure"), legend = make("ul", undefined, { className: "legend" });
  for (const arm of arms.filter((one) => panel.runs.some((run) => run.arm === one))) {
    const item = make("li"), line = make("i", undefined, { className: `s${arms.indexOf(arm) % 6}` });
    item.append(line, arm);
    legend.append(item);
  }
  figure.append(make("h3", panel.title), svg, legend);
  return figure;
};
let drawn = null;
const curves = async () => {
  const said = await ask(`curves?of=${encodeURIComponent($("of").value)}`);
  if (said === drawn) return;
  drawn = said;
  const arms = [...new Set(said.panels.flatMap((panel) => panel.runs.map((run) => run.arm)))].sort();
  if (said.panels.length) $("curves").replaceChildren(...said.panels.map((panel) => chart(panel, arms, said.of)));
  else $("curves").replaceChildren(make("p", "No epoch is done yet.", { className: "soft" }));
};

// The log of a step, in a window above the page.
const log = async (key) => {
  try {
    const said = await ask(`log?key=${encodeURIComponent(key)}`);
    $("logged").textContent = `${said.name}: ${said.state}`;
    $("why").textContent = said.error;
    $("parts").replaceChildren(...said.parts.flatMap((part) => [
      make("h3", `${part.title}${part.cut ? `, its end (${part.cut} bytes before it left out)` : ""}, ${clock(part.changed)}`),
      make("pre", part.text, { tabIndex: 0 }),
    ]), ...(said.parts.length ? [] : [make("p", "It printed nothing.", { className: "soft" })]));
    if (!$("log").open) $("log").showModal();
    for (const text of $("parts").querySelectorAll("pre")) text.scrollTop = text.scrollHeight;
  } catch (error) {
    trouble(error.message);
  }
};
document.addEventListener("click", (event) => {
  const step = event.target.closest("button[data-key]"), part = event.target.closest("button[data-part]");
  if (step) log(step.dataset.key);
  if (part) {
    for (const other of document.querySelectorAll("button[data-part]")) {
      other.setAttribute("aria-pressed", String(other === part));
      $(other.dataset.part).hidden = other !== part;
    }
    history.replaceState(null, "", `#${part.dataset.part}`);
    if (state) render();
  }
});
$("again").addEventListener("click", show);
$("of").addEventListener("change", () => curves().catch((error) => trouble(error.message)));
for (const id of ["state", "named"]) $(id).addEventListener("input", () => state && steps());

const render = () => {
  summary();
  if (!$("now").hidden) runs();
  if (!$("all").hidden) steps();
  page();
};
let waiting = 0;
const look = async () => {
  clearTimeout(waiting);
  try {
    state = await ask("state");
    render();
    if (!$("now").hidden) await curves();
  } catch (error) {
    trouble(error instanceof TypeError ? "No answer: serve has ended, or the network to it. It is asked again." : error.message);
  }
  waiting = setTimeout(look, document.hidden ? UNSEEN : SEEN);
};
document.querySelector(`button[data-part="${CSS.escape(location.hash.slice(1))}"]`)?.click(); // a part has its address
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
