"use strict";
const plots = [];
for (const source of document.querySelectorAll("script.figure")) {
  const { data, layout } = JSON.parse(source.textContent);
  const plot = source.previousElementSibling;
  Plotly.newPlot(plot, data, layout, { responsive: true, displayModeBar: false });
  plots.push(plot);
}
const onPaper = (width) => plots.forEach((plot) => Plotly.relayout(plot, { width }));
addEventListener("beforeprint", () => onPaper(640));
addEventListener("afterprint", () => onPaper(null));
