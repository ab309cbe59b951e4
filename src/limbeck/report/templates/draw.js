"use strict";
const plots = [];
function draw() {
  for (const source of document.querySelectorAll("script.figure")) {
    const { data, layout } = JSON.parse(source.textContent);
    const plot = source.previousElementSibling;
    Plotly.newPlot(plot, data, layout, { displayModeBar: false });
    plots.push(plot);
  }
  // The plots follow the width of their places, which no event of the window tells in every case.
  const places = new ResizeObserver((seen) => seen.forEach(({ target }) => Plotly.Plots.resize(target)));
  plots.forEach((plot) => places.observe(plot));
}
// Nothing observes paper: before printing the page takes a fixed width, and the plots follow at once.
addEventListener("beforeprint", () => {
  document.body.classList.add("paper");
  plots.forEach((plot) => Plotly.relayout(plot, { width: plot.clientWidth }));
});
addEventListener("afterprint", () => {
  document.body.classList.remove("paper");
  plots.forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true }));
});
