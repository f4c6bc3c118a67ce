// YAML as far as an editor needs it: tokens to colour, and the outline that says which key a character belongs to. Half-written text is fine.

const NUMBER = /^[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$|^0x[\da-fA-F]+$|^[-+]?\.(inf|nan)$/i;
const WORD = /^(true|false|null|~)$/i;
const START = { flow: 0, quote: "", block: -1 };

/** The tokens of one line, {kind, start, end}, and the state that the next line begins with. */
export function scanLine(line, state) {
  const tokens = [];
  let { flow, quote, block } = state;
  const indent = line.search(/\S/);
  if (block >= 0) {
    if (indent < 0 || indent > block) {
      if (indent >= 0) tokens.push({ kind: "string", start: indent, end: line.length, inner: true });
      return { tokens, next: state };
    }
    block = -1;
  }
  let at = 0;
  let fresh = true; // a node may begin here
  let column = 0; // of the last key, or of the dash before it
  const ends = (index) => index >= line.length || /\s/.test(line[index]);
  const isColon = (index) => line[index] === ":" && (ends(index + 1) || (flow > 0 && /[,\]}[{]/.test(line[index + 1])));

  function quoted(from, mark) {
    for (let i = from; i < line.length; i += 1) {
      if (mark === '"' && line[i] === "\\") i += 1;
      else if (line[i] === mark && mark === "'" && line[i + 1] === "'") i += 1;
      else if (line[i] === mark) return i + 1;
    }
    return -1;
  }

  function push(kind, start, end) {
    tokens.push({ kind, start, end });
    at = end;
  }

  function closeQuote(start, from, mark) {
    const end = quoted(from, mark);
    if (end < 0) {
      quote = mark;
      push("string", start, line.length);
      return;
    }
    quote = "";
    let after = end;
    while (line[after] === " ") after += 1;
    const isKey = line[after] === ":" && (isColon(after) || flow > 0);
    push(isKey ? "key" : "string", start, end);
    tokens.at(-1).quoted = true;
    if (isKey) column = start;
    fresh = false;
  }

  if (quote) closeQuote(Math.max(indent, 0), 0, quote);
  while (at < line.length) {
    const character = line[at];
    if (/\s/.test(character)) at += 1;
    else if (character === "#" && (at === 0 || /\s/.test(line[at - 1]))) push("comment", at, line.length);
    else if ("{[".includes(character) && (fresh || flow > 0)) {
      flow += 1;
      push("mark", at, at + 1);
      fresh = true;
    } else if ("}]".includes(character) && flow > 0) {
      flow -= 1;
      push("mark", at, at + 1);
      fresh = false;
    } else if (character === "," && flow > 0) {
      push("mark", at, at + 1);
      fresh = true;
    } else if (character === "-" && flow === 0 && fresh && ends(at + 1)) {
      column = at;
      push("mark", at, at + 1);
    } else if (character === ":" && (isColon(at) || tokens.at(-1)?.kind === "key")) {
      push("mark", at, at + 1);
      fresh = true;
    } else if (fresh && (character === '"' || character === "'")) closeQuote(at, at + 1, character);
    else if (fresh && "&*!".includes(character)) {
      const end = line.slice(at).search(flow ? /[\s,\]}]/ : /\s/);
      push("anchor", at, end < 0 ? line.length : at + end);
      if (character === "*") fresh = false;
    } else if (fresh && flow === 0 && /^[|>][-+\d]*\s*(#.*)?$/.test(line.slice(at))) {
      push("mark", at, at + 1);
      block = column;
      at = line.length;
    } else {
      let end = at;
      while (end < line.length && !isColon(end) && !(line[end] === "#" && /\s/.test(line[end - 1])) && !(flow > 0 && /[,\]}[{]/.test(line[end]))) end += 1;
      const text = line.slice(at, end).trimEnd();
      const last = at + Math.max(text.length, 1);
      if (isColon(end)) {
        column = at;
        push("key", at, last);
      } else push(WORD.test(text) ? "word" : NUMBER.test(text) ? "number" : "plain", at, last);
      fresh = false;
    }
  }
  return { tokens, next: { flow: Math.max(flow, 0), quote, block } };
}

/** The lines of a text with their tokens. What has not changed since `before` is taken from it. */
export function scan(text, before = []) {
  let state = START;
  return text.split("\n").map((line, at) => {
    const known = before[at];
    if (known && known.line === line && known.state.flow === state.flow && known.state.quote === state.quote && known.state.block === state.block) {
      state = known.next;
      return known;
    }
    const { tokens, next } = scanLine(line, state);
    const scanned = { line, state, tokens, next };
    state = next;
    return scanned;
  });
}

class Container {
  constructor(kind, { entry = null, column = -1, flow = false, implicit = false } = {}) {
    Object.assign(this, { kind, entry, column, flow, implicit, entries: [], type: null });
    if (entry) entry.value = this;
  }

