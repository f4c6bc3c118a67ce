// Buttons that copy: data-copy names the element whose text is meant.
import { toast } from "./app.js";

/** Where a page is not served over https the browser has no clipboard of its own: what is selected can still be copied. */
async function copy(words) {
  if (navigator.clipboard) return navigator.clipboard.writeText(words);
  const area = Object.assign(document.createElement("textarea"), { value: words, className: "sr" });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("The browser does not let this page copy.");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await copy(document.querySelector(button.dataset.copy).textContent);
    toast("Copied");
  } catch {
    toast("The browser does not let this page copy: mark the text and copy it by hand.", "bad");
  }
});
