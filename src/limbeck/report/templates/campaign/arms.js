// Ticking an arm shows it in every figure of its group.
for (const picks of document.querySelectorAll(".picks")) {
  picks.addEventListener("change", ({ target }) => {
    for (const plot of document.querySelectorAll(`.plot[data-group="${picks.dataset.group}"]`)) {
      const traces = plot.data.flatMap(({ meta }, place) => (meta === target.value ? [place] : []));
      if (traces.length) Plotly.restyle(plot, { visible: target.checked }, traces);
    }
  });
}
