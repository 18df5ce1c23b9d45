"use strict";
// One block of JSON holds the rows; the filters select the rows that table and charts show.
// Chart expressions are interpreted, never evaluated, and names are only inserted as text.
const data = JSON.parse(document.getElementById("data").textContent);
const MAX_ROWS = 200;
const UNKNOWN = "-";
const element = (id) => document.getElementById(id);
let waiting = Promise.resolve();
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
    if (["verdict", "status"].includes(column.name)) cell.className = `verdict ${data.rows[i][place]}`;
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
const FIRST = "latency-throughput";
const FIRST_HEIGHT = { narrow: 330, wide: 430 }; // so that the first screen has the legends too
// The names in the legends of a chart: the domains of its scales.
const legendNames = (value) => {
  if (value === null || typeof value !== "object") return [];
  const own = Array.isArray(value.scale?.domain) ? value.scale.domain.map(String) : [];
  return [...own, ...Object.values(value).flatMap(legendNames)];
};
const FULL_LABEL = "truncate(datum.label, 52, 'center')";
const shortenLabels = (value, characters) =>
  JSON.parse(JSON.stringify(value).replaceAll(FULL_LABEL, FULL_LABEL.replace("52", characters)));
const byWidth = (name, width) => {
  const characters = Math.max(12, Math.floor(Math.min(width * 0.5, 320) / 6.2));
  const spec = shortenLabels(data.charts[name].spec, characters);
  const narrow = width < 640;
  const config = structuredClone(data.config);
  config.legend.orient = narrow ? "bottom" : "right";
  config.legend.layout = { bottom: { direction: "vertical", anchor: "start" } };
  const entryWidth = 40 + 6.2 * Math.max(0, ...legendNames(spec).map((text) => text.length));
  config.legend.columns = narrow ? Math.max(1, Math.floor((width - 110) / entryWidth)) : 1;
  config.legend.labelLimit = narrow ? width - 120 : 240;
  config.legend.titleOrient = narrow ? "left" : "top";
  config.axis.labelLimit = Math.round(width * 0.5);
  config.axisQuantitative.tickCount = narrow ? 4 : 7;
  if (narrow) config.axisX.titleAnchor = "end";
  if (spec.facet) {
    const columns = Math.max(1, Math.floor(width / (narrow ? 160 : 240)));
    const panel = { ...spec.spec, width: Math.max(80, Math.floor(width / columns) - 52) };
    config.legend.orient = "bottom";
    const facet = { ...spec.facet, header: { ...spec.facet.header, labelLimit: panel.width } };
    return { ...spec, facet, columns, spec: panel, config };
  }
  const height = name === FIRST ? FIRST_HEIGHT[narrow ? "narrow" : "wide"] : spec.height;
  return { ...spec, height, width: "container", autosize: { type: "fit-x", contains: "padding" }, config };
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
    const { spec: whole } = data.charts[place.dataset.chart];
    const spec = (whole.layer ?? [])
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
  const spec = byWidth(place.dataset.chart, width);
  if (chart.linked) spec.datasets = { ...spec.datasets, rows: points() };
  drawn.get(place)?.finalize();
  const result = await vegaEmbed(place, spec, options);
  drawn.set(place, result);
  result.view.addEventListener("click", (_, item) => {
    if (Number.isInteger(item?.datum?.row)) selectRow(item.datum.row);
  });
  if (place.dataset.chart === FIRST) await showLimit();
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

// The selected row.
const details = data.details;
let selected = data.picked;
let recommended = data.best;
let latencyLimit = details.limits.latency;
let qualityLimit = details.limits.quality;
const cellOf = (row, name) => {
  const place = data.columns.findIndex((column) => column.name === name);
  return row === null || place < 0 ? UNKNOWN : data.rows[row][place];
};
const nodes = (tag, parts) =>
  parts.map((text) => {
    const node = document.createElement(tag);
    node.textContent = text;
    return node;
  });
const showLimit = async () => {
  const place = figures.find((figure) => figure.dataset.chart === FIRST);
  if (!drawn.has(place)) return;
  const { view } = drawn.get(place);
  await view.signal("latency_limit", latencyLimit).signal("picked_row", selected ?? -1).runAsync();
};
const svgNode = (tag, attributes, text = "") => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
};
const drawRounds = (values) => {
  const place = element("rounds");
  if (values.length < 2) {
    place.textContent = values.length ? `One round: ${values[0]}` : "No rounds were recorded.";
    return;
  }
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const position = (value, n) => [
    60 + (n * 420) / (values.length - 1),
    12 + 56 * (high > low ? (high - value) / (high - low) : 0.5),
  ];
  const at = values.map(position);
  const svg = svgNode("svg", { viewBox: "0 0 500 90" });
  svg.append(
    svgNode("polyline", { class: "line", points: at.map((pair) => pair.join()).join(" ") }),
    ...at.map(([x, y]) => svgNode("circle", { cx: x, cy: y, r: 3 })),
    svgNode("text", { x: 0, y: 16 }, high.toPrecision(4)),
    svgNode("text", { x: 0, y: 72 }, low.toPrecision(4)),
    svgNode("text", { x: 60, y: 88 }, "round 1"),
    svgNode("text", { x: 480, y: 88, "text-anchor": "end" }, `round ${values.length}`),
  );
  place.replaceChildren(svg);
  place.setAttribute("aria-label", `Throughput of ${values.length} rounds: ${values.join(", ")}`);
};
const drawLayers = (row) => {
  const [variant, device, precision] = ["variant", "device", "executed_precision"].map((name) => cellOf(row, name));
  const profile = details.layers.find(
    (each) => each.variant === variant && each.device === device && [null, precision].includes(each.precision),
  );
  const commands = details.profile[row].map((n) => details.lines[n]);
  element("profile").textContent = profile ? "" : commands.join("\n");
  element("profile-first").hidden = profile || !commands.length;
  if (!profile) {
    element("layers").textContent = commands.length ? "Not profiled." : "Not profiled: the model is not at its path, or did not run.";
    return;
  }
  const table = document.createElement("table");
  table.append(...nodes("caption", [`Profile at batch ${profile.batch}, ${profile.load} hint`]));
  const head = document.createElement("tr");
  head.append(...nodes("th", ["type", "layer", "executed", "ms", "%"]));
  for (const cell of head.children) cell.scope = "col";
  table.append(head);
  for (const [type, label, precision, ms, share] of profile.layers) {
    const line = document.createElement("tr");
    line.append(...nodes("td", [type, label, precision ?? UNKNOWN, ms.toFixed(3), share.toFixed(1)]));
    table.append(line);
  }
  for (const line of table.rows) for (const cell of [...line.cells].slice(3)) cell.className = "number";
  element("layers").replaceChildren(table);
};
const SETTINGS = [
  "variant", "device", "batch", "load", "executed_precision", "streams", "requests", "threads",
  "prompt_length", "output_length", "kv_cache_precision", "tokens_s", "ttft_ms", "tpot_ms", "itl_p50_ms", "itl_p99_ms",
  "rss_load_mib", "rss_compile_mib", "rss_prefill_mib", "rss_decode_mib", "throughput_fps", "latency_p50_ms", "latency_p99_ms", "compile_cold_ms", "verdict", "reason", "machine",
];
const showSelected = () => {
  if (!element("selection") || selected === null) return;
  element("selected-name").textContent = nameOf(selected);
  const known = SETTINGS.filter((name) => cellOf(selected, name) !== UNKNOWN);
  const titles = known.map((name) => data.columns.find((column) => column.name === name).title);
  const facts = nodes("dt", titles).flatMap((title, n) => [title, ...nodes("dd", [cellOf(selected, known[n])])]);
  const verdict = known.indexOf("verdict");
  if (verdict >= 0) facts[2 * verdict + 1].className = `verdict ${cellOf(selected, "verdict")}`;
  element("selected-facts").replaceChildren(...facts);
  element("program").textContent = details.programs[selected].map((n) => details.lines[n]).join("\n");
  drawRounds(details.rounds[selected]);
  drawLayers(selected);
};
const selectRow = (row) => {
  selected = row;
  showSelected();
  waiting = waiting.then(showLimit);
};

