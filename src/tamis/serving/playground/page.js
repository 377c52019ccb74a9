// The playground. Whatever comes from outside is put into the page as text, never as HTML.

const PART = 160; // characters that are shown of a longer document
const EXAMPLE = {
  query: "I forgot my root password, what now?",
  documents: [
    "Passwords should be long and never be used twice.",
    "I forgot my lunch at home, what now?",
    "Wer das root-Passwort vergessen hat, startet mit init=/bin/sh und setzt mit passwd ein neues.",
    "Debian was founded by Ian Murdock in 1993.",
    "Si vous avez oublié le mot de passe root, démarrez en mode mono-utilisateur et tapez passwd.",
    "The root of a tree takes up water.",
    "Чтобы сменить забытый пароль root, загрузитесь в однопользовательском режиме и введите passwd.",
    "Se dimentichi la password di root, avvia con init=/bin/sh e usa passwd.",
  ],
};

const at = (id) => document.getElementById(id);
const paged = document.body.dataset;
const state = { key: "", asked: null, folder: null, weights: {} };

const took = (milliseconds) => (milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`);
const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

function say(message, wrong = false) {
  at("status").textContent = message;
  at("status").className = wrong ? "wrong" : "";
}

// ---- The server

class Refused extends Error {}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (state.key) headers.authorization = `Bearer ${state.key}`;
  const started = performance.now();
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer; is it still running?");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(reason(answer, body));
  return { body, answer, milliseconds: performance.now() - started };
}

function reason(answer, body) {
  const said = body.message ?? body.error?.message ?? body.detail ?? body.error ?? answer.statusText;
  const after = Number(answer.headers.get("retry-after"));
  const again = after ? ` Try again in ${plural(after, "second")}.` : "";
  const what = {
    401: "The key is missing or wrong",
    413: "Too large",
    422: "The server does not take this",
    429: "The server is busy",
    503: "The server is stopping",
    504: "It took too long",
  }[answer.status];
  const detail = answer.status === 401 ? "" : `: ${said}`;
  return `${what ?? `Error ${answer.status}`}${detail}.${again} (${answer.status})`.replace("..", ".");
}

// ---- What is asked

function pasted(text) {
  const apart = /\n[ \t\r]*\n/.test(text.trim());
  const parts = text.split(apart ? /\n[ \t\r]*\n/ : "\n").map((one) => one.trim());
  return { apart, documents: parts.filter(Boolean) };
}

function count() {
  const { apart, documents } = pasted(at("documents").value);
  const how = apart ? "with blank lines between them" : "one a line";
  at("count").textContent = documents.length
    ? `${plural(documents.length, "document")}, ${how}`
    : "One a line. Where there are blank lines, they part the documents instead.";
}

const fromFolder = () => state.folder !== null && document.querySelector("[name=source]:checked").value === "folder";

/** BM25's scores where it found the documents and the model has a weight for them; pasted ones are in any order. */
function firstStageOf(model, asked) {
  const weights = state.weights[model] ?? {};
  if (!asked.found || !("bm25" in weights || "other" in weights)) return { first_stage: "none" };
  return { first_stage: "bm25", first_stage_scores: asked.documents.map((one) => one.score) };
}

const bodyOf = (model, asked) => ({
  model,
  query: asked.query,
  documents: asked.documents.map((one) => one.text),
  ...firstStageOf(model, asked),
  ...(asked.raw ? { raw_scores: true } : {}),
});

async function gather(signal) {
  const query = at("query").value;
  if (!at("model").value) {
    at("key").focus();
    throw new Refused(paged.keys === "true" ? "Give a key first." : "The server names no model; load this page again.");
  }
  if (!query.trim()) {
    at("query").focus();
    throw new Refused("Write a query first.");
  }
  const asked = { query, raw: at("raw").checked, common: [], found: false, title: "Given order", facts: "" };
  if (fromFolder()) {
    const { body } = await ask(`playground/candidates?${new URLSearchParams({ query })}`, { signal });
    if (!body.documents.length) throw new Refused(`No document of ${state.folder.folder} holds a word of this query.`);
    const facts = `best ${body.documents.length} of ${plural(state.folder.documents, "document")}`;
    return { ...asked, found: true, documents: body.documents, common: body.common, title: `BM25 on ${state.folder.folder}`, facts };
  }
  const { documents } = pasted(at("documents").value);
  if (!documents.length) {
    at("documents").focus();
    throw new Refused("Paste some documents first.");
  }
  return { ...asked, documents: documents.map((text) => ({ text })), facts: plural(documents.length, "document") };
}

async function rerankBy(model, asked, signal) {
  const sent = JSON.stringify(bodyOf(model, asked));
  const headers = { "content-type": "application/json" };
  const { body, answer, milliseconds } = await ask("v2/rerank", { method: "POST", headers, body: sent, signal });
  return {
    model,
    milliseconds,
    server: Number(answer.headers.get("x-total-time")),
    tokens: body.meta.tokens.input_tokens,
    cut: new Set(body.meta.truncated ?? []),
    ranked: body.results.map((one) => ({ index: one.index, score: one.relevance_score })),
  };
}

async function submit() {
  state.asked?.abort();
  const asking = (state.asked = new AbortController());
  at("orders").ariaBusy = "true";
  say("Reranking …");
  try {
    const asked = await gather(asking.signal);
    const models = [...new Set([at("model").value, at("second").value])].filter(Boolean);
    const orders = await Promise.all(models.map((model) => rerankBy(model, asked, asking.signal)));
    show(asked, orders);
    say(orders.map((order) => summary(asked, order)).join(" "));
  } catch (error) {
    if (error.name === "AbortError") return; // another one has been asked since
    at("orders").replaceChildren();
    at("empty").hidden = false;
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  } finally {
    if (state.asked === asking) at("orders").ariaBusy = "false";
  }
  const top = at("results").getBoundingClientRect().top;
  if (top < 0 || top > innerHeight / 2) at("results").scrollIntoView(); // where all stands in one column
}

function summary(asked, { model, ranked }) {
  const moved = ranked.filter(({ index }, place) => index !== place).length;
  const best = ranked[0].index;
  const first = best ? `number ${best + 1} came first` : "the first one stayed first";
  return `${model}: ${moved ? `${moved} of ${plural(asked.documents.length, "document")} moved` : "nothing moved"}; ${first}.`;
}

// ---- What is shown

function show(asked, orders) {
  const wanted = new Set(spans(fold(asked.query)).map(([, , word]) => word));
  asked.common.forEach((word) => wanted.delete(word));
  const columns = [givenColumn(asked, wanted)];
  orders.forEach((order, number) => columns.push(modelColumn(asked, order, number ? "second" : "first", wanted)));
  at("orders").className = orders.length > 1 ? "three" : "";
  at("empty").hidden = true;
  at("orders").replaceChildren(...columns, drawing());
  draw();
}

function givenColumn(asked, wanted) {
  const list = make("ol");
  asked.documents.forEach((one, index) => {
    const figures = one.id === undefined ? [] : [make("span", { class: "score" }, one.score.toFixed(2)), one.id];
    list.append(card(one.text, index, index, figures, wanted));
  });
  return column("given", asked.title, [make("p", { class: "note" }, asked.facts)], list);
}

function modelColumn(asked, order, name, wanted) {
  const list = make("ol");
  const bounded = order.ranked.every(({ score }) => score >= 0 && score <= 1) && !asked.raw;
  order.ranked.forEach(({ index, score }, place) => {
    const figures = [make("span", { class: "score" }, score.toFixed(3).replace("-", "−"))];
    if (bounded) figures.push(bar(score));
    figures.push(...move(index, place));
    if (order.cut.has(index)) figures.push(make("span", { class: "cut" }, "read in part"));
    list.append(card(asked.documents[index].text, index, place, figures, wanted));
  });
  const cut = order.cut.size ? [`${order.cut.size} cut`] : [];
  const beside = firstStageOf(order.model, asked).first_stage === "none" ? "the model alone" : "BM25 counts too";
  const server = `in the server ${took(order.server)}`;
  const told = [beside, took(order.milliseconds), server, plural(order.tokens, "token"), ...cut];
  const facts = make("p", { class: "note" }, told.join(" · "));
  const copies = make("div", { class: "copies" });
  for (const [title, write] of [["curl", curl], ["Python", python]]) {
    const button = make("button", { type: "button", ariaLabel: `Copy the request to ${order.model} as ${title}` }, `Copy as ${title}`);
    button.addEventListener("click", () => copy(write(bodyOf(order.model, asked)), title));
    copies.append(button);
  }
  return column(name, order.model, [facts, copies], list);
}

function column(name, title, facts, list) {
  const heading = make("h2", { id: `order-${name}` }, title);
  const head = make("div", { class: "head" }, heading, ...facts);
  return make("section", { class: `order ${name}`, "aria-labelledby": `order-${name}` }, head, list);
}

function card(text, index, place, figures, wanted) {
  const line = text.replace(/\s+/g, " ").trim();
  const part = bestPart(line, wanted, PART);
  const shown = make("p", { class: "text", dir: "auto" }, ...marked(line, wanted, part));
  const one = make(
    "li",
    { class: "document" },
    make("span", { class: "place" }, String(place + 1)),
    make("div", {}, ...(figures.length ? [make("p", { class: "figures" }, ...figures)] : []), shown),
  );
  one.dataset.index = index;
  if (part[1] - part[0] < line.length) {
    one.append(wholeText((open) => {
      shown.classList.toggle("whole", open);
      shown.replaceChildren(...(open ? marked(text, wanted, [0, text.length]) : marked(line, wanted, part)));
    }));
  }
  one.addEventListener("pointerenter", () => choose(index));
  one.addEventListener("pointerleave", () => choose(null));
  return one;
}

function bar(score) {
  const filled = make("i");
  filled.style.width = `${100 * score}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, filled);
}

