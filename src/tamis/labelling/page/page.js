// The page for grading. Whatever comes from outside is put into the page as text, never as HTML.

const SHOWN = 900; // characters that are shown of a longer passage
const KEPT = 12; // questions that are held
const AGAIN = 2000; // milliseconds until a grade that was not kept is sent again
const CANNOT_TELL = "cannot tell";
const GRADES = [
  [0, "0", "Not relevant"],
  [1, "1", "In part"],
  [2, "2", "Answers it"],
  [CANNOT_TELL, "3", "Cannot tell"],
];

const at = (id) => document.getElementById(id);
const state = { person: "", sizes: [], done: [], seconds: null, place: -1, current: 0, questions: new Map(), shown: null, queue: [], sending: false };
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

function say(message, wrong = false) {
  at("status").textContent = message;
  at("status").className = wrong ? "wrong" : "";
}

// ---- The server

class Refused extends Error {} // it will be refused again
class Failed extends Error {} // it may go the next time

async function ask(path, sent) {
  const options = sent && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(sent) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Failed("The command in the terminal does not answer; start it again, and this page goes on.");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const said = body.message ?? answer.statusText;
  if (answer.status >= 500) throw new Failed(said);
  throw new Refused(said);
}

const about = (facts) => new URLSearchParams({ person: state.person, ...facts });

async function question(place) {
  if (!state.questions.has(place)) {
    state.questions.set(place, ask(`question?${about({ place })}`));
    for (const old of state.questions.keys()) {
      if (state.questions.size <= KEPT) break;
      if (old !== place && old !== state.place && !state.queue.some((one) => one.place === old)) state.questions.delete(old);
    }
  }
  try {
    return await state.questions.get(place);
  } catch (error) {
    state.questions.delete(place);
    throw error;
  }
}

// Grades are sent one after the other, in the order in which they were given; what does not arrive is sent again.

function send(one) {
  state.queue.push(one);
  pump();
}

async function pump() {
  if (state.sending) return;
  state.sending = true;
  at("progress").ariaBusy = "true"; // until all that was given is kept
  while (state.queue.length) {
    const one = state.queue[0];
    try {
      const told = await ask(one.path, { person: state.person, ...one.body });
      state.queue.shift();
      one.kept(told);
      if (at("status").classList.contains("wrong")) say("Everything is kept again.");
    } catch (error) {
      if (error instanceof Failed) {
        say(`${plural(state.queue.length, "change")} not kept yet: ${error.message}`, true);
        await new Promise((resolve) => setTimeout(resolve, AGAIN));
        continue;
      }
      state.queue.shift();
      if (!(error instanceof Refused)) throw error;
      say(`Not kept: ${error.message}`, true);
    }
  }
  state.sending = false;
  at("progress").ariaBusy = "false";
}

addEventListener("beforeunload", (event) => {
  if (state.queue.length) event.preventDefault();
});

// ---- What is shown

const shown = () => state.shown;

async function show(place, wanted = null) {
  const before = state.shown;
  state.shown = null; // a key that comes before the question does is not one for the passage that was there
  let found;
  try {
    found = await question(place);
  } catch (error) {
    state.shown = before;
    if (!(error instanceof Refused || error instanceof Failed)) throw error;
    say(error.message, true);
    return;
  }
  state.place = place;
  state.shown = found;
  at("query").textContent = found.query;
  at("finished").hidden = true;
  while (addCard(found));
  at("passages").replaceChildren(...found.cards);
  found.passages.forEach((_, number) => pressed(number));
  tell();
  const open = found.passages.findIndex((one) => one.grade === null);
  choose(wanted ?? Math.max(0, open));
  const next = unfinished(place + 1);
  if (next !== null && next !== place) prepare(next).catch(() => {}); // so that it is there when it is wanted
}

/** Fetch a question and make its cards, one at a time, while nothing else is to be done. */
async function prepare(place) {
  const found = await question(place);
  do await new Promise((resolve) => (window.requestIdleCallback ?? setTimeout)(resolve));
  while (addCard(found));
}

/** Make the next card of a question; false where all are made. */
function addCard(found) {
  found.cards ??= [];
  if (found.cards.length === found.passages.length) return false;
  found.words ??= wordsOf(found);
  const number = found.cards.length;
  found.cards.push(card(found.passages[number], number, found.passages.length, found.words));
  return true;
}

function wordsOf(found) {
  const words = new Set(spans(fold(found.query)).map(([, , word]) => word));
  found.common.forEach((word) => words.delete(word));
  return words;
}

function card(one, number, count, words) {
  const line = one.text.trim();
  const part = bestPart(line, words, SHOWN);
  const text = make("p", { class: "text", dir: "auto" }, ...marked(line, words, part));
  const title = one.title ? [make("h3", { dir: "auto" }, ...marked(one.title, words, [0, one.title.length]))] : [];
  const box = make("li", { class: "passage", tabIndex: -1, "aria-label": `Passage ${number + 1} of ${count}` }, ...title, text);
  if (part[1] - part[0] < line.length) {
    box.append(wholeText((open) => text.replaceChildren(...marked(line, words, open ? [0, line.length] : part))));
  }
  const buttons = GRADES.map(([grade, key, name]) => {
    const button = make("button", { type: "button", ariaPressed: "false" }, make("kbd", { "aria-hidden": "true" }, key), ` ${name}`);
    button.addEventListener("click", () => give(number, grade));
    return button;
  });
  box.append(make("div", { class: "grades", role: "group", "aria-label": `Grade of passage ${number + 1}` }, ...buttons));
  box.addEventListener("click", (event) => event.target.closest("button") ?? mark(number));
  return box;
}

