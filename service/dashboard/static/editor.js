// The page of a new job: the text is coloured and checked as one types, explained where the cursor is, kept as a draft, and submitted.
import { ask, element, ownToken, toast } from "./app.js";
import { Paint, moved } from "./editor/paint.js";
import { listenToKeys, replace } from "./editor/typing.js";
import { outline, pointer, scan, steps, touched } from "./editor/yaml.js";

const CHECK_AFTER = 250;
const EXPLAIN_AFTER = 120;
const PATIENCE = 2000;
const AGAIN_AFTER = 4000;

const form = document.querySelector("#new-job");
const area = document.querySelector("#text");
const code = document.querySelector("#code");
const verdict = document.querySelector("#verdict");
const list = document.querySelector("#marks");
const paint = new Paint(document.querySelector("#paint"));
const draftName = `draft:/jobs/new?${form.dataset.origin}`;

let lines = [];
let found = [];
let seen = { text: null, marks: [], valid: false };
/** What the last check says, at the places of the text as it is now. */
let marks = [];

// ---------------------------------------------------------------- the text

function lineOf(at) {
  return area.value.slice(0, at).split("\n").length - 1;
}

function draw() {
  paint.draw(lines, marks, document.activeElement === area ? lineOf(area.selectionStart) : -1);
}

function read() {
  const text = area.value;
  lines = scan(text, lines);
  found = outline(lines);
  marks = seen.text === null ? [] : moved(seen.marks, seen.text, text);
  draw();
}

function go(at, end = at) {
  area.focus({ preventScroll: true });
  area.setSelectionRange(at, end);
  draw();
  reveal();
  code.scrollIntoView({ block: "nearest" });
  explainSoon();
}

/** Scrolls the cursor's line into sight, where it is not. */
function reveal() {
  const line = paint.known[lineOf(area.selectionEnd)]?.node.getBoundingClientRect();
  const frame = code.getBoundingClientRect();
  if (line && (line.top < frame.top || line.bottom > frame.bottom)) code.scrollBy({ top: line.top - frame.top - frame.height / 3 });
}

// ---------------------------------------------------------------- the check

/** The question that waits for its answer: {text, began, stop, done}. */
let asking = null;
let checkTimer;

function say(kind, words) {
  verdict.className = `verdict ${kind}`;
  const status = verdict.firstElementChild;
  if (status.textContent !== words) status.textContent = words;
  if (kind === "bad" || kind === "warned") verdict.href = "#found";
  else verdict.removeAttribute("href");
}

function checkSoon(after = CHECK_AFTER) {
  clearTimeout(checkTimer);
  checkTimer = setTimeout(check, after);
}

/** Resolves once the text has its answer. One question is asked at a time; one that takes long is given up for a newer text. */
function check() {
  clearTimeout(checkTimer);
  const text = area.value;
  if (asking?.text === text) return asking.done;
  const left = asking ? asking.began + PATIENCE - performance.now() : 0;
  if (left > 0) return Promise.race([asking.done, new Promise((resolve) => setTimeout(resolve, left))]).then(check);
  asking?.stop.abort();
  const mine = { text, began: performance.now(), stop: new AbortController() };
  asking = mine;
  mine.done = question(text, mine.stop.signal).finally(() => {
    if (asking === mine) asking = null;
  });
  return mine.done;
}

async function question(text, signal) {
  const slow = setTimeout(() => say("checking", "Checking"), CHECK_AFTER);
  try {
    const answer = await fetch("/ui/check", { method: "POST", body: text, headers: { "Content-Type": "text/plain", ...ownToken() }, signal });
    if (answer.redirected || answer.status === 204) location.reload();
    else if (answer.ok) show(text, await answer.json());
    else throw new Error(answer.status === 503 ? "The check is busy" : "The check failed");
  } catch (error) {
    if (signal.aborted) return;
    say("checking", error instanceof TypeError ? "The service does not answer" : error.message);
    checkSoon(AGAIN_AFTER);
  } finally {
    clearTimeout(slow);
  }
}

