"use strict";
// One selection for the whole page: the charts fade what is not in it, the table hides it.
const all = (query, root = document) => [...root.querySelectorAll(query)];
const byId = (id) => document.getElementById(id);
const json = (element) => JSON.parse(element.textContent);
const make = (tag, text = "", className = "") => {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
};

const rows = all("#configurations tbody tr").map((element) => ({
  element, key: element.dataset.key, loss: element.dataset.loss,
  peak_bytes: Number(element.dataset.peak_bytes ?? NaN),
  train_s: Number(element.dataset.train_s ?? NaN),
  front: element.dataset.front === "1", words: element.textContent.toLowerCase(),
}));
const views = [];
const state = { legend: {}, limits: {}, dragged: {}, pinned: new Set(), words: "", front: false };
// Which configurations a value of a legend stands for, from the rows of the charts.
const members = { loss: {} };
for (const row of rows) (members.loss[row.loss] ??= new Set()).add(row.key);

function isIn(row) {
  const legends = Object.entries(state.legend).filter(([, values]) => values.size > 0);
  if (!legends.every(([column, values]) =>
    [...values].some((value) => members[column]?.[value]?.has(row.key)))) return false;
  for (const [field, most] of Object.entries(state.limits)) if (!(row[field] <= most)) return false;
  for (const [field, [low, high]] of Object.entries(state.dragged))
    if (!(row[field] >= low && row[field] <= high)) return false;
  if (state.front && !row.front) return false;
  return state.words.split(/\s+/).every((word) => row.words.includes(word));
}

function refresh() {
  const shown = rows.filter(isIn);
  const inside = new Set(shown.map((row) => row.key));
  for (const row of rows) {
    row.element.hidden = !inside.has(row.key);
    const details = row.element.nextElementSibling;
    if (details?.classList.contains("details")) details.hidden = row.element.hidden;
    const pinned = state.pinned.has(row.key);
    row.element.classList.toggle("pinned", pinned);
    row.element.querySelector(".pin").setAttribute("aria-pressed", String(pinned));
  }
  const chosen = state.pinned.size > 0 ? [...state.pinned] : [...inside];
  const everything = state.pinned.size === 0 && shown.length === rows.length;
  const picked = everything ? null : Object.fromEntries(chosen.map((key) => [key, true]));
  for (const view of views) view.signal("picked", picked).runAsync();
  for (const button of all("button[data-column]"))
    button.setAttribute("aria-pressed",
      String(state.legend[button.dataset.column]?.has(button.dataset.value) ?? false));
  if (byId("clear")) {
    byId("clear").disabled = everything;
    byId("count").textContent = `${shown.length.toLocaleString("en")} of ` +
      `${rows.length.toLocaleString("en")} configurations` +
      (state.pinned.size ? `, ${state.pinned.size} pinned` : "");
  }
  markWideTables();
}

// A chart cannot be changed while it works out its own signals.
let isWaiting = false;
function refreshSoon() {
  if (isWaiting) return;
  isWaiting = true;
  setTimeout(() => { isWaiting = false; refresh(); }, 0);
}

function toggle(set, value) {
  if (!set.delete(value)) set.add(value);
  refresh();
}

function markWideTables() {
  for (const box of all(".box")) {
    const inner = box.querySelector(".scroll");
    box.classList.toggle("overflows", inner.scrollWidth > inner.clientWidth + 1);
  }
}

// The table.
for (const row of rows) {
  row.element.querySelector(".pin").addEventListener("click", () => toggle(state.pinned, row.key));
  const opener = row.element.querySelector(".open");
  opener.addEventListener("click", () => {
    const open = opener.getAttribute("aria-expanded") === "true";
    opener.setAttribute("aria-expanded", String(!open));
    if (open) row.element.nextElementSibling.remove();
    else row.element.after(details(row));
  });
}
all("#configurations thead button").forEach((button) => {
  const head = button.parentElement;
  button.addEventListener("click", () => {
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const place = [...head.parentElement.children].indexOf(head);
    const number = head.classList.contains("number");
    const value = (row) => {
      const cell = row.element.children[place];
      return number ? (cell.dataset.v === "" ? NaN : Number(cell.dataset.v)) : cell.textContent;
    };
    const sign = order === "ascending" ? 1 : -1;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!number) return sign * x.localeCompare(y, "en", { numeric: true });
      // What is not known is last in either order.
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return sign * (x - y);
    };
    const body = document.querySelector("#configurations tbody");
    for (const row of [...rows].sort(compare)) {
      const below = row.element.nextElementSibling;
      body.append(row.element);
      if (below?.classList.contains("details")) row.element.after(below);
    }
  });
});

