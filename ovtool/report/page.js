"use strict";
// The charts' data stands in a block of JSON; expressions are interpreted, so nothing is evaluated.
const specs = JSON.parse(document.getElementById("charts").textContent);
const byWidth = (spec, width) => {
  const narrow = width < 640;
  const config = structuredClone(spec.config);
  config.legend.orient = narrow ? "bottom" : "right";
  config.legend.layout = { bottom: { direction: "vertical", anchor: "start" } };
  config.legend.columns = narrow ? Math.max(1, Math.floor(width / 210)) : 1;
  config.legend.labelLimit = narrow ? width - 60 : 240;
  config.axis.labelLimit = Math.round(width * 0.4);
  config.axisQuantitative.tickCount = narrow ? 4 : 7;
  return { ...spec, config };
};
const options = {
  mode: "vega-lite",
  ast: true,
  actions: false,
  renderer: "svg",
  tooltip: { disableDefaultStyle: true },
};
const draw = (element) => {
  const width = element.clientWidth;
  element.dataset.narrow = String(width < 640);
  return vegaEmbed(element, byWidth(specs[element.dataset.chart], width), options);
};
for (const element of document.querySelectorAll("[data-chart]")) {
  draw(element).catch((error) => {
    element.textContent = `This chart could not be drawn: ${error.message}`;
  });
}
addEventListener("resize", () => {
  for (const element of document.querySelectorAll("[data-chart]")) {
    if (element.dataset.narrow !== String(element.clientWidth < 640)) draw(element);
  }
});
