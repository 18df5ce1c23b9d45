"use strict";
// One block of JSON holds the rows; the filters select the rows that table and charts show.
// Chart expressions are interpreted, never evaluated, and names are only inserted as text.
const data = JSON.parse(document.getElementById("data").textContent);
const MAX_ROWS = 200;
const UNKNOWN = "-";
const element = (id) => document.getElementById(id);
const state = { text: [], column: null, descending: false, allColumns: false, allRows: false };
const selects = [...document.querySelectorAll("[data-filter]")];
const haystacks = data.rows.map((row) => row.join("\n").toLowerCase());

// The filters.
const filteredRows = () => {
  const active = selects.filter((select) => select.value !== "");
  return data.rows
    .map((_, i) => i)
    .filter((i) => active.every((select) => data.facets[select.dataset.filter][i] === select.value))
    .filter((i) => state.text.every((word) => haystacks[i].includes(word)));
};
let shown = filteredRows();

// The table.
const sortKey = (column) => (i) =>
  data.columns[column].numeric ? Number.parseFloat(data.rows[i][column]) : data.rows[i][column];
const sortedRows = () => {
  if (state.column === null) return shown;
  const key = sortKey(state.column);
  const sign = state.descending ? -1 : 1;
  const unknown = (i) => data.rows[i][state.column] === UNKNOWN;
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
  return [...shown].sort(
    (a, b) => unknown(a) - unknown(b) || (unknown(a) ? a - b : sign * compare(key(a), key(b)) || a - b),
  );
};
const columnsShown = () =>
  data.columns.map((_, place) => place).filter((place) => state.allColumns || data.columns[place].key);
const heading = (place) => {
  const column = data.columns[place];
  const cell = document.createElement("th");
  const button = document.createElement("button");
  cell.scope = "col";
  cell.title = column.meaning;
  if (column.numeric) cell.className = "number";
  const sorted = state.column === place;
  const direction = state.descending ? "descending" : "ascending";
  cell.setAttribute("aria-sort", sorted ? direction : "none");
  button.type = "button";
  button.textContent = column.title;
  button.dataset.column = column.name;
  button.addEventListener("click", () => {
    state.descending = sorted && !state.descending;
    state.column = place;
    drawTable();
    document.querySelector(`thead [data-column="${column.name}"]`).focus();
  });
  cell.append(button);
  return cell;
};
const bodyRow = (i, places) => {
  const line = document.createElement("tr");
  if (i === data.best) line.className = "best";
  places.forEach((place, nth) => {
    const column = data.columns[place];
    const cell = document.createElement(nth ? "td" : "th");
    if (!nth) cell.scope = "row";
    if (column.numeric) cell.className = "number";
    if (column.name === "reason") cell.className = "reason";
    cell.textContent = data.rows[i][place] + (!nth && i === data.best ? " (recommended)" : "");
    line.append(cell);
  });
  return line;
};
const drawTable = () => {
  const places = columnsShown();
  const all = sortedRows();
  const visible = state.allRows ? all : all.slice(0, MAX_ROWS);
  const head = document.createElement("tr");
  head.append(...places.map(heading));
  document.querySelector("#table thead").replaceChildren(head);
  document.querySelector("#table tbody").replaceChildren(...visible.map((i) => bodyRow(i, places)));
  element("more").hidden = visible.length === all.length;
  element("more").textContent = `Show all ${all.length} rows`;
  const columns = `${places.length} of ${data.columns.length} columns`;
  element("rows-shown").textContent = `${visible.length} of ${data.rows.length} rows, ${columns}`;
};

// The charts.
const drawn = new Map();
const figures = [...document.querySelectorAll("[data-chart]")];
const points = () => {
  const selected = new Set(shown);
  const names = Object.keys(data.points);
  const result = [];
  (data.points.row ?? []).forEach((row, nth) => {
    if (!selected.has(row)) return;
    const point = {};
    for (const name of names) {
      if (data.points[name][nth] !== null) point[name] = data.points[name][nth];
    }
    result.push(point);
  });
  return result;
};
const escaped = (text) =>
  String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