// The settings of one configuration.
function settingsOf(key) {
  const settings = json(byId("settings"));
  return { ...settings.common, ...settings.own[key] };
}

function toml(settings) {
  const lines = [];
  const lists = {};
  for (const key of Object.keys(settings).sort()) {
    const value = JSON.stringify(settings[key]);
    const numbered = /^(\w+)\.(\d+)\.(.+)$/.exec(key);
    if (numbered) ((lists[numbered[1]] ??= [])[Number(numbered[2])] ??= []).push(`${numbered[3]} = ${value}`);
    else lines.push(`${key} = ${value}`);
  }
  for (const [name, tables] of Object.entries(lists))
    for (const table of tables) lines.push("", `[[${name}]]`, ...table);
  return lines.join("\n") + "\n";
}

function differences(key) {
  const best = json(byId("settings")).best[key];
  if (best === undefined) return make("p", "No configuration of its data has a quality.");
  if (String(best) === String(key)) return make("p", "This is the best on validation.");
  const [own, other] = [settingsOf(key), settingsOf(best)];
  const list = make("ul");
  for (const name of [...new Set([...Object.keys(own), ...Object.keys(other)])].sort()) {
    const [mine, theirs] = [JSON.stringify(own[name]), JSON.stringify(other[name])];
    if (mine !== theirs)
      list.append(make("li", `${name}: ${mine ?? "not set"}; the best has ${theirs ?? "it not set"}`));
  }
  return list.childElementCount ? list : make("p", "The settings are those of the best.");
}

function details(row) {
  const line = make("tr", "", "details");
  const cell = make("td");
  cell.colSpan = row.element.childElementCount;
  const inner = make("div", "", "inner");
  const text = toml(settingsOf(row.key));
  const save = make("button", "save as run.toml");
  save.type = "button";
  save.addEventListener("click", () => download("run.toml", new Blob([text], { type: "text/plain" })));
  const how = make("p", "To repeat it, save its settings and type: ");
  how.append(make("code", "scalelab profile run.toml --steps 0"), " ", save);
  const folded = make("details");
  folded.append(make("summary", "All settings (run.toml)"), make("pre", text));
  inner.append(make("h3", "What differs from the best on validation"), differences(row.key), how, folded);
  cell.append(inner);
  line.append(cell);
  return line;
}

function download(name, blob) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// The controls. A slider moves over the values that there are, so that its label is one of them.
const sliders = all("input[data-range]").map((input) => {
  const field = input.dataset.range;
  const texts = new Map();
  for (const row of rows)
    if (!Number.isNaN(row[field]))
      texts.set(row[field], row.element.querySelector(`[data-of="${field}"]`).textContent);
  const values = [...texts.keys()].sort((a, b) => a - b);
  input.max = String(Math.max(0, values.length - 1));
  input.value = input.max;
  if (values.length < 2) input.parentElement.hidden = true;
  const label = () => {
    const text = texts.get(values[Number(input.value)]) ?? "";
    input.nextElementSibling.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
  input.addEventListener("input", () => {
    const place = Number(input.value);
    if (place >= values.length - 1) delete state.limits[field];
    else state.limits[field] = values[place];
    label();
    refresh();
  });
  label();
  // The largest value within the limit, or all.
  const show = () => {
    const most = state.limits[field] ?? Infinity;
    input.value = String(Math.max(0, values.filter((value) => value <= most).length - 1));
    label();
  };
  return { show };
});
byId("words")?.addEventListener("input", (event) => {
  state.words = event.target.value.toLowerCase().trim();
  refresh();
});
byId("fronts")?.addEventListener("change", (event) => {
  state.front = event.target.checked;
  refresh();
});
byId("clear")?.addEventListener("click", () => {
  Object.assign(state, { legend: {}, limits: {}, pinned: new Set(), words: "", front: false });
  byId("words").value = "";
  byId("fronts").checked = false;
  for (const slider of sliders) slider.show();
  for (const view of views) clearBrush(view);
  state.dragged = {};
  refresh();
});
for (const button of all("button[data-column]"))
  button.addEventListener("click", () =>
    toggle((state.legend[button.dataset.column] ??= new Set()), button.dataset.value));

// The charts.
const isDark = window.matchMedia("(prefers-color-scheme: dark)");
const isCoarse = window.matchMedia("(pointer: coarse)").matches;
const darkOf = json(byId("dark"));
const recolour = (value) => {
  if (typeof value === "string") return darkOf[value] ?? value;
  if (Array.isArray(value)) return value.map(recolour);
  if (value && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recolour(inner)]));
  return value;
};
const withoutBrush = (spec) => ({
  ...spec, params: spec.params?.filter((param) => param.name !== "brush"),
  ...(spec.layer ? { layer: spec.layer.map(withoutBrush) } : {}),
});