// Both limits choose again.
const table = details.choice;
const finite = (values) => values.filter((value) => value !== null && Number.isFinite(value));
const latencyRange = table && finite(table.latency.value);
const ends = (values) => [Math.min(...values), Math.max(...values)];
const latencyAt = (position) => {
  const [low, high] = ends(latencyRange);
  return Number((low * 0.95 * (high / low / 0.95) ** (position / 1000)).toPrecision(3));
};
const qualityAt = (position) => {
  const [low, high] = ends(finite(table.quality.value));
  const value = low + ((high - low) * position) / 1000;
  return table.quality.lower ? Math.ceil(value * 1e4) / 1e4 : Math.floor(value * 1e4) / 1e4;
};
const nameOf = (row) => details.headlines[row].replace(/^Run /, "").replace(/\.$/, "");
// The tiles of the limits that a row does not meet.
const markMissed = (place) => {
  const missed = (figures, limit, lower) =>
    place !== null && limit !== null && figures !== null &&
    !(lower ? figures.value[place] <= limit : figures.value[place] >= limit);
  const tiles = new Map([...document.querySelectorAll("[data-tile]")].map((tile) => [tile.dataset.tile, tile]));
  tiles.get(table.latency.column)?.classList.toggle("missed", missed(table.latency, latencyLimit, true));
  if (table.quality === null) return;
  const { column, lower } = table.quality;
  tiles.get(column)?.classList.toggle("missed", missed(table.quality, qualityLimit, lower));
};
// Why the answer is not solid, as in certainty.py.
const TITLES = { "too-few": "TOO FEW TO TELL", estimate: "ESTIMATE", provisional: "PROVISIONAL" };
const doubtsOf = (from, winner, undecided) => {
  const certainty = from.certainty[winner];
  const doubts = undecided ? [["too-few", undecided]] : [];
  return certainty in from.doubts ? [...doubts, [certainty, from.doubts[certainty]]] : doubts;
};
const showDoubts = (doubts) => {
  const lines = doubts.map(([kind, text]) => {
    const line = document.createElement("p");
    const [badge] = nodes("span", [TITLES[kind]]);
    line.className = kind;
    const [remedy] = nodes("span", [details.remedies[kind] ?? ""]);
    badge.className = "badge";
    remedy.className = "soft";
    line.append(badge, ` ${text}. `, remedy);
    return line;
  });
  element("doubts").replaceChildren(...lines);
};
const showAnswer = ({ winner, nearest, undecided }) => {
  recommended = winner === null ? null : table.rows[winner];
  selected = recommended ?? (nearest === null ? selected : table.rows[nearest]);
  const doubts = winner === null ? [] : doubtsOf(table, winner, undecided);
  const certainty = winner === null ? "none" : "stable";
  showDoubts(doubts);
  element("certainty").hidden = doubts.length > 0;
  element("certainty").textContent = certainty;
  element("certainty").className = `badge ${certainty}`;
  element("headline").textContent =
    recommended !== null
      ? details.headlines[recommended]
      : nearest === null
        ? "No row meets the limits."
        : `No row meets the limits. The nearest: ${nameOf(selected)}`;
  for (const tile of document.querySelectorAll("[data-tile]")) {
    const [value, interval] = cellOf(selected, tile.dataset.tile).split(" [");
    tile.querySelector("b").textContent = value;
    tile.querySelector("span").textContent = interval ? `[${interval}` : value === UNKNOWN ? tile.dataset.unknown : "";
  }
  markMissed(winner ?? nearest);
  data.best = recommended;
};
const showLimits = () => {
  const quality = table.quality !== null;
  for (const node of document.querySelectorAll("[data-quality]")) node.hidden = !quality;
  const [low, high] = ends(latencyRange);
  const place = (limit) => (1000 * Math.log(limit / (low * 0.95))) / Math.log(high / low / 0.95);
  element("limit-latency").value = latencyLimit === null ? 1000 : place(latencyLimit);
  element("limit-latency-number").value = latencyLimit ?? "";
  if (quality) {
    const [worst, best] = ends(finite(table.quality.value));
    element("quality-bound").textContent = table.quality.lower ? "most" : "least";
    element("limit-quality-number").value = qualityLimit ?? "";
    element("limit-quality").value = qualityLimit === null ? 1000 : (1000 * (qualityLimit - worst)) / (best - worst || 1);
    element("quality-default").textContent =
      qualityLimit !== null ? "" : table.keeps_quality ? "By default, rows without a measurable loss of quality come first." : "No limit of quality.";
  }
  const limits = [
    latencyLimit === null ? "" : `--max-latency-ms ${latencyLimit}`,
    qualityLimit === null ? "" : `--min-quality ${qualityLimit}`,
    details.options,
  ];
  const words = nodes("span", [details.command, ...limits.filter(Boolean).join(" ").split(/ (?=--)/)]);
  element("command").replaceChildren(...words.flatMap((word, n) => (n ? [" ", word] : [word])));
  element("command").parentElement.querySelector("[data-copy]").hidden = element("command").hidden = !details.command;
};
const written = { confidence: element("confidence").textContent, objective: element("objective").textContent };
const chooseNow = () => {
  showLimits();
  showAnswer(chooseAgain(table, latencyLimit, qualityLimit));
  const asWritten = latencyLimit === details.limits.latency && qualityLimit === details.limits.quality;
  element("confidence").textContent = asWritten ? written.confidence : "Chosen on this page; for the confidence, run the command.";
  element("objective").textContent = asWritten ? written.objective : details.objective;
  for (const node of document.querySelectorAll("[data-basis]")) node.hidden = !asWritten;
  showSelected();
  drawTable();
  waiting = waiting.then(showLimit);
};
// A number that the limit cannot have is reported, and changes nothing.
const onNumber = (name, set) =>
  element(name).addEventListener("change", ({ target }) => {
    if (!target.reportValidity()) return;
    set(target.value === "" ? null : Number(target.value));
    chooseNow();
  });