const some = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function show(text, told) {
  seen = { text, marks: told.marks, valid: told.valid };
  marks = moved(seen.marks, text, area.value);
  draw();
  const errors = told.marks.filter((mark) => mark.severity === "error").length;
  const remarks = told.marks.length - errors;
  area.setAttribute("aria-invalid", String(errors > 0));
  if (text !== area.value) say("checking", "Checking");
  else if (errors) say("bad", some(errors, "fault"));
  else if (remarks) say("warned", `Trains, with ${some(remarks, "remark")}`);
  else say("good", "Ready to train");
  showMarks(told.marks, errors, remarks);
  const known = document.querySelector("#known");
  if (told.side !== null) known.innerHTML = told.side;
  known.classList.toggle("old", told.side === null);
}

function showMarks(all, errors, remarks) {
  document.querySelector("#found").hidden = all.length === 0;
  document.querySelector("#found-title").textContent = [errors && some(errors, "fault"), remarks && some(remarks, "remark")].filter(Boolean).join(", ");
  document.querySelector("#fix-all").hidden = all.filter((mark) => mark.fix).length < 2;
  // what stays is not made anew: somebody may be about to press it
  const before = new Map([...list.children].map((item) => [item.dataset.name, item]));
  list.replaceChildren(...all.map((mark) => itemOf(mark, before)));
}

function itemOf({ severity, line, detail, suggestion, fix }, before) {
  const name = JSON.stringify([severity, line, detail, suggestion, fix?.words]);
  const known = before.get(name);
  before.delete(name);
  if (known) return known;
  const words = element("div", {}, element("p", {}, ...coded(detail)));
  if (suggestion) words.append(element("p", { className: "muted" }, ...coded(suggestion)));
  const item = element("li", { className: severity }, element("button", { type: "button", className: "where" }, `Line ${line}`), words);
  item.dataset.name = name;
  if (fix) item.append(element("button", { type: "button", className: "button fix" }, element("b", {}, "Fix:"), ` ${fix.words}`));
  return item;
}

list.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  const at = [...list.children].indexOf(event.target.closest("li"));
  if (pressed?.classList.contains("fix")) mend([at]);
  else if (pressed) visit(at);
});