function clearBrush(view) {
  const names = Object.keys(view.getState().signals);
  for (const name of names.filter((each) => /^brush_(x|y)$/.test(each))) view.signal(name, []);
}

function listen(view) {
  if ("brush" in view.getState().signals)
    view.addSignalListener("brush", (name, value) => {
      for (const field of ["peak_bytes", "train_s"]) {
        if (value[field]) state.dragged[field] = value[field];
        else if (view.ranged === field) delete state.dragged[field];
        if (value[field]) view.ranged = field;
      }
      refreshSoon();
    });
  view.addEventListener("click", (event, item) => {
    const key = item?.datum?.key;
    if (key !== undefined && rows.some((row) => row.key === String(key)))
      toggle(state.pinned, String(key));
  });
}

// Names of losses were placed for a wider chart.
const isNarrow = (canvas) => canvas.clientWidth < 380;

async function draw(place, canvas, data) {
  const used = data.views[Number(canvas.dataset.view)];
  let spec = isDark.matches ? recolour(used) : used;
  if (isCoarse) spec = withoutBrush(spec);
  canvas.dataset.narrow = isNarrow(canvas);
  if (isNarrow(canvas) && spec.layer)
    spec = { ...spec, layer: spec.layer.filter((layer) => !layer.name?.startsWith("printed")) };
  const title = [place.querySelector("h2")?.textContent, canvas.parentElement.textContent];
  spec = { ...spec, datasets: data.datasets, description: title.filter(Boolean).join(": ") };
  canvas.textContent = "";
  const theme = isDark.matches ? "dark" : "light";
  const options = { renderer: "svg", actions: false, defaultStyle: false, tooltip: { theme } };
  const { view } = await vegaEmbed(canvas, spec, options);
  views.push(view);
  listen(view);
  const save = canvas.parentElement.querySelector(".save");
  save.hidden = false;
  save.onclick = async () => {
    const image = await view.toCanvas(2);
    image.toBlob((blob) => download(`${place.dataset.name}.png`, blob));
  };
}

async function drawAll() {
  const kept = document.body.dataset.ready ? null : keptSelection();
  restoreSelection(kept);
  for (const view of views.splice(0)) view.finalize();
  for (const place of all(".chart")) {
    const source = place.querySelector('script[type="application/json"]');
    if (!source) continue;
    const data = json(source);
    for (const rowsOf of Object.values(data.datasets))
      for (const row of rowsOf)
        for (const column of ["label", "line"])
          if (row.key !== undefined && row[column] !== undefined)
            ((members[column] ??= {})[row[column]] ??= new Set()).add(String(row.key));
    for (const canvas of all(".canvas", place)) {
      try {
        await draw(place, canvas, data);
      } catch (error) {
        canvas.textContent = "cannot draw: " + error;
        console.error(error);
      }
    }
  }
  await restoreRanges(kept);
  refresh();
  document.body.dataset.ready = "1";
}

isDark.addEventListener("change", drawAll);
window.addEventListener("resize", markWideTables);
// As where a telephone is turned.
window.addEventListener("resize", () => {
  const drawn = all(".canvas").filter((canvas) => canvas.dataset.narrow);
  if (drawn.some((canvas) => canvas.dataset.narrow !== String(isNarrow(canvas)))) drawAll();
});
window.addEventListener("pagehide", keepSelection);
