// The list of jobs: kept true every two seconds, thumbnails of curves, and what is done to many at a time.
import { ask, element, sure, tick, toast } from "./app.js";

const EVERY = 2000;
const list = document.querySelector("#list");
const bulk = document.querySelector("#bulk");
const chosen = new Set();
const drawn = new Map();

function picks() {
  return [...list.querySelectorAll("[data-pick]")];
}

function showChosen() {
  for (const each of picks()) each.checked = chosen.has(each.value);
  const all = list.querySelector("#all");
  if (all) {
    const ticked = picks().filter((each) => each.checked).length;
    all.checked = ticked > 0 && ticked === picks().length;
    all.indeterminate = ticked > 0 && !all.checked;
  }
  bulk.hidden = chosen.size === 0;
  document.querySelector("#chosen").textContent = chosen.size;
  const query = new URLSearchParams([...chosen].map((id) => ["job", id]));
  document.querySelector("#bulk-compare").href = `/compare?${query}`;
}

function choose(id, yes) {
  if (yes) chosen.add(id);
  else chosen.delete(id);
}

list.addEventListener("change", (event) => {
  if (event.target.id === "all") for (const each of picks()) choose(each.value, event.target.checked);
  else if ("pick" in event.target.dataset) choose(event.target.value, event.target.checked);
  showChosen();
});
document.querySelector("#none").addEventListener("click", () => {
  chosen.clear();
  showChosen();
});

bulk.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-bulk]");
  if (!button || !(await sure(button.dataset.sure))) return;
  const ids = [...chosen];
  button.setAttribute("aria-busy", "true");
  const refused = [];
  let done = 0;
  for (const id of ids) {
    const [address, method] = button.dataset.bulk === "delete" ? [`/v1/jobs/${id}`, "DELETE"] : [`/v1/jobs/${id}/cancel`, "POST"];
    try {
      await ask(address, { method });
      done += 1;
      chosen.delete(id);
    } catch (error) {
      refused.push(error.message);
    }
  }
  button.removeAttribute("aria-busy");
  if (done) toast(`${done} ${button.dataset.bulk === "delete" ? "removed" : "stopped"}`);
  for (const words of new Set(refused)) toast(words, "bad");
  showChosen();
  tick();
});

const SVG = "http://www.w3.org/2000/svg";

function sketch(values) {
  const [width, height, edge] = [84, 26, 2];
  const least = Math.min(...values);
  const span = Math.max(...values) - least || 1;
  const points = values.map((value, at) => {
    const x = values.length > 1 ? edge + (at / (values.length - 1)) * (width - 2 * edge) : width / 2;
    return `${x.toFixed(1)},${(height - edge - ((value - least) / span) * (height - 2 * edge)).toFixed(1)}`;
  });
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const line = document.createElementNS(SVG, "polyline");
  for (const [name, value] of Object.entries({ points: points.join(" "), fill: "none", stroke: "currentColor", "stroke-width": "1.5" })) line.setAttribute(name, value);
  const dot = document.createElementNS(SVG, "circle");
  const [x, y] = points.at(-1).split(",");
  for (const [name, value] of Object.entries({ cx: x, cy: y, r: "2", fill: "currentColor" })) dot.setAttribute(name, value);
  svg.append(line, dot);
  return svg;
}

function paint() {
  for (const place of list.querySelectorAll("[data-spark]")) {
    const spark = drawn.get(place.dataset.spark);
    if (!spark || !spark.values.length) continue;
    const svg = sketch(spark.values);
    svg.setAttribute("aria-label", `${spark.name} over the epochs, last ${spark.values.at(-1)}`);
    place.replaceChildren(svg);
  }
}

async function fetchSparks() {
  const wanted = [...list.querySelectorAll("[data-spark]")].filter((place) => {
    const known = drawn.get(place.dataset.spark);
    return place.dataset.version !== "0" && known?.version !== place.dataset.version;
  });
  if (wanted.length) {
    const found = await ask(`/ui/sparks?${new URLSearchParams(wanted.map((place) => ["job", place.dataset.spark]))}`).catch(() => ({}));
    for (const place of wanted) {
      const spark = found[place.dataset.spark];
      if (spark) drawn.set(place.dataset.spark, { ...spark, version: place.dataset.version });
    }
  }
  paint();
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== list) return;
  // the tick asks for what the address now says
  list.setAttribute("hx-get", location.pathname + location.search);
  showChosen();
  fetchSparks();
});
setInterval(() => {
  if (!document.hidden) htmx.trigger(list, "tick");
}, EVERY);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) htmx.trigger(list, "tick");
});
showChosen();
fetchSparks();
