// Curves: uPlot with our colours, a log axis, smoothing, values under the pointer, and the same numbers as a table.
import { element } from "./app.js";

const COLOURS = ["#0b7a63", "#d1652b", "#3d6fd9", "#b0418f", "#8a7a1f", "#5d5fc7", "#c43d3d", "#2a8fa8", "#5f7f1e", "#8a5a3c", "#7a3fb5", "#66707a"];
const LIGHTER = ["#5fd3b5", "#f59b6b", "#8fb4ff", "#ec8fd0", "#d9c75f", "#b1b3ff", "#ff9d94", "#7fd3e6", "#b5d96b", "#d6ab8c", "#d0a5f5", "#b3bdc7"];
const TABLE_ROWS = 200;

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** An exponential moving average, without the pull towards its start (as Adam corrects its moments). */
export function smoothed(values, weight) {
  if (!weight) return values;
  let [sum, seen] = [0, 0];
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    sum = sum * weight + (1 - weight) * value;
    seen += 1;
    return sum / (1 - weight ** seen);
  });
}

function figure(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(3) : Number(value.toPrecision(5)).toString();
}

/** Where the nearest value is, inside a line: lines of several runs do not have their points at the same x. */
function nearest(values, at) {
  if (values[at] != null) return at;
  const [before, after] = [values.slice(0, at).findLastIndex((value) => value != null), values.findIndex((value, place) => place > at && value != null)];
  if (before < 0 || after < 0) return at;
  return at - before <= after - at ? before : after;
}

/**
 * One figure with a line for each series: {label, dashed?, colour?, hidden?}. `draw(xs, ys)` shows new values; `set({log, smooth})` changes
 * how; `show(at, yes)` switches a line; `onSwitch(at, yes)` is called when a reader did so in the legend.
 */
export class Chart {
  constructor(title, series, { x = "epoch" } = {}) {
    this.series = series;
    this.x = x;
    this.how = { log: false, smooth: 0 };
    this.data = [[], ...series.map(() => [])];
    this.plot = element("div", { className: "plot" });
    this.table = element("table");
    const details = element("details", {}, element("summary", {}, "As a table"), this.table);
    details.addEventListener("toggle", () => details.open && this.#fillTable());
    this.details = details;
    this.root = element("figure", { className: "chart" }, element("figcaption", {}, title), this.plot, details);
    this.title = title;
    new ResizeObserver(() => this.uplot && this.#width() !== this.uplot.width && this.uplot.setSize(this.#size())).observe(this.plot);
  }

  draw(xs, ys) {
    this.data = [xs, ...ys];
    if (!this.uplot) this.#make();
    else this.uplot.setData(this.#shown());
    if (this.details.open) this.#fillTable();
  }

  set(how) {
    const remake = how.log !== undefined && how.log !== this.how.log;
    this.how = { ...this.how, ...how };
    if (!this.uplot) return;
    if (remake) this.#make();
    else this.uplot.setData(this.#shown());
  }

  show(at, yes) {
    this.series[at].hidden = !yes;
    if (this.uplot && this.uplot.series[at + 1].show !== yes) this.uplot.setSeries(at + 1, { show: yes }, false);
  }

  restyle() {
    if (this.uplot) this.#make();
  }

  #width() {
    return Math.max(200, Math.floor(this.plot.clientWidth));
  }

  #size() {
    return { width: this.#width(), height: 220 };
  }

  #shown() {
    const [xs, ...ys] = this.data;
    const positive = (value) => (this.how.log && !(value > 0) ? null : value);
    return [xs, ...ys.map((values) => smoothed(values, this.how.smooth).map(positive))];
  }

  #make() {
    this.uplot?.destroy();
    const style = getComputedStyle(document.documentElement);
    const [ink, line] = ["--muted", "--line"].map((name) => resolved(style, name));
    const colours = isDark() ? LIGHTER : COLOURS;
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const lone = this.data[0].length < 60;
    this.uplot = new uPlot(
      {
        ...this.#size(),
        scales: { x: { time: false }, y: { distr: this.how.log ? 3 : 1 } },
        axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 1e4, 2e4, 5e4, 1e5, 1e6] }, { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : figure(tick))) }],
        cursor: { drag: { x: true, y: false }, dataIdx: (plot, series, at) => (series ? nearest(plot.data[series], at) : at) },
        hooks: {
          setSeries: [
            (_, series, { show }) => {
              if (!series || show === undefined) return;
              this.series[series - 1].hidden = !show;
              this.onSwitch?.(series - 1, show);
            },
          ],
        },
        series: [
          { label: this.x, value: (_, value) => (value === null ? "–" : `${value}`) },
          ...this.series.map(({ label, dashed, colour, hidden = false }, at) => ({
            label,
            show: !hidden,
            stroke: colours[(colour ?? at) % colours.length],
            width: 1.75,
            dash: dashed ? [5, 4] : undefined,
            points: { show: lone, size: 5 },
            spanGaps: true,
            value: (_, value) => figure(value),
          })),
        ],
      },
      this.#shown(),
      this.plot,
    );
    this.uplot.root.querySelector("canvas").setAttribute("aria-hidden", "true");
    // the legend of many lines scrolls, with the keyboard too
    Object.assign(this.uplot.root.querySelector(".u-legend"), { tabIndex: 0, ariaLabel: `Values of ${this.title}` });
  }

  #fillTable() {
    const [xs, ...ys] = this.data;
    const stride = Math.ceil(xs.length / TABLE_ROWS) || 1;
    const head = element("tr", {}, ...[this.x, ...this.series.map((each) => each.label)].map((words) => element("th", { scope: "col" }, words)));
    const rows = xs.flatMap((x, at) => (at % stride && at !== xs.length - 1 ? [] : [element("tr", {}, element("td", {}, `${x}`), ...ys.map((values) => element("td", {}, figure(values[at]))))]));
    this.table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }
}

/** A colour of ours as the canvas takes it: light-dark() is not known there. */
function resolved(style, name) {
  const probe = element("span", { hidden: true });
  probe.style.color = style.getPropertyValue(name);
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

const PREFIX = /^(train|val|test)_(?!seconds)/;
const ASIDE = new Set(["epoch", "step", "at", "train_seconds", "seconds", "peak_memory_bytes"]);

/** Metrics that belong into one figure: train_loss and val_loss are `loss`. {title: [names]} in the order of reading. */
export function grouped(names) {
  const groups = new Map();
  for (const name of names) {
    if (ASIDE.has(name)) continue;
    const title = name.replace(PREFIX, "");
    groups.set(title, [...(groups.get(title) ?? []), name]);
  }
  const order = ["loss", "accuracy"];
  const rank = (title) => (order.includes(title) ? order.indexOf(title) : ["lr", "samples_per_second"].includes(title) ? 90 : 10);
  return new Map([...groups].sort(([left], [right]) => rank(left) - rank(right)));
}
