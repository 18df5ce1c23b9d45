// The rule of `ovtool choose` (candidates.py and limits.py), over the figures of data.choice.
const NAN = (value) => (value === null || value === undefined ? NaN : value);
const figureAt = (figures, i) => ({
  value: NAN(figures.value[i]),
  low: NAN(figures.low[i]),
  high: NAN(figures.high[i]),
});
const hasEnds = (figure) => Number.isFinite(figure.low) && Number.isFinite(figure.high);
// Whether two figures are within the tie range of each other, without a significant difference.
const isNear = (figure, reference, tiePct) => {
  const log = Math.log;
  const ratio = figure.value / reference.value;
  const close = Math.abs(log(ratio)) <= Math.log1p(tiePct / 100);
  const below = Math.hypot(log(figure.value) - log(figure.low), log(reference.high) - log(reference.value));
  const above = Math.hypot(log(figure.high) - log(figure.value), log(reference.value) - log(reference.low));
  const [low, high] = [ratio * Math.exp(-below), ratio * Math.exp(above)];
  const known = Number.isFinite(low) && Number.isFinite(high);
  return close && !(known && !(low <= 1 && 1 <= high));
};
// How far a value is beyond a limit, as a fraction of the limit; 0 within it, NaN if unknown.
const excessOver = (value, limit, lower) =>
  Math.max(0, lower ? value - limit : limit - value) / (Math.abs(limit) || 1);
// The quality that does not decide whether it is lost, as text: that of the winner, or of the first
// fitting row of another compressed variant (warnings.py); empty if all decide.
const undecidedQuality = (table, winner, fitting, qualityLimit, byDefault) => {
  const { quality, variant, compressed } = table;
  const inside = (i) => {
    const figure = figureAt(quality, i);
    return compressed[i] && hasEnds(figure) && figure.low < qualityLimit && qualityLimit < figure.high;
  };
  const text = (i) => {
    if (qualityLimit !== null && quality !== null) return inside(i) ? quality.text[i] : "";
    return byDefault ? table.undecided[i] : "";
  };
  const firsts = new Map([[variant[winner], winner]]);
  const ordered = [...new Set(variant)];
  for (const i of fitting) if (!firsts.has(variant[i])) firsts.set(variant[i], i);
  const others = ordered.filter((id) => id !== variant[winner] && firsts.has(id)).map((id) => firsts.get(id));
  return [winner, ...others].map(text).find((each) => each !== "") ?? "";
};
// The index in data.choice of the row that wins, or the nearest row if none fits.  A limit of null
// does not apply; without a limit of quality the rows that keep the quality come first.
const chooseAgain = (table, latencyLimit, qualityLimit) => {
  const places = table.rows.map((_, i) => i);
  const latency = (i) => NAN(table.latency.value[i]);
  const quality = (i) => (table.quality === null ? NaN : NAN(table.quality.value[i]));
  const within = (value, limit, lower) => limit === null || (lower ? value <= limit : value >= limit);
  const qualityLower = table.quality?.lower ?? false;
  let fitting = places.filter(
    (i) =>
      table.fits[i] &&
      within(latency(i), latencyLimit, true) &&
      within(quality(i), qualityLimit, qualityLower),
  );
  let byDefault = false;
  if (qualityLimit === null && table.keeps_quality !== null) {
    const kept = fitting.filter((i) => table.keeps_quality[i]);
    byDefault = kept.length > 0;
    if (byDefault) fitting = kept;
  }
  if (!fitting.length) {
    const excess = (i) =>
      NAN(table.excess[i]) +
      (latencyLimit === null ? 0 : excessOver(latency(i), latencyLimit, true)) +
      (qualityLimit === null ? 0 : excessOver(quality(i), qualityLimit, qualityLower));
    const complete = places.filter((i) => !Number.isNaN(excess(i)));
    const nearest = complete.reduce((best, i) => (best < 0 || excess(i) < excess(best) ? i : best), -1);
    return { winner: null, nearest: nearest < 0 ? null : nearest, undecided: "" };
  }
  const inOrder = [...fitting];
  const won = (winner) => {
    const undecided = undecidedQuality(table, winner, inOrder, qualityLimit, byDefault);
    return { winner, nearest: null, undecided };
  };
  const sign = table.goal.lower ? 1 : -1;
  const goal = (i) => sign * NAN(table.goal.value[i]);
  const throughput = (i) => table.throughput[i] ?? 0;
  fitting.sort(
    (a, b) => goal(a) - goal(b) || throughput(b) - throughput(a) || table.batch[a] - table.batch[b] || a - b,
  );
  const best = fitting[0];
  const reference = figureAt(table.goal, best);
  const exact = reference.low === reference.value && reference.value === reference.high;
  if (!hasEnds(reference) || exact) return won(best);
  let tied = fitting.filter((i) => {
    const figure = figureAt(table.goal, i);
    return hasEnds(figure) && isNear(figure, reference, table.tie_pct);
  });
  for (const figures of table.ties) {
    const own = tied.map((i) => figureAt(figures, i));
    if (own.some((figure) => Number.isNaN(figure.value))) continue;
    const losses = own.map((figure) => (figures.lower ? figure.value : -figure.value));
    const lowest = own[losses.indexOf(Math.min(...losses))];
    const near = own.map((figure) => isNear(figure, lowest, table.tie_pct));
    const settles = tied[0] === best && !near[0];
    tied = tied.filter((_, n) => near[n] && (!settles || losses[n] < losses[0]));
  }
  return won(tied[0]);
};
