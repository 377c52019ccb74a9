// Words of texts, and their marks: what the playground and the page for grading share.

const BEFORE = 24; // characters that are shown before the first match, where a text is cut

/** An element with properties and children; strings among these become text. */
function make(tag, properties = {}, ...children) {
  const one = document.createElement(tag);
  const { class: names, ...others } = properties;
  if (names) one.className = names;
  for (const [name, value] of Object.entries(others)) {
    if (name in one) one[name] = value;
    else one.setAttribute(name, value);
  }
  one.append(...children);
  return one;
}

/** A button that opens and shuts a text; `show` is told whether the whole of it is wanted. */
function wholeText(show) {
  const more = make("button", { type: "button", class: "more", ariaExpanded: "false" }, "Whole text");
  more.addEventListener("click", () => {
    const open = more.ariaExpanded === "false";
    more.ariaExpanded = String(open);
    more.textContent = open ? "Less" : "Whole text";
    show(open);
  });
  return more;
}

// ---- Words: as tamis.text.words, so that what is marked is what BM25 counts

const PAIRED = String.raw`\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}\p{sc=Hang}\u30fc`;
const WORD = new RegExp(
  String.raw`([${PAIRED}][${PAIRED}\p{M}]*)|([[\p{L}\p{N}]--[${PAIRED}]][[\p{L}\p{N}\p{M}]--[${PAIRED}]]*)`,
  "gv",
);

function fold(text) {
  const small = text.normalize("NFKC").toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ");
  return small.normalize("NFKC").replace(/[\u00ad\u0640\u200c\u200d]/g, "");
}

const newest = { text: "", spans: [] }; // a text is looked at for its best part, and then for its marks

/** [start, end, word] of each word; scripts without spaces give overlapping pairs of characters. */
function spans(text) {
  if (newest.text !== text) Object.assign(newest, { text, spans: spansOf(text) });
  return newest.spans;
}

function spansOf(text) {
  const found = [];
  for (const match of text.matchAll(WORD)) {
    if (match[2]) {
      found.push([match.index, match.index + match[2].length, fold(match[2])]);
      continue;
    }
    const characters = [...match[1].matchAll(/\P{M}\p{M}*/gu)].map((one) => [
      match.index + one.index,
      match.index + one.index + one[0].length,
    ]);
    const pairs = characters.slice(1).map((one, place) => [characters[place][0], one[1]]);
    for (const [start, end] of pairs.length ? pairs : characters) found.push([start, end, fold(text.slice(start, end))]);
  }
  return found;
}

/** [start, end] of stretches of a text that hold words of the query; those that touch are one. */
function matches(text, wanted) {
  const found = [];
  for (const [start, end, word] of spans(text)) {
    if (!wanted.has(word)) continue;
    const last = found.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else found.push([start, end]);
  }
  return found;
}

/** How many different words stand between a hit and an end. */
function held(hits, number, end) {
  const words = new Set();
  for (; number < hits.length && hits[number][1] <= end; number++) words.add(hits[number][2]);
  return words.size;
}

/** The part of a long text, at most so many characters, with most different words of the query: [start, end]. */
function bestPart(text, wanted, most) {
  if (text.length <= most) return [0, text.length];
  const hits = spans(text).filter(([, , word]) => wanted.has(word));
  let [best, count] = [0, held(hits, 0, most)];
  hits.forEach(([start], number) => {
    const from = Math.max(0, start - BEFORE);
    const more = held(hits, number, from + most);
    if (more > count) [best, count] = [from, more];
  });
  const space = text.indexOf(" ", best);
  if (best && space >= 0 && space < best + BEFORE) best = space + 1;
  if (best + most >= text.length) return [best, text.length];
  const last = text.lastIndexOf(" ", best + most);
  return [best, last > best + most - BEFORE ? last : best + most];
}

/** A text's part with its matches marked. */
function marked(text, wanted, [from, to]) {
  const pieces = from ? ["… "] : [];
  let done = from;
  for (const [start, end] of matches(text, wanted)) {
    if (end <= from || start >= to) continue;
    pieces.push(text.slice(done, Math.max(start, done)));
    pieces.push(make("mark", {}, text.slice(Math.max(start, done), Math.min(end, to))));
    done = Math.min(end, to);
  }
  pieces.push(text.slice(done, to), to < text.length ? " …" : "");
  return pieces;
}
