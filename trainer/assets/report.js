"use strict";
// Shows what `report/content.rs` counted. State that a reload keeps is in the address after `#`.

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 || share === 0 ? 0 : 1)} %`;
const short = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e6) return value.toLocaleString("en");
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : String(+value.toPrecision(4));
};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const CLASS_COLOURS = ["passed", "failed", "runtime", "compile", "lost"];

async function read() {
  const bytes = Uint8Array.from(atob($("data").textContent.trim()), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/* Theme. */
const stored = (() => { try { return localStorage.getItem("rltrain-theme"); } catch { return null; } })();
const setTheme = (theme) => { document.documentElement.dataset.theme = theme; };
setTheme(stored ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
const charts = [];
function turnTheme() {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  try { localStorage.setItem("rltrain-theme", document.documentElement.dataset.theme); } catch { /* a page without storage */ }
  charts.forEach((chart) => chart.redrawn());
}

/* Curves. */
const FIRST = ["reward", "exec/pass_rate", "entropy", "kl", "grad_norm", "completions/mean_length", "completions/clipped_ratio",
  "frac_reward_zero_std", "clip_ratio/region_mean", "ratio/mean", "mismatch/logp_diff_mean", "learning_rate"];
const WHOLE = [1, 2, 5].flatMap((first) => [0, 1, 2, 3, 4, 5, 6].map((zeros) => first * 10 ** zeros)).sort((a, b) => a - b);
const axes = () => [{ stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, size: 26, incrs: WHOLE },
  { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, size: 54, values: (_, ticks) => ticks.map(short) }];

/** The y axis of a curve; one that never changes lies in the middle, but for one that is always 0. */
const spread = (_, least, most) => {
  if (least === null || (least === 0 && most === 0)) return [0, 1];
  return least === most ? [least - Math.abs(least) / 10, most + Math.abs(most) / 10] : uPlot.rangeNum(least, most, 0.1, true);
};
/** The same of shares: there is nothing below 0 and above 1. */
const spreadOfShares = (chart, least, most) => (least === most ? [0, 1] : spread(chart, least, most).map((end) => Math.min(1, Math.max(0, end))));

/** The legend says what the last step has while the cursor is elsewhere. */
const lastWithoutCursor = (chart) => { if (chart.legend.idx === null || chart.legend.idx === undefined) chart.setLegend({ idx: chart.data[0].length - 1 }, false); };

/** A card with a chart that follows the card's width and the theme; `options` is called anew whenever it is drawn anew. */
function addChart(parent, title, data, options, onClose) {
  const card = make("div", { className: "card" });
  const heading = make("h3", {}, title);
  card.append(heading);
  if (onClose) heading.append(make("button", { type: "button", title: "Take away", textContent: "×", onclick: () => { card.remove(); onClose(); } }));
  parent.append(card);
  let chart = null;
  const redrawn = () => {
    chart?.destroy();
    const width = Math.max(200, card.clientWidth - 18);
    chart = new uPlot({ width, height: 190, scales: { x: { time: false }, y: { range: spread } }, axes: axes(), cursor: { sync: { key: "steps" } }, legend: { live: true }, hooks: { setLegend: [lastWithoutCursor] }, ...options() }, data, card);
    lastWithoutCursor(chart);
  };
  redrawn();
  new ResizeObserver(() => chart.setSize({ width: Math.max(200, card.clientWidth - 18), height: 190 })).observe(card);
  charts.push({ redrawn });
}

const line = (label, name, more = {}) => ({ label, stroke: colour(name), width: 1.6, points: { show: undefined }, value: (_, value) => short(value), ...more });

/** A running mean over a twentieth of the points, so that a noisy curve can be read. */
function smoothed(values) {
  const reach = Math.floor(values.length / 40);
  return values.map((_, index) => {
    const near = values.slice(Math.max(0, index - reach), index + reach + 1).filter((value) => value !== null);
    return near.length ? near.reduce((sum, value) => sum + value, 0) / near.length : null;
  });
}

function addCurve(content, name, onClose) {
  const of = [content.metrics, content.timings].find((series) => series.columns[name]);
  const values = of.columns[name];
  const deviation = name === "reward" ? content.metrics.columns["reward_std"] : null;
  const data = [of.steps, values, smoothed(values)];
  const series = () => [{ label: "step" }, line(name, "soft", { width: 1, alpha: 0.55 }), line("mean", "accent", { width: 2 })];
  if (!deviation) return addChart($("charts"), name, data, () => ({ series: series() }), onClose);
  // The interval of the mean over the step's attempts, which are not independent: groups share their task.
  const attempts = new Map(content.outcomes.steps.map((step, place) => [step, content.outcomes.counts[place].slice(0, 4).reduce((a, b) => a + b, 0)]));
  const ends = (sign) => values.map((value, place) => {
    const count = attempts.get(of.steps[place]);
    return value === null || deviation[place] === null || !count ? null : value + sign * 1.96 * deviation[place] / Math.sqrt(count);
  });
  data.push(ends(-1), ends(1));
  addChart($("charts"), "reward, with 1.96 standard errors", data, () => ({
    series: [...series(), line("low", "accent", { width: 0 }), line("high", "accent", { width: 0 })],
    bands: [{ series: [4, 3], fill: `color-mix(in srgb, ${colour("accent")} 22%, transparent)` }],
  }), onClose);
}

function addEvaluations(content) {
  const all = content.evaluations;
  const sizes = [...new Set(all.flatMap((one) => one.pass_at_k.map((found) => found.k)))].sort((a, b) => a - b);
  for (const k of sizes) {
    const found = all.map((one) => one.pass_at_k.find((at) => at.k === k));
    const part = (name) => found.map((at) => at?.[name] ?? null);
    addChart($("charts"), `held-out pass@${k}, 95 % interval`, [all.map((one) => one.step), part("mean"), part("low"), part("high")], () => ({
      series: [{ label: "step" }, line(`pass@${k}`, "passed", { width: 2, points: { show: true, size: 6 } }), line("low", "passed", { width: 0.5 }), line("high", "passed", { width: 0.5 })],
      bands: [{ series: [3, 2], fill: `color-mix(in srgb, ${colour("passed")} 22%, transparent)` }],
      axes: [axes()[0], { ...axes()[1], values: (_, ticks) => ticks.map((tick) => `${+(100 * tick).toFixed(1)} %`) }],
      scales: { x: { time: false, range: () => [0, Math.max(content.steps, 1)] }, y: { range: spreadOfShares } },
    }));
  }
}

function showCurves(content) {
  const names = [...Object.keys(content.metrics.columns), ...Object.keys(content.timings.columns)];
  const open = new Set();
  const add = (name) => { open.add(name); addCurve(content, name, () => { open.delete(name); offer(); }); offer(); };
  const offer = () => $("more").replaceChildren(make("option", { value: "", textContent: "choose…" }),
    ...names.filter((name) => !open.has(name)).map((name) => make("option", { value: name, textContent: name })));
  FIRST.slice(0, 1).filter((name) => names.includes(name)).forEach(add);
  addEvaluations(content);
  FIRST.slice(1).filter((name) => names.includes(name)).forEach(add);
  offer();
  $("more").onchange = () => { if ($("more").value) add($("more").value); };
}

/** Layers on each other: what is drawn is the sum of a layer and all below it, what the legend says is the layer alone. */
function addStack(title, steps, layers, unit) {
  const sums = [];
  layers.forEach(({ values }, place) => sums.push(values.map((value, at) => (value ?? 0) + (place ? sums[place - 1][at] : 0))));
  const top = sums.length;
  addChart($("stacks"), title, [steps, ...sums.slice().reverse()], () => ({
    series: [{ label: "step" }, ...layers.slice().reverse().map(({ name, tint, values }) => ({
      label: name, stroke: colour(tint), width: 1, fill: `color-mix(in srgb, ${colour(tint)} 55%, ${colour("card")})`, points: { show: steps.length === 1 },
      value: (_, __, ___, at) => (at === null || at === undefined ? "–" : `${short(values[at])}${unit}`),
    }))],
    scales: { x: { time: false }, y: { range: (_, __, most) => [0, most || 1] } },
    drawOrder: ["series", "axes"],
    cursor: { points: { show: false } },
  }));
  return top;
}

function showStacks(content) {
  const { classes, steps, counts } = content.outcomes;
  if (steps.length) {
    addStack("attempts by how they ended", steps, classes.map((name, place) => ({ name, tint: CLASS_COLOURS[place], values: counts.map((count) => count[place]) })), "");
  }
  const columns = content.timings.columns;
  const whole = columns["time/step_seconds"];
  if (!whole) return;
  const parts = [["rollout", "accent"], ["execution", "failed"], ["update", "passed"]];
  const known = parts.map(([name, tint]) => ({ name, tint, values: columns[`time/${name}_seconds`] ?? whole.map(() => 0) }));
  // What runs beside the update takes no time of its own.
  const rest = whole.map((seconds, at) => Math.max(0, (seconds ?? 0) - known.reduce((sum, part) => sum + (part.values[at] ?? 0), 0)));
  addStack("seconds of a step", content.timings.steps, [...known, { name: "rest", tint: "lost", values: rest }], " s");
}

/* Heat maps. */
function heatColour(share) {
  const stops = [[123, 50, 148], [194, 165, 207], [217, 240, 211], [27, 120, 55]];
  const place = Math.min(2.999, Math.max(0, share * 3));
  const [from, to, part] = [stops[Math.floor(place)], stops[Math.floor(place) + 1], place % 1];
  return `rgb(${from.map((value, at) => Math.round(value + (to[at] - value) * part)).join(",")})`;
}

function heatRow(label, shares, buckets, className, onChoose) {
  const canvas = make("canvas", { width: Math.max(1, shares.length), height: 1 });
  const paint = canvas.getContext("2d");
  const known = [];
  shares.forEach(([passed, judged], column) => {
    if (!judged) return;
    known.push(passed / judged);
    paint.fillStyle = heatColour(passed / judged);
    paint.fillRect(column, 0, 1, 1);
  });
  canvas.style.imageRendering = "pixelated";
  canvas.onmousemove = (event) => {
    const column = Math.min(shares.length - 1, Math.floor(shares.length * event.offsetX / canvas.clientWidth));
    const [passed, judged] = shares[column];
    canvas.title = `from step ${buckets[column]}: ${judged ? `${passed} of ${judged} passed` : "not tried"}`;
  };
  const name = make("button", { type: "button", textContent: label, title: label, onclick: onChoose });
  const last = known.length ? percent(known[known.length - 1]) : "–";
  const row = make("div", { className: `row ${className}`, role: "listitem" }, name, canvas, make("b", { textContent: last }));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${label}: ${known.length ? `from ${percent(known[0])} to ${last}` : "not tried"}`);
  return row;
}

