// The page of kdns: asks the server for its figures each second, and shows what changed between two answers.
//
// Whatever comes from the server is put in as text and never as markup: names and labels are anybody's to choose.

const EVERY = 1000; // ms from one question for figures to the next
const PATIENCE = 5000; // ms until the server counts as away
const BACK_OFF = 5000; // ms from one try to the next while it is away, at most
const KEPT = 120; // answers that are kept: two minutes
const RECENT = 10; // seconds that tables are about
const FEW = 6; // plain values of a list; the rest is folded away

const $ = (id) => document.getElementById(id);

// ---------------------------------------------------------------- elements

/** An element with properties and children; strings are text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function link(text, act) {
  return make("button", { type: "button", className: "link", textContent: text, onclick: act });
}

/** A bar as long as the number, beside the longest. */
function bar(n, longest) {
  const filled = make("span");
  filled.style.width = `${((100 * n) / longest).toFixed(1)}%`;
  return make("td", { className: "bar" }, filled);
}

const cell = (...children) => make("td", {}, ...children);
const number = (text) => make("td", { className: "n", textContent: text });

const points = matchMedia("(hover: hover)");

/** Fill a table, but not under somebody's hand; where there are no rows its sentence for that is shown. */
function fill(id, rows) {
  const table = $(id);
  if (table.matches(":focus-within") || (points.matches && table.matches(":hover"))) return;
  table.tBodies[0].replaceChildren(...rows.map((cells) => make("tr", {}, ...cells)));
  table.hidden = !rows.length;
  const empty = document.querySelector(`[data-for="${id}"]`);
  if (empty) empty.hidden = rows.length > 0;
}

// ---------------------------------------------------------------- numbers

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const count = (n) => (n >= 10 || n === 0 ? whole : some).format(n);
const percent = (share) => (share > 0 && share < 0.001 ? "< 0.1 %" : `${(share < 1 ? tenths : whole).format(100 * share)} %`);

function duration(seconds) {
  if (seconds < 1e-3) return `${(seconds < 1e-5 ? some : whole).format(1e6 * seconds)} µs`;
  if (seconds < 1) return `${(seconds < 0.01 ? some : whole).format(1e3 * seconds)} ms`;
  return `${some.format(seconds)} s`;
}

const octets = (n) => (n < 1e6 ? `${whole.format(n / 1e3)} kB` : `${(n < 1e7 ? some : whole).format(n / 1e6)} MB`);
const minus = (a, b = []) => a.map((n, i) => n - (b[i] ?? 0));
const total = (numbers) => numbers.reduce((sum, n) => sum + n, 0);

/** Within which time that part of all stays, as far as buckets tell. */
function within(part, bounds, counts) {
  const wanted = part * total(counts);
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    if (wanted && below + counts[i] >= wanted) {
      if (i === 0) return `< ${duration(bounds[0])}`;
      if (i === bounds.length) return `> ${duration(bounds[i - 1])}`;
      return duration(bounds[i - 1] + ((bounds[i] - bounds[i - 1]) * (wanted - below)) / counts[i]);
    }
    below += counts[i];
  }
  return "–";
}

// ---------------------------------------------------------------- figures

let history = []; // answers, the newest last

/** The newest answer whose time, of answering or of counting codes, is at least so many seconds before the last one's; or the oldest. */
function before(seconds, time = "at") {
  const last = history.at(-1)[time];
  return history.findLast((figures) => last - figures[time] >= seconds) ?? history[0];
}

function show(figures) {
  if (history.length && figures.queries < history.at(-1).queries) history = []; // another process
  if (history.length && figures.at === history.at(-1).at) return;
  history = [...history.slice(-KEPT), figures];
  $("version").textContent = figures.version;
  $("servers").textContent = figures.servers.map(({ address, zones }) => `${zones.join(" ")} on ${address}`).join(", ");
  showAmiss(figures.amiss);
  const old = before(RECENT);
  showNow(figures, before(2), old);
  showCodes(figures, before(RECENT, "counted at"));
  showSeen(figures.seen);
  showUpstreams(figures, old);
}

