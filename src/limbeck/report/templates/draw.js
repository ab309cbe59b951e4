"use strict";
const plots = [];
for (const source of document.querySelectorAll("script.figure")) {
  const { data, layout } = JSON.parse(source.textContent);
  const plot = source.previousElementSibling;
  Plotly.newPlot(plot, data, layout, { displayModeBar: false });
  plots.push(plot);
}
// The plots follow the width of their places, which no event of the window tells in every case.
const places = new ResizeObserver((seen) => seen.forEach(({ target }) => Plotly.Plots.resize(target)));
plots.forEach((plot) => places.observe(plot));
// Paper has a width of its own, and nothing observes it.
const onPaper = (width) => plots.forEach((plot) => Plotly.relayout(plot, { width }));
addEventListener("beforeprint", () => onPaper(640));
addEventListener("afterprint", () => onPaper(null));