const wayOf = (index, place) => (place < index ? "up" : place > index ? "down" : "same");

function move(index, place) {
  const way = wayOf(index, place);
  const steps = Math.abs(index - place);
  const arrow = make("span", { "aria-hidden": "true" }, { up: "▲ ", down: "▼ ", same: "" }[way]);
  const moved = make("span", { class: `move ${way}` }, arrow, way === "same" ? "stayed" : `${way} ${steps}`);
  return way === "same" ? [moved] : [moved, make("span", { class: "was" }, `was ${index + 1}`)];
}

// ---- Lines from the given order to each model's

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const one = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
  return one;
}

const drawing = () => svg("svg", { id: "moves", "aria-hidden": "true" });

function draw() {
  const [canvas, given] = [at("moves"), document.querySelector(".given")];
  if (!canvas || !given) return;
  const box = canvas.getBoundingClientRect();
  const starts = [...given.querySelectorAll(".document")].map((one) => one.getBoundingClientRect());
  const lines = [];
  for (const order of document.querySelectorAll(".first, .second")) {
    [...order.querySelectorAll(".document")].forEach((one, place) => {
      const index = Number(one.dataset.index);
      const [from, to] = [starts[index], one.getBoundingClientRect()];
      const right = to.left > from.left;
      const [x1, x2] = [(right ? from.right : from.left) - box.left, (right ? to.left : to.right) - box.left];
      const [y1, y2] = [from.top - box.top + 24, to.top - box.top + 24];
      const middle = (x1 + x2) / 2;
      const line = svg("g", { class: wayOf(index, place), "data-index": index });
      line.append(svg("path", { d: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` }));
      line.append(svg("circle", { cx: x2, cy: y2, r: 3.5 }));
      lines.push(line);
    });
  }
  canvas.replaceChildren(...lines);
}

function choose(index) {
  at("moves")?.classList.toggle("chosen", index !== null);
  document.querySelectorAll("#orders [data-index]").forEach((one) => {
    one.classList.toggle("on", index !== null && Number(one.getAttribute("data-index")) === index);
  });
}

new ResizeObserver(draw).observe(at("orders"));

// ---- The request for elsewhere

const address = () => new URL("v2/rerank", location.href).href;

function curl(body) {
  const key = state.key ? ` \\\n  -H "Authorization: Bearer $TAMIS_API_KEY"` : "";
  const sent = JSON.stringify(body, null, 2);
  return `curl ${address()} \\\n  -H "Content-Type: application/json"${key} \\\n  --data-binary @- <<'JSON'\n${sent}\nJSON\n`;
}

function python(body) {
  const text = JSON.stringify; // what it writes of a string, Python reads alike
  const documents = body.documents.map((one) => `    ${text(one)},\n`).join("");
  const raw = body.raw_scores ? `, "raw_scores": True` : "";
  const scores = body.first_stage_scores ? `, "first_stage_scores": ${text(body.first_stage_scores)}` : "";
  const first = `"first_stage": ${text(body.first_stage)}${scores}`;
  const key = state.key ? `    headers={"Authorization": f"Bearer {os.environ['TAMIS_API_KEY']}"},\n` : "";
  return `${key ? "import os\n\n" : ""}import httpx

documents = [
${documents}]
answer = httpx.post(
    ${text(address())},
    json={"model": ${text(body.model)}, "query": ${text(body.query)}, "documents": documents, ${first}${raw}},
${key}    timeout=60,
)
answer.raise_for_status()
for hit in answer.json()["results"]:
    print(f"{hit['relevance_score']:.3f}  {documents[hit['index']]}")
`;
}

async function copy(text, title) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that do not come over https, or from this machine, have no clipboard of that kind.
    const area = make("textarea", { value: text, class: "hidden" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`Copied as ${title}.${state.key ? " The key is left out; it is read from TAMIS_API_KEY." : ""}`);
}

// ---- The folder

let offering = 0;

async function offer() {
  const number = ++offering;
  const matching = at("matching").value;
  try {
    const { body } = await ask(`playground/questions?${new URLSearchParams({ matching })}`);
    if (number !== offering) return; // more was typed since
    state.folder = body;
    at("folder-name").textContent = `Search ${body.folder}`;
    at("folder-size").textContent = plural(body.documents, "document");
    at("offered").textContent = `${body.questions.length} of ${plural(body.total, "question")}`;
    at("questions").replaceChildren(...body.questions.map(question));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  }
}

function question(text) {
  const button = make("button", { type: "button", dir: "auto" }, text);
  button.addEventListener("click", () => {
    at("query").value = text;
    submit();
  });
  return make("li", {}, button);
}

function choosePanel() {
  at("folder").hidden = !fromFolder();
  at("paste").hidden = fromFolder();
}

// ---- The beginning

async function begin() {
  try {
    const { body } = await ask("v1/models");
    const names = body.data.map((one) => one.id);
    state.weights = Object.fromEntries(body.data.map((one) => [one.id, one.first_stage_weights]));
    at("model").replaceChildren(...names.map((name) => new Option(name)));
    at("second").replaceChildren(new Option("no other", ""), ...names.map((name) => new Option(name)));
    at("other").hidden = names.length < 2;
    if (paged.folder === "true") {
      await offer();
      at("sources").hidden = false;
      choosePanel();
    }
    say(state.key ? "The key fits." : "");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  }
}

function useKey() {
  state.key = at("key").value.trim();
  begin();
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
at("documents").addEventListener("input", count);
at("query").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault(); // a query is one line, which may be long
  submit();
});
at("documents").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
});
at("matching").addEventListener("input", offer);
at("matching").addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault(); // it searches as one types; the query is another field
});
at("raw").addEventListener("change", () => at("empty").hidden && submit());
at("use-key").addEventListener("click", useKey);
at("key").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  useKey();
});
at("example").addEventListener("click", () => {
  document.querySelector("[name=source][value=paste]").checked = true;
  choosePanel();
  at("query").value = EXAMPLE.query;
  at("documents").value = EXAMPLE.documents.join("\n");
  count();
  submit();
});
document.querySelectorAll("[name=source]").forEach((one) => one.addEventListener("change", choosePanel));

count();
if (paged.keys === "true") at("unlock").hidden = false;
else begin();