function pressed(number) {
  const { grade } = shown().passages[number];
  [...at("passages").children[number].querySelectorAll(".grades button")].forEach((button, place) => {
    button.ariaPressed = String(GRADES[place][0] === grade);
  });
}

function tell() {
  const total = state.sizes.reduce((sum, one) => sum + one, 0);
  const done = state.done.reduce((sum, one) => sum + one, 0);
  at("progress").max = total;
  at("progress").value = done;
  at("left").textContent = `${done.toLocaleString("en")} of ${plural(total, "passage")}${timeLeft(total - done)}`;
  at("place").textContent = `Question ${state.place + 1} of ${state.sizes.length}, ${state.done[state.place]} of ${state.sizes[state.place]} graded`;
  at("undo").disabled = done === 0;
}

function timeLeft(count) {
  if (!state.seconds || !count) return "";
  const minutes = Math.ceil((count * state.seconds) / 60);
  return minutes < 90 ? ` · about ${minutes} min left` : ` · about ${Math.round(minutes / 60)} h left`;
}

function mark(number) {
  state.current = number;
  [...at("passages").children].forEach((one, place) => one.classList.toggle("on", place === number));
}

function choose(number) {
  mark(number);
  const one = at("passages").children[number];
  one.focus({ preventScroll: true });
  const room = innerHeight - at("top").getBoundingClientRect().height;
  one.scrollIntoView({ block: one.getBoundingClientRect().height < room - 60 ? "center" : "start" });
}

// ---- What is done

/** The next question that is not finished, from a place on and then from the beginning; null where all are. */
function unfinished(from) {
  for (let step = 0; step < state.sizes.length; step++) {
    const place = (from + step) % state.sizes.length;
    if (state.done[place] < state.sizes[place]) return place;
  }
  return null;
}

function give(number, grade) {
  const found = shown();
  if (!found) return;
  const passage = found.passages[number];
  if (passage.grade === null) state.done[found.place] += 1;
  passage.grade = grade;
  pressed(number);
  const kept = (told) => {
    state.seconds = told.seconds;
    tell();
  };
  send({ path: "grade", place: found.place, body: { question: found.id, document: passage.id, grade }, kept });
  tell();
  advance(number);
}

function advance(number) {
  const { passages } = shown();
  const order = [...passages.keys()].map((step) => (number + 1 + step) % passages.length);
  const open = order.find((place) => passages[place].grade === null);
  if (open !== undefined) return choose(open);
  const next = unfinished(state.place + 1);
  if (next !== null) return show(next);
  at("finished").hidden = false;
  at("finished").focus();
  at("finished").scrollIntoView();
}

function undo() {
  const kept = async (told) => {
    if (told.place === undefined) return say("There is nothing to take back.");
    state.done[told.place] = told.done;
    const found = await question(told.place);
    const number = found.passages.findIndex((one) => one.id === told.document);
    found.passages[number].grade = told.grade;
    await show(told.place, number);
    say("Taken back.");
  };
  send({ path: "undo", place: state.place, body: {}, kept });
}

function step(by) {
  const count = state.sizes.length;
  show((state.place + by + count) % count);
}

const KEYS = {
  ...Object.fromEntries(GRADES.map(([grade, key]) => [key, () => give(state.current, grade)])),
  "?": () => give(state.current, CANNOT_TELL),
  u: undo,
  Backspace: undo,
  ArrowDown: () => choose(Math.min(state.current + 1, shown().passages.length - 1)),
  ArrowUp: () => choose(Math.max(state.current - 1, 0)),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  w: () => at("passages").children[state.current].querySelector(".more")?.click(),
};
Object.assign(KEYS, { j: KEYS.ArrowDown, k: KEYS.ArrowUp, n: KEYS.ArrowRight, p: KEYS.ArrowLeft });

addEventListener("keydown", (event) => {
  if (at("desk").hidden || !shown() || event.isComposing || event.altKey || event.repeat) return;
  const meant = (event.ctrlKey || event.metaKey) ? (event.key === "z" ? undo : null) : KEYS[event.key];
  if (!meant) return;
  event.preventDefault();
  say("");
  meant();
});

at("before").addEventListener("click", () => step(-1));
at("after").addEventListener("click", () => step(1));
at("undo").addEventListener("click", undo);

// ---- Who grades

async function sit(name) {
  state.person = name;
  state.questions.clear();
  try {
    Object.assign(state, await ask(`state?${about({})}`));
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Failed)) throw error;
    at("work").textContent = error.message;
    return;
  }
  localStorage.setItem("tamis-person", state.person);
  at("name").textContent = state.person;
  at("who").hidden = true;
  for (const part of ["desk", "person", "keys"]) at(part).hidden = false;
  await show(state.at);
}

async function begin() {
  at("who").hidden = false;
  for (const part of ["desk", "person", "keys"]) at(part).hidden = true;
  at("own").focus(); // whoever types at once is not lost
  try {
    const { people, questions, passages } = await ask("people");
    at("work").textContent = `${plural(questions, "question")}, ${plural(passages, "passage")}.`;
    at("known").hidden = !people.length;
    at("known").replaceChildren(...people.map((name) => {
      const one = make("button", { type: "button" }, name);
      one.addEventListener("click", () => sit(name));
      return one;
    }));
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Failed)) throw error;
    at("work").textContent = error.message;
  }
}

at("who").addEventListener("submit", (event) => {
  event.preventDefault();
  if (at("own").value.trim()) sit(at("own").value.trim());
});
at("change").addEventListener("click", () => {
  if (state.queue.length) return;
  localStorage.removeItem("tamis-person");
  begin();
});

const last = localStorage.getItem("tamis-person");
if (last) sit(last);
else begin();
