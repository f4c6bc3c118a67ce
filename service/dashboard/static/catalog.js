// The catalog: what is typed narrows the list at once; what is opened tells more.
import "./copying.js";

const input = document.querySelector("#q");
const found = document.querySelector("#found");
const everything = found.textContent;
const sections = [...document.querySelectorAll(".kind")].map((section) => ({
  section,
  link: document.querySelector(`[data-kind="${section.id}"]`),
  entries: [...section.querySelectorAll("details")].map((details) => ({ details, words: details.querySelector("summary").textContent.toLowerCase() })),
}));

function narrow() {
  const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { section, link, entries } of sections) {
    let here = 0;
    for (const { details, words } of entries) {
      const fits = wanted.every((word) => words.includes(word));
      details.hidden = !fits;
      here += fits;
    }
    section.hidden = link.hidden = here === 0;
    link.querySelector("small").textContent = here;
    shown += here;
  }
  document.querySelector("#nothing").hidden = shown > 0;
  found.textContent = wanted.length ? `${shown} found` : everything;
  history.replaceState(null, "", input.value ? `?${new URLSearchParams({ q: input.value })}` : location.pathname + location.hash);
}

document.addEventListener(
  "toggle",
  (event) => {
    const details = event.target;
    if (!details.open || !details.dataset.entry || details.dataset.told) return;
    details.dataset.told = "yes";
    const about = document.createElement("div");
    about.className = "about";
    details.lastElementChild.replaceWith(about);
    htmx.ajax("GET", `/ui/catalog/${details.dataset.entry}`, { target: about, swap: "innerHTML" });
  },
  true,
);
input.addEventListener("input", narrow);
document.querySelector("#search").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  input.focus();
});
if (input.value) narrow();