function showAmiss(lines) {
  const list = $("amiss");
  if (list.dataset.lines === lines.join("\n")) return;
  list.dataset.lines = lines.join("\n");
  list.replaceChildren(...lines.map((line) => make("li", { textContent: line })));
  list.hidden = !lines.length;
}

function showNow(figures, last, old) {
  const queries = figures.queries - old.queries;
  const hits = figures.hits - old.hits;
  const seconds = figures.at - last.at;
  $("rate").textContent = seconds > 0 ? count((figures.queries - last.queries) / seconds) : "–";
  $("share").textContent = queries > 0 ? percent(hits / queries) : "–";
  $("hit").textContent = hits > 0 ? duration((figures["hit seconds"] - old["hit seconds"]) / hits) : "–";
  const { bounds, counts } = figures.times;
  const recent = minus(counts, before(RECENT, "counted at").times.counts);
  $("half").textContent = within(0.5, bounds, recent);
  $("slow").textContent = within(0.99, bounds, recent);
  $("kept").textContent = count(figures.memo.replies);
  $("memory").replaceChildren(octets(figures.memo.octets), make("small", { textContent: ` of ${octets(figures.memo.budget)}` }));
  showSpark();
}

function showSpark() {
  const rates = history.slice(1).map((figures, i) => (figures.queries - history[i].queries) / (figures.at - history[i].at));
  const most = Math.max(1, ...rates);
  const at = rates.map((rate, i) => `${KEPT - rates.length + 1 + i} ${(38 - (36 * rate) / most).toFixed(1)}`);
  const [area, line] = $("spark").children;
  line.setAttribute("d", at.length > 1 ? `M${at.join("L")}` : "");
  area.setAttribute("d", at.length > 1 ? `M${KEPT - rates.length + 1} 40L${at.join("L")}L${KEPT} 40Z` : "");
  $("most").textContent = rates.length ? `at most ${count(Math.max(...rates))}` : "";
  $("spark").setAttribute("aria-label", `Queries a second, the last two minutes: at most ${count(Math.max(0, ...rates))}`);
}

function showCodes(figures, old) {
  const seconds = figures["counted at"] - old["counted at"];
  const rates = Object.entries(figures.codes)
    .map(([code, n]) => [code, n - (old.codes[code] ?? 0)])
    .filter(([, n]) => n > 0)
    .sort(([, a], [, b]) => b - a);
  const all = total(rates.map(([, n]) => n));
  fill("codes", seconds > 0 ? rates.map(([code, n]) => [cell(code), number(count(n / seconds)), number(percent(n / all)), bar(n, rates[0][1])]) : []);
}

function showSeen(seen) {
  const share = (row) => row.times / Math.max(1, seen.queries);
  fill("top-names", seen.names.map((row) => [
    cell(link(row.name, () => explainHere(row.name, row.type))), cell(row.type), number(percent(share(row))),
    bar(row.times, seen.names[0].times),
  ]));
  fill("top-clients", seen.clients.map((row) => [
    cell(make("span", { className: "mono", textContent: row.client }), ...row.pods.map((pod) => make("small", { textContent: pod }))),
    number(percent(share(row))), bar(row.times, seen.clients[0].times),
  ]));
  fill("suffixes", seen.suffixes.map((row) => [
    cell(make("span", { className: "mono", textContent: row.suffix }), make("small", { textContent: row.tried.join("  ") })),
    number(percent(share(row))), number(`ndots ${row.ndots}`),
  ]));
  $("remedy").hidden = !seen.suffixes.length;
  if (seen.suffixes.length) {
    const ndots = Math.min(...seen.suffixes.map((row) => row.ndots));
    $("wasted").textContent = percent(Math.min(1, seen.tries / Math.max(1, seen.queries)));
    $("dns-config").textContent = `dnsConfig:\n  options:\n  - name: ndots\n    value: "${ndots}"`;
    $("dotted").textContent = seen.suffixes[0].tried[0] ?? "api.example.com.";
  }
}