function showTasks(content, choose) {
  const rates = (task) => task.attempts.filter(([, judged]) => judged).map(([passed, judged]) => passed / judged);
  const last = (task) => rates(task).at(-1) ?? -1;
  const gain = (task) => (rates(task).at(-1) ?? 0) - (rates(task)[0] ?? 0);
  const orders = { id: (a, b) => a.id.localeCompare(b.id), last: (a, b) => last(a) - last(b), gain: (a, b) => gain(b) - gain(a) };
  let open = null;
  const draw = () => {
    const rows = content.tasks.slice().sort(orders[$("order").value]).flatMap((task) => {
      const row = heatRow(task.id, task.attempts, content.buckets, "", () => { open = open === task.id ? null : task.id; draw(); choose(task.id); });
      row.querySelector("button").setAttribute("aria-expanded", String(open === task.id));
      const tests = open === task.id ? task.tests.map((shares, place) => heatRow(`test ${place + 1}`, shares, content.buckets, "test", () => {})) : [];
      return [row, ...tests];
    });
    $("heat").replaceChildren(...(rows.length ? rows : [make("p", { className: "hint", textContent: "No attempt was logged." })]));
  };
  $("order").onchange = draw;
  draw();
}

/* Programs. */
const AT_ONCE = 200;

function showPrograms(content) {
  const { tasks, parts, texts, attempts, all, every } = content.programs;
  const classes = content.outcomes.classes;
  const option = (value, textContent) => make("option", { value, textContent });
  $("task").replaceChildren(option("", "all"), ...tasks.map((id, place) => option(place, id)).sort((a, b) => a.textContent.localeCompare(b.textContent)));
  $("end").replaceChildren(option("", "anyhow"), ...classes.map((name, place) => option(place, name)));
  const state = { chosen: [], found: [], shown: AT_ONCE, unfolded: false };
  const fields = { q: "query", task: "task", end: "end", from: "from", to: "to", by: "by" };

  function matches(query, attempt) {
    const read = [attempt.p, attempt.q, attempt.c, ...(attempt.l === undefined ? [] : [attempt.l]), ...attempt.e.filter((text) => text >= 0)];
    return read.some((text) => texts[text].toLowerCase().includes(query)) || tasks[attempt.t].toLowerCase().includes(query);
  }

  function filter() {
    const query = $("query").value.trim().toLowerCase();
    const number = (id, otherwise) => ($(id).value === "" ? otherwise : Number($(id).value));
    const [from, to] = [number("from", 0), number("to", Infinity)];
    state.found = attempts.filter((attempt) => attempt.s >= from && attempt.s <= to
      && ($("task").value === "" || attempt.t === Number($("task").value))
      && ($("end").value === "" || attempt.o === Number($("end").value))
      && (!query || matches(query, attempt)));
    const worth = (attempt, otherwise) => attempt.r ?? otherwise;
    const orders = { step: (a, b) => b.s - a.s, best: (a, b) => worth(b, -Infinity) - worth(a, -Infinity), worst: (a, b) => worth(a, Infinity) - worth(b, Infinity), long: (a, b) => b.k - a.k };
    state.found.sort(orders[$("by").value]);
    state.shown = AT_ONCE;
    draw();
    remember();
  }

  function draw() {
    const left_out = every > 1 ? `; of ${all.toLocaleString("en")} in all, those of every ${every}th step are in this page` : "";
    $("found").textContent = `${state.found.length.toLocaleString("en")} of ${attempts.length.toLocaleString("en")} attempts${left_out}`;
    const rows = state.found.slice(0, state.shown).map((attempt) => {
      const row = make("li", { className: `o${attempt.o}`, id: `a${attempts.indexOf(attempt)}` },
        make("span", { textContent: `step ${attempt.s}` }), make("span", { textContent: `${tasks[attempt.t]} #${attempt.n}${attempt.g ? " greedy" : ""}` }),
        make("span", { textContent: short(attempt.r) }));
      row.setAttribute("role", "option");
      row.setAttribute("aria-selected", String(state.chosen.includes(attempt)));
      row.onclick = (event) => choose(attempt, event.shiftKey || event.ctrlKey || event.metaKey);
      return row;
    });
    if (state.found.length > state.shown) {
      rows.push(make("li", { className: "more", textContent: "show more", onclick: () => { state.shown += AT_ONCE; draw(); } }));
    }
    $("list").replaceChildren(...rows);
  }

  function choose(attempt, beside) {
    state.chosen = beside && state.chosen.length ? [state.chosen[0], attempt] : [attempt];
    for (const row of $("list").children) row.setAttribute("aria-selected", "false");
    state.chosen.forEach((one) => $(`a${attempts.indexOf(one)}`)?.setAttribute("aria-selected", "true"));
    $(`a${attempts.indexOf(attempt)}`)?.scrollIntoView({ block: "nearest" });
    $("shown").replaceChildren(...state.chosen.map(card));
    remember();
  }

  function code(text, query) {
    const element = make("code");
    element.innerHTML = hljs.highlight(text, { language: "python", ignoreIllegals: true }).value;
    if (query) markAll(element, query);
    return make("pre", {}, element);
  }

  function markAll(element, query) {
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const at = walker.currentNode.data.toLowerCase().indexOf(query);
      if (at >= 0) found.push([walker.currentNode, at]);
    }
    for (const [node, at] of found) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + query.length);
      range.surroundContents(make("mark"));
    }
  }

  function card(attempt) {
    const query = $("query").value.trim().toLowerCase();
    const folded = (summary, ...inside) => make("details", {}, make("summary", { textContent: summary }), ...inside);
    const plain = (text) => make("pre", { textContent: text });
    const close = make("button", { type: "button", textContent: "×", title: "Close (Esc)", onclick: () => { state.chosen = state.chosen.filter((one) => one !== attempt); $("shown").replaceChildren(...state.chosen.map(card)); draw(); } });
    const rewards = make("table", {}, make("tr", {}, ...["reward", "raw", "shaped", "effective"].map((textContent) => make("th", { textContent }))),
      ...attempt.a.map(([name, ...values]) => make("tr", {}, make("td", { textContent: parts[name] }), ...values.map((value) => make("td", { textContent: short(value) })))),
      make("tr", {}, make("td", { textContent: "total" }), make("td"), make("td"), make("td", { textContent: short(attempt.r) })));
    const verdicts = make("ol", {}, ...attempt.e.map((text) => make("li", { textContent: text < 0 ? "passed" : texts[text] })));
    const turns = attempt.v ?? [];
    const facts = [classes[attempt.o], `${attempt.k} tokens`, ...(attempt.x ? ["cut off"] : []), ...(attempt.y ? ["left out of the loss"] : []), ...worth(turns)].join(", ");
    const element = make("article", { className: `attempt o${attempt.o}` },
      make("h3", {}, `${tasks[attempt.t]} · step ${attempt.s} · #${attempt.n}${attempt.g ? " · greedy" : ""}`, close),
      make("p", { className: "hint", textContent: facts }));
    if (attempt.l !== undefined) element.append(plain(texts[attempt.l]));
    element.append(code(texts[attempt.p], query), verdicts, rewards);
    const most = Math.max(0, ...state.chosen.flatMap((one) => one.v ?? []).map((turn) => Math.abs(turn.m)));
    (attempt.b ?? []).forEach(([program, said], place) => element.append(folded("an earlier turn", code(texts[program], query),
      ...(turns[place] ? [painted(turns[place], most)] : []), plain(texts[said]))));
    const turn = turns.at(-1);
    const written = folded(turn ? "completion, each token on the colour of its advantage" : "completion as written", turn ? painted(turn, most) : plain(texts[attempt.c]));
    Object.assign(written, { className: "written", open: state.unfolded });
    written.querySelector("summary").onclick = (event) => { event.preventDefault(); unfold(); };
    if (turn && most) written.append(make("p", { className: "scale hint" }, make("span", { textContent: signed(+(-most).toPrecision(2)) }), make("i", { className: "worth" }), make("span", { textContent: signed(+most.toPrecision(2)) })));
    element.append(folded("prompt", plain(texts[attempt.q])), written);
    return element;
  }

  /** Folds or unfolds what was written in all attempts that are shown, and in those that will be. */
  function unfold() {
    state.unfolded = !state.unfolded;
    for (const written of $("shown").querySelectorAll(".written")) written.open = state.unfolded;
    remember();
  }

  const signed = (value) => (value > 0 ? `+${short(value)}` : short(value).replace("-", "−"));
  const SHADES = 50;
  const piecesOf = ({ c, m, p }) => (p ?? [[texts[c].length, m < 0 ? -SHADES : SHADES]]).map(([length, shade]) => [length, Math.abs(m) * shade / SHADES]);

  /** The advantages of an attempt in words. */
  function worth(turns) {
    const all = turns.flatMap(piecesOf).map(([, advantage]) => advantage);
    if (!all.length) return [];
    const [least, greatest] = [Math.min(...all), Math.max(...all)];
    const said = (advantage) => signed(+advantage.toPrecision(2));
    return [least === greatest ? `advantage ${said(greatest)}` : `advantages from ${said(least)} to ${said(greatest)}`];
  }

  /** The text of a turn, piece by piece on the colour of its advantage; `most` has the full colour. */
  function painted(turn, most) {
    let start = 0;
    const pieces = piecesOf(turn).map(([length, advantage]) => {
      const share = most ? Math.round(100 * Math.abs(advantage) / most) : 0;
      const piece = make("span", { title: `advantage ${signed(+advantage.toPrecision(2))}`, textContent: length ? texts[turn.c].slice(start, start + length) : "end" });
      if (!length) piece.className = "end";
      if (share) piece.style.background = `color-mix(in srgb, var(--${advantage > 0 ? "gain" : "loss"}) ${share}%, transparent)`;
      start += length;
      return piece;
    });
    return make("pre", { className: "painted" }, ...pieces);
  }

  /* The address. */
  function remember() {
    const kept = new URLSearchParams();
    for (const [key, id] of Object.entries(fields)) if ($(id).value && $(id).value !== "step") kept.set(key, $(id).value);
    if (state.unfolded) kept.set("written", "1");
    if (state.chosen.length) kept.set("a", state.chosen.map((one) => attempts.indexOf(one)).join(","));
    history.replaceState(null, "", String(kept) ? `#?${kept}` : location.pathname + location.search);
  }
  function recall() {
    if (!location.hash.startsWith("#?")) return;
    const kept = new URLSearchParams(location.hash.slice(2));
    for (const [key, id] of Object.entries(fields)) if (kept.has(key)) $(id).value = kept.get(key);
    state.unfolded = kept.has("written");
    state.chosen = (kept.get("a") ?? "").split(",").filter(Boolean).map((place) => attempts[Number(place)]).filter(Boolean);
  }

  let waiting = 0;
  $("filter").oninput = () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); };
  $("filter").onsubmit = (event) => event.preventDefault();
  $("filter").onreset = () => setTimeout(filter);
  const move = (by) => {
    const at = state.found.indexOf(state.chosen.at(-1));
    const next = state.found[Math.max(0, Math.min(state.found.length - 1, at + by))];
    if (!next) return;
    if (state.found.indexOf(next) >= state.shown) { state.shown += AT_ONCE; draw(); }
    choose(next, state.chosen.length > 1);
  };
  $("list").onkeydown = (event) => {
    const keys = { ArrowDown: () => move(1), ArrowUp: () => move(-1), Enter: () => move(0), c: () => state.chosen.length === 1 && compare() };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  };
  const compare = () => { const at = state.found.indexOf(state.chosen[0]); const next = state.found[at + 1] ?? state.found[at - 1]; if (next) choose(next, true); };
  recall();
  const chosen = state.chosen;
  filter();
  if (chosen.length) { state.chosen = chosen; $("shown").replaceChildren(...chosen.map(card)); draw(); remember(); }
  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape") { if (typing) event.target.blur(); state.chosen = []; $("shown").replaceChildren(); draw(); remember(); }
    else if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "/") { event.preventDefault(); $("query").focus(); }
    else if (event.key === "t") turnTheme();
    else if (event.key === "a") unfold();
  });
  return (id) => {
    for (const field of Object.values(fields)) if (field !== "by") $(field).value = "";
    $("task").value = String(tasks.indexOf(id));
    filter();
  };
}