const hover = (value) => {
  const cells = Number.isInteger(value.row)
    ? data.columns.map((column, place) => [column.title, data.rows[value.row][place]])
    : Object.entries(value).map(([name, text]) => [name, typeof text === "number" ? text.toPrecision(3) : text]);
  const hidden = ["environment", "sweep", "trial", "status", "order", "speed_rank", "place", "room", "label"];
  const lines = cells
    .filter(([name, text]) => text !== UNKNOWN && !hidden.includes(name))
    .slice(0, 30)
    .map(([name, text]) => `<tr><td class="key">${escaped(name)}</td><td>${escaped(text)}</td></tr>`);
  return `<table>${lines.join("")}</table>`;
};
const longestName = Math.max(0, ...(data.points.config ?? []).map((name) => name.length));
const legendEntryWidth = 40 + 6.2 * longestName;
const byWidth = (spec, width) => {
  const narrow = width < 640;
  const config = structuredClone(data.config);
  config.legend.orient = narrow ? "bottom" : "right";
  config.legend.layout = { bottom: { direction: "vertical", anchor: "start" } };
  config.legend.columns = narrow ? Math.max(1, Math.floor((width - 80) / legendEntryWidth)) : 1;
  config.legend.labelLimit = narrow ? width - 120 : 240;
  config.axis.labelLimit = Math.round(width * 0.4);
  config.axisQuantitative.tickCount = narrow ? 4 : 7;
  if (narrow) config.axisX = { titleAnchor: "end" };
  return { ...spec, width: "container", autosize: { type: "fit-x", contains: "padding" }, config };
};
const options = {
  mode: "vega-lite",
  ast: true,
  actions: false,
  logLevel: 1,
  renderer: "svg",
  tooltip: { disableDefaultStyle: true, formatTooltip: hover },
};
const describe = (place, view) => {
  const parts = [place.dataset.title];
  for (const axis of ["x", "y"]) {
    const spec = data.charts[place.dataset.chart].spec.layer
      .map((layer) => layer.encoding?.[axis])
      .find((encoding) => encoding?.title);
    if (spec?.type !== "quantitative") continue;
    const domain = view.scale(axis).domain();
    parts.push(`${spec.title} from ${domain.map((end) => end.toPrecision(3)).join(" to ")}`);
  }
  const source = data.charts[place.dataset.chart].linked ? "the table of all results" : "layers.csv";
  parts.push(`For the figures, see ${source}`);
  // One image with a description of its axes; with Vega's roles a screen reader reads every mark.
  place.setAttribute("role", "img");
  place.removeAttribute("aria-roledescription");
  place.setAttribute("aria-label", `${parts.join(". ")}.`);
};
const showError = (place, error) => {
  place.textContent = `Cannot draw this chart: ${error.message}`;
};
const drawablePoints = ({ spec }) => {
  const known = (point, name) => !(name in data.points) || point[name] !== undefined;
  const transforms = spec.transform ?? [];
  const required = transforms.map(({ filter }) => /^isValid\(datum\.(\w+)\)$/.exec(filter)?.[1]);
  const folded = transforms.find(({ fold }) => fold)?.fold;
  return points().filter(
    (point) =>
      required.every((name) => !name || known(point, name)) &&
      (!folded || folded.some((name) => known(point, name))),
  );
};
const draw = async (place) => {
  const chart = data.charts[place.dataset.chart];
  const width = place.clientWidth;
  place.dataset.narrow = String(width < 640);
  const spec = byWidth(chart.spec, width);
  if (chart.linked) spec.datasets = { ...spec.datasets, rows: points() };
  drawn.get(place)?.finalize();
  const result = await vegaEmbed(place, spec, options);
  drawn.set(place, result);
  describe(place, result.view);
};
const redraw = async (place) => {
  const chart = data.charts[place.dataset.chart];
  if (!chart.linked || !drawn.has(place)) return;
  const empty = drawablePoints(chart).length === 0;
  place.hidden = empty;
  place.nextElementSibling.hidden = !empty;
  if (empty) return;
  const { view } = drawn.get(place);
  await view.data("rows", points()).runAsync();
  describe(place, view);
};
const all = (action) =>
  Promise.all(figures.map((place) => action(place).catch((error) => showError(place, error))));

// Controls.
const refresh = () => {
  shown = filteredRows();
  element("count").textContent = `${shown.length} of ${data.rows.length} rows`;
  drawTable();
};
const search = (text) => {
  state.text = text.toLowerCase().split(/\s+/).filter(Boolean);
};
// The filters are part of the address, so that a reload or a link keeps them.
const saveFilters = () => {
  const values = selects.map((select) => [select.dataset.filter, select.value]);
  values.push(["text", element("filter-text").value]);
  const parameters = new URLSearchParams(values.filter(([, value]) => value !== ""));
  history.replaceState(null, "", `#${parameters}`);
};
const restoreFilters = () => {
  const parameters = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  for (const select of selects) {
    const value = parameters.get(select.dataset.filter) ?? "";
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  }
  element("filter-text").value = parameters.get("text") ?? "";
  search(element("filter-text").value);
};
let waiting = Promise.resolve();
const applyFilters = () => {
  saveFilters();
  refresh();
  waiting = waiting.then(() => all(redraw));
};
for (const select of selects) select.addEventListener("change", applyFilters);
element("filter-text").addEventListener("input", (event) => {
  search(event.target.value);
  applyFilters();
});
element("reset").addEventListener("click", () => {
  for (const select of selects) select.value = "";
  element("filter-text").value = "";
  state.text = [];
  applyFilters();
});
element("all-columns").addEventListener("change", (event) => {
  state.allColumns = event.target.checked;
  drawTable();
});
element("more").addEventListener("click", () => {
  state.allRows = true;
  drawTable();
});
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  state.allRows = true;
  drawTable();
});
addEventListener("resize", () => {
  for (const place of figures) {
    if (!place.hidden && place.dataset.narrow !== String(place.clientWidth < 640)) {
      draw(place).catch((error) => showError(place, error));
    }
  }
});
restoreFilters();
refresh();
waiting = all(draw).then(() => {
  document.documentElement.dataset.ready = "yes";
});