function showUpstreams(figures, old) {
  const then = new Map((old.upstreams ?? []).map((row) => [row.to, row]));
  const seconds = figures.at - old.at;
  const rows = (figures.upstreams ?? []).map((row) => {
    const was = then.get(row.to) ?? { asked: 0, replied: 0, seconds: 0, failed: 0, counts: [] };
    const replied = row.replied - was.replied;
    const asked = row.asked - was.asked;
    const failed = Math.max(0, asked - replied) + row.failed - was.failed;
    const takes = replied > 0 ? (row.seconds - was.seconds) / replied : row.latency;
    return { ...row, asked, failed, takes, recent: minus(row.counts, was.counts) };
  });
  rows.sort((a, b) => b.down - a.down || b.takes - a.takes);
  fill("asked", rows.map((row) => [
    cell(
      make("span", { className: "mono", textContent: row.to }),
      ...(row.down ? [make("small", { className: "down", textContent: "down" })] : []),
      ...(row["without EDNS"] ? [make("small", { textContent: "without EDNS" })] : []),
    ),
    number(seconds > 0 ? count(row.asked / seconds) : "–"),
    number(row.takes ? duration(row.takes) : "–"),
    number(within(0.99, figures.times.bounds, row.recent)),
    number(row.asked > 0 ? percent(Math.min(1, row.failed / row.asked)) : "–"),
  ]));
}

// ---------------------------------------------------------------- asking

/** What the server says to a path; an Error with its words where it refuses, or where it is away. */
async function ask(path, values = {}) {
  const reply = await fetch(`${path}?${new URLSearchParams(values)}`, { signal: AbortSignal.timeout(4 * PATIENCE) });
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.error ?? `the server says ${reply.status}`);
  return said;
}

const why = (error) => (error instanceof TypeError || error.name === "TimeoutError" ? "The server does not answer." : error.message);

// ---------------------------------------------------------------- live, paused, away

let paused = false;
let away = 0; // tries without an answer
let timer;

/** A sentence for everybody, said only where it changes. */
function tell(state, text) {
  const element = $("state");
  if (element.textContent !== text) element.textContent = text;
  element.dataset.state = state;
}

async function poll() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    const reply = await fetch("/figures", { signal: AbortSignal.timeout(PATIENCE) });
    if (!reply.ok) throw new Error(`the server says ${reply.status}`);
    show(await reply.json());
    away = 0;
    if (!paused) tell("live", "live");
  } catch (error) {
    away += 1;
    if (away === 2) tell("away", `the server has not answered since ${new Date().toLocaleTimeString()}, trying again`);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, Math.min(BACK_OFF, EVERY * Math.max(1, away)));
}

$("pause").onclick = () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  if (paused) tell("paused", "paused");
  else history = [];
  poll();
};

document.addEventListener("visibilitychange", poll);

// ---------------------------------------------------------------- explain

/** Values as the server tells them: names beside what they have. */
function tree(values) {
  const list = make("dl", { className: "tree" });
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "" || (Array.isArray(value) && !value.length)) continue;
    list.append(make("dt", { textContent: name }), make("dd", {}, shown(value)));
  }
  return list;
}

const isPlain = (value) => typeof value !== "object" || value === null;
const word = (value) => (value === true ? "yes" : value === false ? "no" : String(value));

function shown(value) {
  if (isPlain(value)) return make("span", { textContent: word(value) });
  if (Array.isArray(value)) {
    const items = value.map((each) => make("li", {}, shown(each)));
    const list = make("ul", {}, ...items.slice(0, value.every(isPlain) ? FEW : items.length));
    const rest = items.slice(list.children.length);
    if (!rest.length) return list;
    return make("div", {}, list, make("details", {}, make("summary", { textContent: `${rest.length} more` }), make("ul", {}, ...rest)));
  }
  if (!Object.values(value).every(isPlain)) return tree(value);
  return make("span", { textContent: Object.entries(value).map(([name, each]) => `${name} ${word(each)}`).join(", ") });
}