/** Words with what stands in backticks as code. */
function coded(words) {
  return words.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

function visit(at) {
  const mark = marks[at];
  go(mark.start, mark.end);
}

/** Makes the edits of these marks as one, so that one Ctrl+Z takes them back. */
function mend(which) {
  let last = Infinity;
  const edits = [];
  const fixable = which.map((at) => marks[at]).filter((mark) => mark?.fix);
  if (!fixable.length) {
    check();
    return;
  }
  for (const { fix } of fixable.sort((left, right) => right.fix.start - left.fix.start || right.fix.end - left.fix.end)) {
    // of two that meet, the next check offers the other again
    if (fix.end > last || (fix.end === last && fix.start === fix.end)) continue;
    edits.push(fix);
    last = fix.start;
  }
  const [start, end] = [Math.min(...edits.map((fix) => fix.start)), Math.max(...edits.map((fix) => fix.end))];
  let text = area.value;
  for (const fix of edits) text = text.slice(0, fix.start) + fix.text + text.slice(fix.end);
  replace(area, start, end, text.slice(start, end + text.length - area.value.length));
  go(area.selectionEnd);
  check();
}

document.querySelector("#fix-all").addEventListener("click", () => mend([...marks.keys()]));

// ---------------------------------------------------------------- the explanation

const explained = new Map();
const explanation = document.querySelector("#explanation");
let explainTimer;
/** The entry that is explained. */
let entry = null;
let shownPlace = "";

function explainSoon() {
  clearTimeout(explainTimer);
  explainTimer = setTimeout(explain, EXPLAIN_AFTER);
}

async function explain() {
  const token = touched(found, area.selectionStart, area.value);
  if (!token) return;
  entry = token.entry;
  const place = JSON.stringify(steps(entry));
  if (place === shownPlace) {
    markWritten();
    return;
  }
  shownPlace = place;
  let html = explained.get(place);
  if (html === undefined) {
    const answer = await fetch(`/ui/explain?${new URLSearchParams({ at: place })}`).catch(() => null);
    if (!answer?.ok) return;
    html = await answer.text();
    explained.set(place, html);
  }
  if (place !== shownPlace) return;
  explanation.innerHTML = html;
  markWritten();
}

function container() {
  return typeof entry?.value === "object" && entry.value?.kind === "map" ? entry.value : entry?.key === "type" ? entry.container : null;
}

/** What the text says already needs no button. */
function markWritten() {
  const written = new Set((container()?.entries ?? []).map((each) => each.key));
  for (const row of explanation.querySelectorAll("[data-argument]")) row.classList.toggle("written", written.has(row.dataset.argument));
}

/** The word that a click on another name replaces. */
function wordOf() {
  if (explanation.querySelector("[data-unknown-key]")) return entry.keyToken;
  if (entry.token) return entry.token;
  return container()?.typeEntry?.token;
}

explanation.addEventListener("click", async (event) => {
  const { put, add, value } = event.target.closest("[data-put], [data-add]")?.dataset ?? {};
  if (put !== undefined) {
    const token = wordOf();
    const key = entry.keyToken;
    if (token) replace(area, token.start, token.end, put);
    else if (key) replace(area, key.end, key.end + (area.value[key.end] === ":" ? 1 : 0), `: ${put}`);
    explainSoon();
  } else if (add !== undefined) {
    const target = entry.key === "type" ? entry.container.entry : entry;
    const text = area.value;
    const body = JSON.stringify({ text, op: "set", pointer: `${target ? pointer(target) : ""}/${add}`, value: valueOf(value) });
    const edit = await ask("/ui/edit", { method: "POST", body }).catch(() => null);
    if (!edit || area.value !== text) toast("Mend the text first: it cannot be read now.", "warn");
    else {
      replace(area, edit.start, edit.end, edit.text);
      go(area.selectionEnd);
    }
  }
});

/** A default as YAML writes it on one line: JSON, but for bare words. */
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// ---------------------------------------------------------------- the draft

let draftTimer;

function keep() {
  clearTimeout(draftTimer);
  draftTimer = setTimeout(keepNow, 300);
}

function keepNow() {
  clearTimeout(draftTimer);
  if (area.value === area.defaultValue) localStorage.removeItem(draftName);
  else localStorage.setItem(draftName, JSON.stringify({ text: area.value, at: Date.now() }));
}

function restore() {
  let draft = null;
  try {
    draft = JSON.parse(localStorage.getItem(draftName));
  } catch {
    localStorage.removeItem(draftName);
  }
  if (typeof draft?.text !== "string" || draft.text === area.defaultValue) return;
  area.value = draft.text;
  document.querySelector("#drafted-when").textContent = new Date(draft.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  document.querySelector("#drafted").hidden = false;
}

document.querySelector("#start-over").addEventListener("click", () => {
  replace(area, 0, area.value.length, area.defaultValue);
  document.querySelector("#drafted").hidden = true;
  go(0);
});
addEventListener("pagehide", keepNow);

// ---------------------------------------------------------------- submitting

const button = document.querySelector("#submit");

/** A name for this text on this page: pressed twice, it is one job. */
let asked = { text: null, key: "" };

function keyFor(text) {
  if (asked.text !== text) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    asked = { text, key: [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return asked.key;
}

async function submit() {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  const text = area.value;
  try {
    if (seen.text !== text) await check();
    if (seen.text === text && !seen.valid) {
      refuse();
      return;
    }
    const job = await ask("/v1/jobs", { method: "POST", body: text, headers: { "Content-Type": "application/yaml", "Idempotency-Key": keyFor(text) } });
    keepNow();
    location.assign(`/jobs/${job.id}`);
  } catch (error) {
    toast(error.message, "bad");
    check();
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function refuse() {
  const first = marks.findIndex((mark) => mark.severity === "error");
  toast(`${marks.length === 1 ? "One fault stands" : "Faults stand"} in the way. The first one is marked.`, "bad");
  if (first >= 0) visit(first);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.defaultPrevented) {
    event.preventDefault();
    submit();
  }
});

// ---------------------------------------------------------------- beginning

listenToKeys(area, { submit, reveal });
area.addEventListener("input", () => {
  read();
  keep();
  checkSoon();
  explainSoon();
});
for (const name of ["selectionchange", "select", "focus", "keyup", "pointerup"]) {
  area.addEventListener(name, () => {
    draw();
    explainSoon();
  });
}
area.addEventListener("blur", draw);
restore();
read();
check();
