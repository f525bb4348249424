// What somebody has selected stays when the page loads again, as it does while a sweep runs. Rows
// are kept by the name of their configuration: their numbers change with every new result.
const storedAs = "scalelab " + location.pathname;

function storage() {
  try {
    return window.sessionStorage;
  } catch {
    return null; // a page may be opened where nothing can be stored
  }
}

const idOf = (key) => rows.find((row) => row.key === key)?.element.dataset.id;
const keyOf = (id) => rows.find((row) => row.element.dataset.id === id)?.key;

function keepSelection() {
  const sorted = document.querySelector("#configurations th[aria-sort]");
  storage()?.setItem(storedAs, JSON.stringify({
    legend: Object.fromEntries(Object.entries(state.legend).map(([name, set]) => [name, [...set]])),
    limits: state.limits, dragged: state.dragged, words: state.words, front: state.front,
    pinned: [...state.pinned].map(idOf),
    sort: sorted && [sorted.textContent, sorted.getAttribute("aria-sort")],
    open: rows.filter((row) => row.element.nextElementSibling?.classList.contains("details"))
      .map((row) => row.element.dataset.id),
    scroll: [window.scrollX, window.scrollY],
  }));
}

function keptSelection() {
  try {
    return JSON.parse(storage()?.getItem(storedAs) ?? "null");
  } catch {
    return null;
  }
}

// Before the charts are drawn: the selection, the controls and the table.
function restoreSelection(kept) {
  if (!kept || !byId("words")) return;
  const buttons = all("button[data-column]");
  for (const [column, values] of Object.entries(kept.legend)) {
    const there = values.filter((value) =>
      buttons.some((one) => one.dataset.column === column && one.dataset.value === value));
    if (there.length) state.legend[column] = new Set(there);
  }
  Object.assign(state, { limits: kept.limits, words: kept.words, front: kept.front });
  state.pinned = new Set(kept.pinned.map(keyOf).filter((key) => key !== undefined));
  byId("words").value = kept.words;
  byId("fronts").checked = kept.front;
  for (const slider of sliders) slider.show();
  const head = all("#configurations thead th").find((one) => one.textContent === kept.sort?.[0]);
  for (let n = 0; head && n < 2 && head.getAttribute("aria-sort") !== kept.sort[1]; n++)
    head.querySelector("button").click();
  for (const row of rows)
    if (kept.open.includes(row.element.dataset.id)) row.element.querySelector(".open").click();
}

// After the charts are drawn: the ranges that were dragged in them, and the place on the page.
async function restoreRanges(kept) {
  if (!kept) return;
  for (const [field, [low, high]] of Object.entries(kept.dragged)) {
    const view = views.find((one) => `brush_${field}` in one.getState().signals);
    if (!view) continue;
    const scale = view.scale("x");
    await view.signal("brush_x", [scale(low), scale(high)]).runAsync();
  }
  window.scrollTo(...kept.scroll);
}
