// One job: follows its events, draws its curves as they grow.
import { ask, element, tick } from "./app.js";
import { Chart, grouped } from "./charts.js";
import "./try.js";

const POINTS = 600;
const EVERY = 1500;
const TYPES = ["state", "epoch"];
const root = document.querySelector("#job");
const place = document.querySelector("#charts");
const tools = document.querySelector("#chart-tools");
const here = `/v1/jobs/${root.dataset.job}`;
const rows = { epoch: [], step: [] };
let charts = new Map();
let last = 0;
let over = root.dataset.terminal === "yes";
let source = null;

function per() {
  return new FormData(tools).get("per");
}

function how() {
  return { log: tools.elements.log.checked, smooth: Number(tools.elements.smooth.value) };
}

/** Draws what is known; figures that stay keep their place, zoom and open table. */
function show() {
  const kind = per();
  const shown = rows[kind];
  if (!shown.length) {
    charts = new Map();
    place.replaceChildren(element("p", { className: "muted" }, over ? "It reported none." : `They begin with the first ${kind}.`));
    return;
  }
  const groups = grouped(new Set(shown.flatMap((row) => Object.keys(row))));
  const wanted = new Map([...groups].map(([title, names]) => [`${kind} ${title}: ${names}`, [title, names]]));
  if ([...wanted.keys()].join() !== [...charts.keys()].join()) {
    charts = new Map([...wanted].map(([key, [title, names]]) => [key, charts.get(key) ?? new Chart(title, names.map((label) => ({ label })), { x: kind })]));
    place.replaceChildren(...[...charts.values()].map((chart) => chart.root));
    for (const chart of charts.values()) chart.set(how());
  }
  const xs = shown.map((row) => row[kind]);
  for (const [key, [, names]] of wanted) charts.get(key).draw(xs, names.map((name) => shown.map((row) => row[name] ?? null)));
}

async function load(kind) {
  const found = await ask(`${here}/metrics?per=${kind}&points=${POINTS}`).catch(() => ({ data: [] }));
  rows[kind] = found.data;
  show();
}

let asking = false;
/** Asks for what came since, one question at a time. */
async function more() {
  if (asking) return;
  asking = true;
  const kind = per();
  const newest = rows[kind].at(-1)?.step ?? 0;
  const found = await ask(`${here}/metrics?per=${kind}&after=${newest}&points=${POINTS}`).catch(() => ({ data: [] }));
  const fresh = found.data.filter((row) => row.step > newest);
  rows[kind].push(...fresh);
  // what is drawn stays small: once there is twice as much as fits, the service thins it anew
  if (rows[kind].length > 2 * POINTS) await load(kind);
  else if (fresh.length) show();
  asking = false;
}

let due = null;
/** Everything on the page asks for itself again, a few times a second at most. */
function soon() {
  due ??= setTimeout(() => {
    due = null;
    tick();
    more();
  }, 400);
}

function ended() {
  over = true;
  source?.close();
  for (const each of document.querySelectorAll("[hx-trigger*='ended']")) htmx.trigger(each, "ended");
  tick();
  load(per());
}

function follow() {
  if (over || document.hidden) return;
  source = new EventSource(`${here}/events?after=${last}`);
  const heard = (event) => {
    const told = JSON.parse(event.data);
    last = told.id;
    soon();
    if (told.type === "state" && ["succeeded", "failed", "cancelled"].includes(told.data.state)) ended();
  };
  for (const type of TYPES) source.addEventListener(type, heard);
}

tools.addEventListener("input", (event) => {
  if (event.target.name === "per") {
    if (rows[per()].length) show();
    else load(per());
    return;
  }
  for (const chart of charts.values()) chart.set(how());
});
tools.addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("theme", () => {
  for (const chart of charts.values()) chart.restyle();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));
document.addEventListener("visibilitychange", () => {
  // a browser keeps few connections to one host: a page that nobody sees gives its own back
  if (document.hidden) source?.close();
  else follow();
});
setInterval(() => {
  if (!over && !document.hidden) soon();
}, EVERY);

await load("epoch");
follow();