function summary(content) {
  const { columns } = content.metrics;
  const last = (name) => columns[name]?.at(-1);
  const said = [`${content.steps} ${content.steps === 1 ? "step" : "steps"}`];
  if (last("reward") !== undefined) said.push(`reward ${short(columns.reward[0])} → ${short(last("reward"))}`);
  const evaluated = content.evaluations.filter((one) => one.pass_at_k.length);
  if (evaluated.length) {
    const [first, end] = [evaluated[0].pass_at_k[0], evaluated.at(-1).pass_at_k[0]];
    said.push(`held-out pass@${end.k} ${percent(first.mean)} → ${percent(end.mean)} [${percent(end.low)}, ${percent(end.high)}]`);
  }
  return said.join(" · ");
}

$("theme").onclick = turnTheme;
read().then((content) => {
  $("summary").textContent = summary(content);
  showCurves(content);
  showStacks(content);
  const choose = showPrograms(content);
  showTasks(content, (id) => choose(id));
  $("recipe-text").innerHTML = hljs.highlight(content.recipe, { language: hljs.getLanguage("toml") ? "toml" : "ini", ignoreIllegals: true }).value;
  document.documentElement.dataset.ready = "yes";
  const refresh = Number(document.documentElement.dataset.refresh);
  if (refresh) setInterval(() => { if (!document.activeElement?.matches("input, select") && !document.hidden) location.reload(); }, 1000 * refresh);
}).catch((error) => {
  $("summary").textContent = `This page could not be read: ${error.message}`;
  throw error;
});
