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

// Draws every chart from the JSON beside it, fitted to the page; the still image stays if the script cannot run.
(async () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;

  // Wide charts shrink to the page: single views follow its width, facets and rows of charts wrap.
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
      if (spec.width < 500 && widest < room) return null; // a small matrix keeps its square cells
      spec.width = "container";
      return widest;
    }
    return null;
  };

  for (const place of document.querySelectorAll(".chart")) {
    const spec = JSON.parse(place.querySelector("script").textContent);
    const canvas = place.querySelector(".drawing");
    const widest = fit(spec, place.clientWidth);
    if (widest) canvas.style.maxWidth = widest + "px";
    (spec.config = spec.config || {}).background = "transparent";
    if (document.documentElement.clientWidth < 600 && spec.config.legend) spec.config.legend.columns = 2;
    try {
      await vegaEmbed(canvas, spec, {
        renderer: "svg",
        actions: { export: true, source: false, compiled: false, editor: false },
        downloadFileName: place.dataset.name,
        tooltip: { theme: dark ? "dark" : "light" },
      });
      place.dataset.drawn = "yes";
    } catch (error) {
      canvas.textContent = "This chart could not be drawn here: " + error;
      place.dataset.drawn = "no";
    }
    await new Promise((next) => setTimeout(next));
  }
  document.documentElement.dataset.ready = "yes";
})();

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not(.long)")) details.open = true;
});
