// Runs side by side: a figure for each metric, a colour for each run, kept true while any of them trains.
import { ask, element, tick } from "./app.js";
import { Chart, grouped } from "./charts.js";

const EVERY = 2000;
const ASIDE = new Set(["lr", "samples_per_second"]);
const MOST_AT_FIRST = 4;
const place = document.querySelector("#charts");
const tools = document.querySelector("#chart-tools");
const pills = document.querySelector("#groups");
const runs = [...document.querySelectorAll("#runs [data-run]")].map((each) => ({
  id: each.dataset.run,
  title: each.dataset.title,
  colour: Number(each.dataset.colour),
  box: each.querySelector("[data-shown]"),
  rows: { epoch: [], step: [] },
  asked: { epoch: false, step: false },
  over: false,
}));
// of each run; a figure is some 600 pixels wide, and all runs together have to be drawn in a moment
const POINTS = Math.min(600, Math.max(100, Math.floor(4000 / runs.length)));
const wanted = new Map();
let charts = new Map();

function per() {
  return new FormData(tools).get("per");
}

function how() {
  return { log: tools.elements.log.checked, smooth: Number(tools.elements.smooth.value) };
}

/** The runs that reported any of these metrics. */
function having(names) {
  return runs.filter((run) => run.rows[per()].some((row) => names.some((name) => name in row)));
}

/** The lines of a figure: training is dashed where validation stands beside it. */
function lines(title, names) {
  const both = names.some((name) => name.startsWith("train_")) && names.some((name) => name.startsWith("val_"));
  return having(names).flatMap((run) =>
    names.map((name) => ({
      run,
      name,
      label: names.length > 1 ? `${run.title} ${name.slice(0, -title.length - 1)}` : run.title,
      dashed: both && name.startsWith("train_"),
      colour: run.colour,
      hidden: !run.box.checked,
    })),
  );
}

/** A pill for each metric; those that tell most are on at first. */
function offer(titles) {
  for (const title of titles) if (!wanted.has(title)) wanted.set(title, !ASIDE.has(title) && [...wanted.values()].filter(Boolean).length < MOST_AT_FIRST);
  const shown = [...pills.querySelectorAll("input")].map((each) => each.value);
  if (shown.join() === titles.join()) return;
  pills.replaceChildren(
    pills.querySelector("legend"),
    ...titles.map((title) => element("label", {}, element("input", { type: "checkbox", name: "group", value: title, checked: wanted.get(title) }), ` ${title}`)),
  );
}

function put(key, title, names) {
  const known = charts.get(key);
  if (known) return known;
  const series = lines(title, names);
  const chart = new Chart(title, series, { x: per() });
  // a run that begins only now makes the figure anew; a table that was open stays so
  chart.details.open = [...charts.values()].some((each) => each.title === title && each.details.open);
  chart.onSwitch = (at, yes) => switched(series[at].run, yes);
  chart.set(how());
  return chart;
}

/** A run is on or off in every figure. */
function switched(run, yes) {
  run.box.checked = yes;
  for (const chart of charts.values()) chart.series.forEach((line, at) => line.run === run && chart.show(at, yes));
}

/** Draws what is known; figures that stay keep their place and zoom. */
function show() {
  const kind = per();
  const all = runs.flatMap((run) => run.rows[kind]);
  const groups = grouped(new Set(all.flatMap((row) => Object.keys(row))));
  offer([...groups.keys()]);
  const shown = new Map([...groups].filter(([title]) => wanted.get(title)).map(([title, names]) => [`${kind} ${title}: ${names} of ${having(names).map((run) => run.id)}`, [title, names]]));
  document.querySelector("#key").hidden = ![...shown.values()].some(([, names]) => names.length > 1);
  if (!shown.size) {
    charts = new Map();
    place.replaceChildren(element("p", { className: "muted" }, all.length ? "No metric is chosen." : runs.every((run) => run.over) ? "They reported none." : `They begin with the first ${kind}.`));
    return;
  }
  if ([...shown.keys()].join() !== [...charts.keys()].join()) {
    charts = new Map([...shown].map(([key, [title, names]]) => [key, put(key, title, names)]));
    place.replaceChildren(...[...charts.values()].map((chart) => chart.root));
  }
  const xs = [...new Set(all.map((row) => row[kind]))].sort((left, right) => left - right);
  const at = new Map(xs.map((x, index) => [x, index]));
  for (const chart of charts.values()) {
    chart.draw(xs, chart.series.map(({ run, name }) => {
      const values = Array(xs.length).fill(null);
      for (const row of run.rows[kind]) values[at.get(row[kind])] = row[name] ?? null;
      return values;
    }));
  }
}

/** What one run reported since the last question; true where there was anything. */
async function more(run, kind) {
  const rows = run.rows[kind];
  const newest = rows.at(-1)?.step ?? -1;
  const found = await ask(`/v1/jobs/${run.id}/metrics?per=${kind}&points=${POINTS}&after=${newest}`).catch(() => null);
  if (!found) return false;
  run.asked[kind] = true;
  const fresh = found.data.filter((row) => row.step > newest);
  rows.push(...fresh);
  if (rows.length > 2 * POINTS) {
    // what is drawn stays small: the service thins it anew
    const thinned = await ask(`/v1/jobs/${run.id}/metrics?per=${kind}&points=${POINTS}`).catch(() => null);
    if (thinned) run.rows[kind] = thinned.data;
  }
  return fresh.length > 0;
}

let asking = false;
async function renew() {
  if (asking) return;
  asking = true;
  const kind = per();
  const due = runs.filter((run) => !run.over || !run.asked[kind]);
  const news = await Promise.all(due.map((run) => more(run, kind)));
  asking = false;
  if (news.some(Boolean) || !charts.size) show();
  if (kind !== per()) renew();
}

/** The table says which runs have ended; one that has is asked for a last time. */
function seen() {
  for (const run of runs) {
    const over = document.querySelector(`[data-state="${run.id}"]`)?.dataset.terminal === "yes";
    if (over && !run.over) run.asked = { epoch: false, step: false };
    run.over = over;
  }
  renew();
}

document.addEventListener("htmx:afterSwap", (event) => event.detail.target.id === "tables" && seen());
tools.addEventListener("input", (event) => {
  if (event.target.name === "per") {
    show();
    renew();
    return;
  }
  for (const chart of charts.values()) chart.set(how());
});
tools.addEventListener("submit", (event) => event.preventDefault());
pills.addEventListener("change", (event) => {
  wanted.set(event.target.value, event.target.checked);
  show();
});
for (const run of runs) run.box.addEventListener("change", () => switched(run, run.box.checked));
const restyle = () => {
  for (const chart of charts.values()) chart.restyle();
};
document.addEventListener("theme", restyle);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
document.addEventListener("keydown", (event) => {
  const adder = document.querySelector(".adder[open]");
  if (event.key !== "Escape" || !adder) return;
  adder.open = false;
  adder.querySelector("summary").focus();
});
setInterval(() => {
  if (!document.hidden && runs.some((run) => !run.over)) tick();
}, EVERY);
seen();
