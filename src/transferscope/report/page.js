"use strict";
// Says of every table that is wider than the page that there is more of it.
const widen = () => {
  for (const grid of document.querySelectorAll(".grid")) {
    const table = grid.querySelector(".scroll");
    grid.classList.toggle("wide", table.scrollWidth > table.clientWidth + 1);
  }
};
addEventListener("resize", widen);
document.addEventListener("toggle", widen, true);
widen();

// A link into a fold opens it; the contents are open where there is room for them beside the page.
const reveal = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest('a[href^="#"]');
  if (link && link.hash === location.hash) reveal();
});
reveal();
const beside = matchMedia("(min-width: 60.01rem)");
const contents = document.querySelector("nav details");
const unfold = () => { contents.open = beside.matches; };
beside.addEventListener("change", unfold);
unfold();

// Marks in the contents what is being read: the lowest of what begins above the middle of the window.
const links = new Map([...document.querySelectorAll('nav a[href^="#"]')].map((link) => [link.hash.slice(1), link]));
const places = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
const mark = () => {
  const seen = places.filter((place) => place.getClientRects().length && place.getBoundingClientRect().top < innerHeight / 3);
  const now = seen.length ? seen[seen.length - 1].id : places[0] && places[0].id;
  for (const [id, link] of links) {
    if (id === now) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
};
const observer = new IntersectionObserver(mark, { rootMargin: "0px 0px -66% 0px", threshold: [0, 0.02, 0.5] });
places.forEach((place) => observer.observe(place));
document.addEventListener("toggle", mark, true);
mark();

// Copies a table as text that a spreadsheet takes.
for (const button of document.querySelectorAll("button.copy")) {
  const table = button.closest(".copied").querySelector("table");
  if (!table) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join("\t")).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch (error) {
      getSelection().selectAllChildren(table);
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected: press Ctrl-C";
    }
  });
}

// Draws every chart from the JSON beside it, fitted to the page; charts in closed folds too, so that printing shows them.
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const main = document.querySelector("main");

// Wide charts shrink to the room there is: single views follow it, facets and rows of charts wrap.
const fit = (spec, room) => {
  const narrow = (view) => {
    if (typeof view.width === "number") view.width = Math.min(view.width, Math.max(160, room - 90));
  };
  if (spec.facet && spec.spec) {
    const cell = typeof spec.spec.width === "number" ? spec.spec.width : 200;
    spec.columns = Math.max(1, Math.min(spec.columns || 1, Math.floor((room - 40) / (cell + 24))));
    narrow(spec.spec);
  } else if (spec.hconcat && room < 640) {
    spec.vconcat = spec.hconcat;
    delete spec.hconcat;
    spec.vconcat.forEach(narrow);
  } else if (!spec.hconcat && !spec.vconcat && !spec.concat && typeof spec.width === "number") {
    const widest = spec.width + 140;
    if (spec.width < 500 && widest < room) return; // a small matrix keeps its square cells
    spec.width = Math.floor(Math.min(widest, room)) - 2;
    spec.autosize = { type: "fit-x", contains: "padding" };
  }
};

// The width of a chart's place; in a closed fold, which has none, what it will be.
const roomOf = (place) => {
  if (place.clientWidth) return place.clientWidth;
  const fold = place.closest(".fold");
  const style = fold && getComputedStyle(fold);
  const sides = fold ? ["paddingLeft", "paddingRight", "borderLeftWidth", "borderRightWidth"] : [];
  return main.clientWidth - sides.reduce((sum, side) => sum + parseFloat(style[side]), 0);
};

const draw = async (place) => {
  const spec = JSON.parse(place.querySelector("script").textContent);
  for (const [name, table] of Object.entries(spec.datasets || {})) {
    const value = (column, cell) => (cell !== null && Object.hasOwn(table.texts, column) ? table.texts[column][cell] : cell);
    spec.datasets[name] = table.rows.map((row) =>
      Object.fromEntries(table.columns.map((column, at) => [column, value(column, row[at])])),
    );
  }
  const canvas = place.querySelector(".drawing");
  const room = roomOf(place);
  place.dataset.room = room;
  fit(spec, room);
  (spec.config = spec.config || {}).background = "transparent";
  spec.config.aria = false;
  if (room < 500) {
    if (spec.config.legend) spec.config.legend.columns = 2;
    if (spec.config.axis) spec.config.axis.labelLimit = 110;
    if (spec.config.header) spec.config.header.labelLimit = room - 70;
  }
  try {
    await vegaEmbed(canvas, spec, {
      renderer: "svg",
      actions: { export: true, source: false, compiled: false, editor: false },
      downloadFileName: place.dataset.name,
      tooltip: { theme: dark ? "dark" : "light" },
    });
    const menu = canvas.querySelector("summary");
    if (menu) menu.setAttribute("aria-label", "Save this chart");
    const svg = canvas.querySelector("svg.marks");
    const title = place.closest("figure").querySelector("h3, h4");
    if (svg && title) {
      // One image with a name: its thousands of marks are no reading matter, the tables are.
      for (const part of svg.querySelectorAll("[role], [aria-roledescription], [aria-label]"))
        for (const name of ["role", "aria-roledescription", "aria-label"]) part.removeAttribute(name);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", title.textContent);
    }
    place.dataset.drawn = "yes";
  } catch (error) {
    canvas.textContent = "This chart could not be drawn here: " + error;
    place.dataset.drawn = "no";
  }
};

(async () => {
  for (const place of document.querySelectorAll(".chart")) {
    await draw(place);
    await new Promise((next) => setTimeout(next));
  }
  document.documentElement.dataset.ready = "yes";
})();

// What was drawn for another width (a turned phone, a fold that had none) is drawn again.
let waiting;
const again = () => {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    for (const place of document.querySelectorAll(".chart[data-drawn]")) {
      if (place.clientWidth && Math.abs(place.clientWidth - place.dataset.room) > 8) await draw(place);
    }
  }, 200);
};
addEventListener("resize", again);
document.addEventListener("toggle", again, true);

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not(.long, .drawing details)")) details.open = true;
});