  add(key) {
    const entry = { container: this, key: this.kind === "seq" ? this.entries.length : key, value: null, token: null };
    this.entries.push(entry);
    return entry;
  }
}

/** Every token that belongs to a key or an item, with that entry, in the order of the text. */
export function outline(lines) {
  const found = [];
  const root = new Container("map", { column: 0 });
  let stack = [root];
  let waiting = null; // the entry whose value comes next
  let offset = 0;
  const top = () => stack.at(-1);
  const close = (column) => {
    while (stack.length > 1 && !top().flow && top().column > column) stack.pop();
  };
  const open = () => {
    const last = top().entries.at(-1);
    return last && last.value === null ? last : null;
  };

  function scalar(token, text) {
    let entry = waiting;
    if (!entry) entry = top().flow ? top().add(top().kind === "map" ? text : null) : null;
    if (!entry) return;
    waiting = null;
    if (top().flow && top().kind === "map" && entry.token === null && entry.key === text && entry.value === null) {
      entry.keyToken = token;
    } else if (entry.value === null) {
      entry.value = text;
      entry.token = token;
      if (entry.key === "type" && entry.container.kind === "map") Object.assign(entry.container, { type: text, typeEntry: entry });
    }
    found.push({ ...token, entry });
  }

  for (const { line, tokens } of lines) {
    for (const each of tokens) {
      const token = { start: offset + each.start, end: offset + each.end, kind: each.kind };
      let text = line.slice(each.start, each.end);
      if (each.quoted && text.length > 1) text = text.slice(1, -1);
      if (each.inner || each.kind === "comment" || each.kind === "anchor") continue;
      if (each.kind === "mark" && "{[".includes(text)) {
        const kind = text === "{" ? "map" : "seq";
        const entry = waiting ?? (top().kind === "seq" ? top().add() : open());
        const made = new Container(kind, { entry, flow: true });
        stack.push(made);
        waiting = null;
        if (entry) found.push({ ...token, entry });
      } else if (each.kind === "mark" && "}]".includes(text)) {
        if (top().implicit) stack.pop();
        const closed = stack.length > 1 && top().flow ? stack.pop() : null;
        waiting = null;
        if (closed?.entry) found.push({ ...token, entry: closed.entry });
      } else if (each.kind === "mark" && text === ",") {
        if (top().implicit) stack.pop();
        waiting = null;
      } else if (each.kind === "mark" && text === "-" && !top().flow) {
        close(each.start);
        if (!(top().kind === "seq" && top().column === each.start)) {
          const entry = open();
          if (entry) stack.push(new Container("seq", { entry, column: each.start }));
        }
        waiting = top().kind === "seq" ? top().add() : null;
        if (waiting) found.push({ ...token, entry: waiting });
      } else if (each.kind === "key") {
        if (top().flow) {
          if (top().kind === "seq") stack.push(new Container("map", { entry: waiting ?? top().add(), flow: true, implicit: true }));
        } else {
          close(each.start);
          if (top().kind === "seq" && top().column === each.start && top().column >= 0 && stack.length > 1) stack.pop();
          if (!(top().kind === "map" && top().column === each.start)) {
            const entry = open();
            if (entry) stack.push(new Container("map", { entry, column: each.start }));
          }
        }
        waiting = top().add(text);
        waiting.keyToken = token;
        found.push({ ...token, entry: waiting });
      } else if (each.kind !== "mark") {
        if (!top().flow && !waiting) {
          close(each.start);
          waiting = open();
          // a word that stands alone in an object is a key that has no colon yet
          if (!waiting && top().kind === "map" && top().column === each.start) {
            const entry = top().add(text);
            entry.keyToken = token;
            found.push({ ...token, entry });
            continue;
          }
        }
        scalar(token, text);
      }
    }
    offset += line.length + 1;
  }
  return found;
}

/** The token that a place in the text touches, or the last one before it on its line; undefined where there is none. */
export function touched(found, at, text) {
  const start = text.lastIndexOf("\n", at - 1) + 1;
  const touching = found.filter((token) => token.start <= at && at <= token.end);
  const named = touching.find((token) => token.kind !== "mark");
  return named ?? touching[0] ?? found.findLast((token) => token.start >= start && token.end <= at);
}

function typeOf(value) {
  return typeof value === "string" ? value : value?.kind === "map" ? value.type : null;
}

/** [[key or place, type], ...] from the root to an entry. */
export function steps(entry) {
  const way = [];
  for (let each = entry; each; each = each.container.entry) way.unshift([each.key, typeOf(each.value)]);
  return way;
}

/** The JSON Pointer of an entry. */
export function pointer(entry) {
  return steps(entry).map(([key]) => `/${String(key).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