const connectLimits = () => {
  if (!element("limits") || !latencyRange.length) return;
  element("limits").hidden = false;
  if (table.quality) [element("limit-quality-number").min, element("limit-quality-number").max] = table.quality.range.map((end) => end ?? "");
  showLimits();
  if (selected !== null) markMissed(table.rows.indexOf(selected));
  const on = (name, set) =>
    element(name).addEventListener("input", (event) => {
      set(event.target);
      chooseNow();
    });
  on("limit-latency", ({ value }) => {
    latencyLimit = Number(value) >= 1000 ? null : latencyAt(Number(value));
  });
  onNumber("limit-latency-number", (value) => {
    latencyLimit = value;
  });
  on("limit-quality", ({ value }) => {
    qualityLimit = qualityAt(Number(value));
  });
  onNumber("limit-quality-number", (value) => {
    qualityLimit = value;
  });
  element("limits-reset").addEventListener("click", () => {
    latencyLimit = details.limits.latency;
    qualityLimit = details.limits.quality;
    chooseNow();
  });
};

// Files and the clipboard.
const save = (name, address) => {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
};
const saveText = (name, type, text) => save(name, URL.createObjectURL(new Blob([text], { type })));
const quoted = (text) => {
  const cell = String(text);
  return `"${(/^[=+\-@\t\r]/.test(cell) && !/^-?[\d.]/.test(cell) && cell !== UNKNOWN ? `'${cell}` : cell).replaceAll('"', '""')}"`;
};
const csvText = () =>
  [data.columns.map((column) => column.name), ...sortedRows().map((i) => data.rows[i])]
    .map((cells) => cells.map(quoted).join(","))
    .join("\n");
const resolved = (spec) => {
  const style = getComputedStyle(document.documentElement);
  return JSON.parse(JSON.stringify(spec).replace(/var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim()));
};
const saveChart = async (name, kind) => {
  const place = figures.find((figure) => figure.dataset.chart === name);
  const chart = data.charts[name];
  const spec = resolved(byWidth(name, place.clientWidth));
  if (!spec.facet) spec.width = place.clientWidth;
  spec.background = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
  if (chart.linked) spec.datasets = { ...spec.datasets, rows: points() };
  const { view, finalize } = await vegaEmbed(document.createElement("div"), spec, options);
  if (name === FIRST) await view.signal("latency_limit", latencyLimit).signal("picked_row", selected ?? -1).runAsync();
  if (kind === "svg") saveText(`${name}.svg`, "image/svg+xml", await view.toSVG());
  else save(`${name}.png`, await view.toImageURL("png", 2));
  finalize();
};
for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => saveChart(button.dataset.of, button.dataset.save));
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = element(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // for Ctrl-C
    }
  });
}
element("save-csv").addEventListener("click", () => saveText("results.csv", "text/csv", csvText()));

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
  const environments = document.querySelectorAll("#environments ~ details");
  if (environments.length === 1) environments[0].open = true;
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
connectLimits();
showSelected();
waiting = all(draw).then(() => {
  document.documentElement.dataset.ready = "yes";
});