function step({ plugin, verdict, ms, upstream }) {
  const by = upstream ? `, by ${upstream}` : "";
  return make("li", {}, make("strong", { textContent: plugin }), ` ${verdict}${by} `, make("span", { className: "quiet", textContent: `${ms ?? 0} ms` }));
}

const lines = (texts) => make("pre", { textContent: texts.join("\n") });

async function explain(name, type = "A", client = "") {
  const form = $("ask");
  form.elements.name.value = name;
  form.elements.type.value = type;
  form.elements.client.value = client;
  const sentence = $("sentence");
  sentence.classList.remove("wrong");
  sentence.textContent = "…";
  $("told").replaceChildren();
  try {
    const { sentence: said, question, way = [], answer = [], authority = [], additional = [], ...rest } = await ask("/explain", { name, type: type || "A", client });
    sentence.textContent = said;
    const parts = { answer, authority, additional };
    const records = Object.entries(parts).filter(([, texts]) => Array.isArray(texts) && texts.length);
    const list = make("dl", { className: "tree" });
    if (way.length) list.append(make("dt", { textContent: "way" }), make("dd", {}, make("ol", { className: "steps" }, ...way.map(step))));
    for (const [part, texts] of records) list.append(make("dt", { textContent: part }), make("dd", {}, lines(texts)));
    list.append(...tree(rest).children);
    $("told").replaceChildren(list);
  } catch (error) {
    sentence.classList.add("wrong");
    sentence.textContent = why(error);
  }
}

/** Explain what was chosen elsewhere on the page, and go there. */
function explainHere(name, type) {
  explain(name, type);
  $("explain").scrollIntoView();
  $("sentence").focus({ preventScroll: true });
}

$("ask").onsubmit = (event) => {
  event.preventDefault();
  const { name, type, client } = event.target.elements;
  explain(name.value, type.value, client.value);
};

// ---------------------------------------------------------------- objects

let looking = 0; // for what is typed now; older answers are left alone
let typing;

function service(row) {
  return make("tr", {},
    cell(link(row.service, () => open(row.name)), ...(row.hidden ? [make("small", { textContent: "hidden from DNS" })] : [])),
    cell(row.kind),
    make("td", { className: row.endpoints && !row.ready ? "n down" : "n", textContent: row.endpoints ? `${row.ready} of ${row.endpoints}` : "–" }),
  );
}

async function find(after = "") {
  const turn = ++looking;
  const text = $("find").elements.text.value.trim();
  const body = $("services").tBodies[0];
  try {
    const { objects, more } = await ask("/objects", { text, after });
    if (turn !== looking) return;
    if (!after) body.replaceChildren();
    body.append(...objects.map(service));
    const there = body.rows.length;
    $("services").hidden = !there;
    $("found").textContent = there ? `${count(there)} ${more ? "shown, there are more" : there === 1 ? "Service" : "Services"}` : text ? `No Service has '${text}' in its name.` : "No Services are known here.";
    $("more").hidden = !more;
    $("more").onclick = () => find(objects.at(-1).name);
  } catch (error) {
    if (turn === looking) $("found").textContent = why(error);
  }
}

async function open(name) {
  $("object").hidden = false;
  $("object-title").textContent = name;
  $("object-told").replaceChildren(make("p", { className: "quiet", textContent: "…" }));
  $("object-title").focus();
  try {
    const { objects, records } = await ask("/object", { name });
    const parts = objects.map(tree);
    if (records.length) parts.push(make("p", { className: "quiet", textContent: "Records" }), lines(records));
    else parts.push(make("p", { className: "quiet", textContent: "It has no records." }));
    $("object-told").replaceChildren(...parts);
  } catch (error) {
    $("object-told").replaceChildren(make("p", { textContent: why(error) }));
  }
}

$("find").onsubmit = (event) => event.preventDefault();
$("find").oninput = () => {
  clearTimeout(typing);
  typing = setTimeout(() => find(), 150);
};
$("object-explain").onclick = () => explainHere($("object-title").textContent);
$("object-close").onclick = () => {
  $("object").hidden = true;
  $("find").elements.text.focus();
};

poll();
find();
