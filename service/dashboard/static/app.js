// What every page does: buttons that ask the API, words for moments, toasts, and the tick that keeps a page true.

export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function toast(words, kind = "good") {
  const note = element("div", { className: `notice ${kind}` }, words);
  document.querySelector("#toasts").append(note);
  setTimeout(() => note.remove(), kind === "bad" ? 12000 : 5000);
}

/** What a session sends with everything that changes something: another site cannot read it. Empty where there is no session. */
export function ownToken() {
  const token = document.querySelector("meta[name=csrf-token]")?.content;
  return token ? { "X-CSRF-Token": token } : {};
}

/** The answer's JSON (null where there is none). Throws an Error in the service's own words. */
export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { ...options, headers: { ...ownToken(), ...options.headers } });
  } catch {
    throw new Error("The service does not answer. It may be restarting; try again in a moment.");
  }
  if (answer.status === 401) location.reload();
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    const faults = (problem.errors ?? []).map((fault) => `${fault.pointer} ${fault.detail}`);
    throw new Error([problem.detail ?? `The service answered ${answer.status}.`, ...faults].join(" "));
  }
  return answer.status === 204 ? null : answer.json();
}

export function sure(words) {
  const dialog = document.querySelector("#sure");
  dialog.querySelector("#sure-words").textContent = words;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

/** Everything that listens for a tick asks for itself again; what nobody has scrolled to yet does not. */
export function tick() {
  for (const each of document.querySelectorAll("[hx-trigger*='tick']")) if (!each.querySelector("[data-unseen]")) htmx.trigger(each, "tick");
}

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  if (Math.abs(seconds) > 7 * 86400) return at.toLocaleDateString();
  for (const [unit, length] of UNITS) if (Math.abs(seconds) >= length) return AGO.format(Math.round(seconds / length), unit);
  return Math.abs(seconds) < 10 ? "just now" : AGO.format(Math.round(seconds), "second");
}

function sayMoments(root = document) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const at = new Date(each.dateTime);
    each.textContent = "ago" in each.dataset ? ago(at) : at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    each.title = at.toLocaleString();
  }
}

async function pressed(button) {
  const { post, delete: gone, sure: words, go, done } = button.dataset;
  if (words && !(await sure(words))) return;
  button.setAttribute("aria-busy", "true");
  try {
    const job = await ask(post ?? gone, { method: post ? "POST" : "DELETE" });
    if (go) location.assign(go + (job && go !== "/" ? job.id : ""));
    else {
      toast(done ?? "Done");
      tick();
    }
  } catch (error) {
    toast(error.message, "bad");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-post], [data-delete]");
  if (button && button.getAttribute("aria-busy") !== "true") pressed(button);
});
document.querySelector("#theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  document.dispatchEvent(new Event("theme"));
});
document.addEventListener("htmx:afterSwap", (event) => sayMoments(event.detail.target));
document.addEventListener("htmx:beforeSwap", (event) => {
  // a part that could not be had says so in its place; one that ticks keeps what it shows
  if (event.detail.isError && event.detail.xhr.getResponseHeader("Content-Type")?.startsWith("text/html")) {
    event.detail.shouldSwap = event.detail.requestConfig.triggeringEvent?.type !== "tick";
  }
});
setInterval(() => sayMoments(), 15000);
sayMoments();
