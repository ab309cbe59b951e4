// The temperature slider: it looks up what was kept, and computes nothing.
const softener = document.getElementById("softener");
if (softener) {
  const { temperatures, who, sigmoid, rows } = JSON.parse(document.getElementById("softening-data").textContent);
  const slider = document.getElementById("temperature");
  const now = document.getElementById("temperature-now");
  const body = document.getElementById("softened");
  const written = (share) => `${(100 * share).toFixed(1)} %`;
  let shown = -1;

  const cell = (model) => {
    const found = document.createElement("td");
    const bar = document.createElement("i");
    bar.className = model === "teacher" ? "ensemble" : "taught";
    found.append(bar, document.createElement("span"));
    return found;
  };

  const lay = (row) => {
    body.replaceChildren(...row.names.map((name, place) => {
      const line = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      head.title = name;
      if (row.true[place]) {
        line.className = "true";
        const said = document.createElement("span");
        said.className = "unseen";
        said.textContent = " (label)";
        head.append(said);
      }
      line.append(head, ...who.map(cell));
      return line;
    }));
  };

  const draw = () => {
    const chosen = Number(softener.querySelector("input[name=row]:checked").value);
    const at = Number(slider.value);
    const row = rows[chosen];
    if (chosen !== shown) {
      lay(row);
      softener.querySelectorAll(".one").forEach((one) => { one.hidden = Number(one.dataset.row) !== chosen; });
      shown = chosen;
    }
    now.textContent = `T = ${temperatures[at]}`;
    slider.setAttribute("aria-valuetext", `T = ${temperatures[at]}`);
    who.forEach((model, column) => {
      const probs = row[model][at];
      probs.forEach((share, place) => {
        const [bar, text] = body.rows[place].cells[column + 1].children;
        bar.style.width = `${(100 * share).toFixed(2)}%`;
        text.textContent = written(share);
      });
      const best = probs.indexOf(Math.max(...probs));
      softener.querySelector(`[data-says="${model}"]`).textContent = sigmoid
        ? row.names.filter((_, place) => probs[place] > 0.5).join(", ") || "none"
        : `${row.names[best]} (${written(probs[best])})`;
    });
  };

  slider.addEventListener("input", draw);
  softener.addEventListener("change", draw);
  draw();
}
