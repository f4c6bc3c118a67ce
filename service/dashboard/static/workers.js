// Workers and queue, kept true.
import { tick } from "./app.js";

const EVERY = 2000;

setInterval(() => {
  if (!document.hidden) tick();
}, EVERY);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
