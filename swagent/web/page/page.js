"use strict";
// One page, four states: idle, asked, working, ended. What happens comes as events (docs/reference/events.md) over a
// WebSocket; a snapshot of them comes first, so a page that is loaded in the middle finds its state again.

const $ = (id) => document.getElementById(id);
const LEVELS = ["error", "warn", "info", "debug", "trace"];
const LINES_MAX = 2000;
const FIRST_HEAD = 256 * 1024;
const WORDS = {
  direct: "install, as it arrives", staged: "install, once all of it is verified", apply: "apply", script: "run",
};
const MARKS = { waiting: "·", active: "▸", done: "✓", failed: "✗", skipped: "–" };

let device = null; // what GET api/device told
let update = null; // the update that runs, or ran last
let upload = null; // what comes over the network now, from whichever browser
let asked = null; // the file that was chosen here, and what is in it
let sending = null; // our own upload
let socket = null;
let lost = false;
let here = true;
let restarting = false;
let clockAhead = 0; // the device's clock minus ours, in ms
let dismissed = sessionStorage.getItem("dismissed");
let shown = "";

// ---- small tools

function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key === "class") node.className = value;
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function show(id, text) {
  const node = $(id);
  if (text !== undefined && node.textContent !== text) node.textContent = text;
  node.hidden = text === undefined ? false : !text;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  for (const [unit, factor] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
    if (bytes >= factor) return `${(bytes / factor).toFixed(bytes < 10 * factor ? 1 : 0)} ${unit}`;
  return `${bytes} B`;
}

function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60), rest = String(Math.round(seconds % 60)).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const when = (text) => (text || "").slice(0, 16).replace("T", " ") + (text ? " UTC" : "");
const say = (text) => { $("said").textContent = text; };
const rows = (table, cells) => {
  $(table).tBodies[0].replaceChildren(...cells.map((line) => make("tr", {}, ...line)));
  $(table).hidden = cells.length === 0;
};
const cell = (text, kind = "") => make("td", { class: kind }, text ?? "");
const facts = (list, pairs) => $(list).replaceChildren(...pairs.filter(([, value]) => value).flatMap(
  ([name, value, kind]) => [make("dt", {}, name), make("dd", { class: kind || "" }, value)]));

async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 401) location.reload(); // the session has ended
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok && !told.error) throw new Error(`the device answered ${answer.status}`);
  return told;
}

// ---- the news

function connect() {
  const base = new URL("api/events", location.href);
  base.protocol = base.protocol.replace("http", "ws");
  socket = new WebSocket(base);
  let wait = 500;
  socket.onmessage = (message) => { wait = 500; hear(JSON.parse(message.data)); };
  socket.onclose = () => {
    lost = true;
    render();
    const again = async () => {
      try {
        await ask("api/device");
        connect();
      } catch {
        wait = Math.min(wait * 1.6, 5000);
        setTimeout(again, wait);
      }
    };
    setTimeout(again, wait);
  };
}

function hear(news) {
  if (news.page === "snapshot") {
    if (restarting && lost) restarting = false;
    lost = false;
    here = news.here;
    upload = news.upload;
    clockAhead = news.now * 1000 - Date.now();
    if (news.title) document.title = news.title;
    $("title").textContent = news.title || location.hostname;
    update = null;
    for (const event of news.events) take(event);
    loadDevice();
  } else if (news.page === "installer") {
    here = news.here;
    if (here) loadDevice();
  } else if (news.page === "upload") {
    upload = news.upload;
  } else {
    take(news);
    if (news.event === "update.verdict") loadDevice();
  }
  render();
}

function take(event) {
  const isVerdict = event.event === "update.verdict";
  const begins = event.event === "update.started" || (isVerdict && (!update || update.verdict)) || (!update && event.session);
  if (!begins && !update) return; // of the daemon, not of an update
  if (begins) {
    update = { session: event.session || event.time, started: event.time, source: event.source, artifacts: new Map(), log: [], step: 0, steps: 0 };
    if (event.event === "update.started") asked = null; // what was found in a file may be over now
  }
  if (event.step) [update.step, update.steps] = [event.step, event.steps];
  const [kind, what] = event.event.split(".");
  if (event.event === "update.planned") {
    update.plan = event;
    for (const entry of [...event.entries, ...event.scripts])
      update.artifacts.set(entry.artifact, { ...entry, state: entry.fate === "skipped" ? "skipped" : "waiting", done: 0, total: entry.bytes });
  } else if (kind === "artifact" || kind === "script") {
    const known = update.artifacts.get(event.artifact) || { artifact: event.artifact, handler: event.handler, done: 0, total: null, target: "" };
    known.state = { done: "done", failed: "failed", skipped: "skipped" }[what] || "active";
    if (event.bytes !== undefined) known.done = event.bytes;
    if (event.total) known.total = event.total;
    known.seconds = event.seconds;
    known.reason = event.reason || known.reason;
    known.phase = event.phase;
    update.artifacts.set(event.artifact, known);
  } else if (event.event === "update.asked") {
    update.question = event;
  } else if (event.event === "update.answered") {
    update.question = null;
  } else if (isVerdict) {
    update.question = null;
    update.verdict = event;
  }
  const text = line(event);
  if (text) note(event.time, event.level || (what === "failed" || event.exit_code ? "error" : "info"), text);
}

// An event as a line of the log, "" for none.
function line(event) {
  const code = event.code ? ` (0x${event.code.toString(16)})` : "";
  const asked = event.list ? `${event.list} ${event.datum}`.trim() : "this unit";
  switch (event.event) {
    case "description.verified": return `sw-description is signed by ${event.signer} (${event.scheme})`;
    case "description.unsigned": return "sw-description is not signed, which is allowed here";
    case "update.planned": return `version ${event.version}${event.selection ? ` to ${event.selection}` : ""}`;
    case "authorization.checking": return `authorization: is ${asked} listed?${code}`;
    case "authorization.done": return `authorization: this unit may have the update${code}`;
    case "authorization.failed": return `authorization: ${event.message || `${asked}: ${event.reason}`}${code}`;
    case "artifact.done": return `${event.artifact} was written, ${size(event.bytes)}`;
    case "artifact.failed": return `${event.artifact} failed after ${size(event.bytes)}`;
    case "artifact.skipped": return `${event.artifact} was skipped: ${event.reason}`;
    case "script.started": return `${event.artifact} runs (${event.phase})`;
    case "script.failed": return `${event.artifact} failed (${event.phase})`;
    case "bootenv.done": return `boot environment: ${event.variables.join(", ")}`;
    case "update.verdict": return [event.result, event.message || (event.error && event.error.message), event.next].filter(Boolean).join(": ");
    default: return event.message || "";
  }
}

function note(time, level, text) {
  update.log.push({ time, level, text });
  if (update.log.length > LINES_MAX) update.log.shift();
}

// ---- how far it is

function share() {
  if (!update || update.verdict || !update.plan) return upload && upload.total ? Math.min(upload.bytes / upload.total, 1) : null;
  let done = 0, total = 0;
  for (const each of update.artifacts.values()) {
    if (each.state === "skipped") continue;
    const weight = Math.max(each.total || 0, 64 * 1024);
    total += weight;
    done += each.state === "done" ? weight : Math.min(each.total ? (each.done / each.total) * weight : 0, weight);
  }
  return total ? Math.min(done / total, 0.99) : null; // all of it means committed
}

function stateNow() {
  const runs = update && !update.verdict;
  if (runs || upload || (sending && !sending.over)) return "working";
  if (trouble()) return "ended";
  if (asked) return "asked";
  if (update && update.verdict && update.session !== dismissed) return "ended";
  return "idle";
}

// What went wrong with our own upload, unless the device has told how that update ended: it knows better.
function trouble() {
  const told = update && update.verdict && update.session !== (sending && sending.before);
  return sending && !told ? sending.problem : null;
}

// ---- what is seen

function render() {
  const state = stateNow();
  for (const id of ["idle", "asked", "working", "ended"]) $(id).hidden = id !== state;
  show("away", restarting ? "The device restarts. This page comes back by itself."
    : lost ? "The connection to the device is lost. Trying again…"
    : here ? "" : "The installer does not answer just now. Trying again…");
  ({ idle: renderIdle, asked: renderAsked, working: renderWorking, ended: renderEnded })[state]();
  renderLog();
  $("restart").disabled = lost || state === "working";
  if (state !== shown) {
    if (state === "working") show("cancel-why", "");
    const title = $(`${state}-title`);
    if (shown) {
      say(title.textContent);
      title.focus({ preventScroll: true });
    }
    shown = state;
  }
}

function renderIdle() {
  const waits = device && device.pending;
  show("standing", !device ? "" : waits ? `${device.state.replace(/:.*/s, "")} was installed and is not confirmed yet: restart the device, or wait for its checks.` : "");
  $("fetch").hidden = !(device && (device.children || []).some((child) => child.name === "download" && child.pid));
}

function renderAsked() {
  const found = asked.found;
  const wrong = asked.error || (found && found.refusal);
  const title = asked.error ? "This file cannot be installed" : !found ? "Looking into the file"
    : found.refusal ? "This device refuses the update" : `Install ${found.version || "this update"}?`;
  $("asked-title").textContent = title;
  $("asked-title").className = wrong ? "bad" : "";
  show("asked-lead", found ? found.description : "");
  $("contents").caption.textContent = wrong ? "What would happen" : "What will happen";
  $("refusal").hidden = !wrong;
  if (wrong) {
    $("refusal").children[0].textContent = sentence(wrong.message);
    $("refusal").children[1].textContent = wrong.hint ? `Try: ${wrong.hint}.` : "Nothing was sent to be installed.";
  }
  $("install").hidden = !found || Boolean(wrong);
  $("drop-it").textContent = wrong ? "Choose another" : "Cancel";
  const warnings = found ? found.warnings : [];
  $("warnings").hidden = warnings.length === 0;
  $("warnings").replaceChildren(...warnings.map((text) => make("li", {}, sentence(text))));
  const signer = found && (found.signer ? [`${found.signer} (${found.scheme})`, "yes"] : ["nobody whom this device knows", "no"]);
  const gates = found ? found.gates : {};
  const fits = gates.hardware === "yes" ? "yes" : gates.hardware ? "no" : "";
  facts("facts", [
    ["File", asked.file.name], ["Size", size(asked.file.size)],
    ...(found ? [
      ["Version", found.version], ["Signed by", ...signer],
      ["Hardware", found.hardware ? `${fits === "no" ? "not " : ""}for this device, ${found.hardware}` : "this device does not know its own", fits],
      ["Goes to", found.selection],
    ] : []),
  ]);
  rows("contents", (found ? found.artifacts : []).map((each) => [
    cell(each.artifact), cell(each.fate === "skipped" ? `skip: ${each.reason}` : `${WORDS[each.fate]} (${each.handler})`),
    cell(each.target), cell(size(each.bytes), "number"),
  ]));
}

function renderWorking() {
  const runs = update && !update.verdict ? update : null;
  const version = runs && runs.plan ? runs.plan.version : "";
  const title = runs && runs.plan ? `Installing ${version || runs.plan.description || "the update"}` : "Receiving the update";
  if ($("working-title").textContent !== title) {
    $("working-title").textContent = title;
    if (shown === "working") say(title);
  }
  const active = runs && [...runs.artifacts.values()].find((each) => each.state === "active");
  const position = runs && runs.steps ? `Step ${runs.step} of ${runs.steps}: ` : "";
  show("step", active ? `${position}${doing(active)}. Do not turn off the power.`
    : runs && runs.plan ? "Do not turn off the power." : "sw-description is verified first; then writing begins.");
  const part = share();
  if (part === null) $("whole").removeAttribute("value");
  else $("whole").value = part * 100;
  $("percent").textContent = part === null ? "" : `${Math.floor(part * 100)} %`;
  renderClock(part);
  renderQuestion(runs && runs.question);
  renderArtifacts("artifacts", runs, true);
  $("cancel").disabled = lost;
}

const ANSWERS = { yes: "Yes", no: "No", force: "Write it by force", skip: "Go on without it", fail: "Let the update fail" };

function renderQuestion(asks) {
  const box = $("question");
  const id = asks ? asks.question : "";
  if (box.dataset.question === id) return;
  box.dataset.question = id;
  box.hidden = !asks;
  if (!asks) return;
  box.children[0].textContent = asks.message;
  box.children[1].replaceChildren(...asks.answers.map((answer) => make("button", { class: "plain", onclick: async () => {
    const told = await ask("api/answer", { method: "POST", body: new URLSearchParams({ question: id, answer }) }).catch((problem) => ({ error: problem }));
    if (told.error) show("cancel-why", sentence(told.error.message));
  } }, ANSWERS[answer] || answer)));
}

function renderClock(part) {
  const began = update && !update.verdict ? Date.parse(update.started) : 0;
  if (!began) return show("clock", upload ? `${size(upload.bytes)} received` : "");
  const passed = Math.max(0, (Date.now() + clockAhead - began) / 1000);
  const left = part && part > 0.03 && passed > 2 ? (passed * (1 - part)) / part : null;
  show("clock", duration(Math.round(passed)).replace(".0", "") + (left === null ? "" : ` · about ${duration(Math.max(10, left))} left`));
}

function doing(each) {
  if (each.phase) return `script ${each.artifact} runs (${each.phase})`;
  return `${each.artifact} is written${each.target ? ` to ${each.target}` : ""}`;
}

function renderArtifacts(list, from, bars) {
  const all = from ? [...from.artifacts.values()] : [];
  const box = $(list);
  while (box.children.length > all.length) box.lastChild.remove();
  all.forEach((each, at) => {
    let line = box.children[at];
    if (!line) {
      line = make("li", {}, make("span", { class: "mark", "aria-hidden": "true" }), make("span"), make("span", { class: "quiet" }));
      if (bars) line.append(make("progress", { max: 100 }));
      box.append(line);
    }
    const [mark, name, how, bar] = line.children;
    line.className = each.state;
    mark.textContent = MARKS[each.state];
    name.textContent = each.artifact + (each.target ? ` → ${each.target}` : "");
    how.textContent = each.state === "skipped" ? each.reason || "skipped"
      : each.state === "active" && each.total ? `${size(each.done)} of ${size(each.total)}`
      : each.state === "done" ? [size(each.done || each.total), each.seconds && `${each.seconds.toFixed(1)} s`].filter(Boolean).join(", ") || "done"
      : each.state === "active" ? "at work" : each.state === "failed" ? "failed" : size(each.total) || "waiting";
    if (bar) {
      bar.hidden = each.state !== "active" && each.state !== "done";
      bar.setAttribute("aria-label", each.artifact);
      if (each.state === "done") bar.value = 100;
      else if (each.total) bar.value = (100 * each.done) / each.total;
      else bar.removeAttribute("value");
    }
  });
}

// As a sentence; a name that it begins with stays as it is.
const sentence = (text, name) => (name && text.startsWith(name) ? text : text.charAt(0).toUpperCase() + text.slice(1)) + (/[.!?]$/.test(text) ? "" : ".");
const TITLES = {
  installed: "Installed", checked: "Checked: all is well", "nothing-to-do": "Nothing to do: all of it is installed already",
  refused: "Refused: nothing was changed", cancelled: "Cancelled", failed: "The update failed",
};

function renderEnded() {
  const verdict = trouble() || update.verdict;
  const good = verdict.exit_code === 0;
  const version = verdict.version || "";
  $("ended-title").textContent = verdict.result === "installed" ? `Installed ${version}`.trim() : TITLES[verdict.result] || sentence(verdict.result);
  $("ended-title").className = good ? "good" : "bad";
  const error = verdict.error;
  show("reason", error ? sentence(error.message, error.artifact) : `${verdict.selection ? `Written to ${verdict.selection}, ` : "It took "}${verdict.selection ? "in " : ""}${duration(verdict.seconds || 0)}.`);
  const next = verdict.next || (error && error.hint) || "";
  show("next", next ? `Next: ${next}${/[.!?]$/.test(next) ? "" : "."}` : "");
  renderArtifacts("results", trouble() ? null : update, false);
  const needed = update && update.plan && update.plan.reboot !== false;
  $("restart-now").hidden = verdict.result !== "installed" || !needed;
  $("keep-log").hidden = !(update && update.log.length);
}

let renderedLog = null, renderedLines = 0, renderedLevel = "";
function renderLog() {
  const log = update ? update.log : [];
  $("log").hidden = log.length === 0;
  show("log-count", log.length === 1 ? "1 line" : `${log.length} lines`);
  if (!$("log").open) return;
  const level = Number($("level").value), lines = $("lines");
  if (renderedLog !== log || renderedLevel !== level || renderedLines > log.length) {
    lines.replaceChildren();
    [renderedLog, renderedLevel, renderedLines] = [log, level, 0];
  }
  const atEnd = lines.scrollTop + lines.clientHeight > lines.scrollHeight - 20;
  for (; renderedLines < log.length; renderedLines++) {
    const line = log[renderedLines];
    if (LEVELS.indexOf(line.level) <= level)
      lines.append(make("li", { class: line.level }, make("time", {}, (line.time || "").slice(11, 19)), make("span", {}, line.level), make("span", {}, line.text)));
  }
  if (atEnd) lines.scrollTop = lines.scrollHeight;
}

function renderDevice() {
  if (!device) return;
  show("unit", device.hardware || "hardware unknown");
  const versions = Object.entries(device.versions || {});
  const confirmed = (device.updates || []).find((each) => each.verdict === "CONFIRMED");
  show("running", confirmed && confirmed.version ? `version ${confirmed.version}` : "");
  facts("device", [
    ["Hardware", device.hardware || "unknown"], ["State", device.state], ["Lowest version allowed", device.floor],
    ["Boot environment", Object.entries(device.markers || {}).map(([name, value]) => `${name}=${value}`).join(" ")],
    ...(device.problems || []).map((text) => ["Worth knowing", sentence(text), "no"]),
  ]);
  rows("versions", versions.map(([name, each]) => [cell(name), cell([].concat(each).join(" "))]));
  rows("history", (device.updates || []).map((each) => [
    cell(when(each.started)), cell(each.version || "unknown"),
    cell(each.verdict.toLowerCase().replace("_", " "), /CONFIRMED|COMMITTED|TESTING/.test(each.verdict) ? "good" : /FAILED|ROLLED/.test(each.verdict) ? "bad" : ""),
    cell(each.why),
  ]));
  $("no-history").hidden = Boolean((device.updates || []).length);
}

async function loadDevice() {
  try {
    const told = await ask("api/device");
    if (!told.error) device = told;
  } catch { return; }
  renderDevice();
  render();
}

// ---- what can be done

async function choose(file) {
  if (!file) return;
  const mine = asked = { file, found: null, error: null };
  sending = null;
  show("trouble", "");
  render();
  try {
    for (let n = FIRST_HEAD; ; ) {
      const path = `api/image?size=${file.size}&name=${encodeURIComponent(file.name)}`;
      const told = await ask(path, { method: "POST", body: file.slice(0, n) });
      if (asked !== mine) return;
      if (told.more && n < file.size) { n = Math.min(told.more, file.size); continue; }
      if (told.error) mine.error = told.error;
      else mine.found = told;
      break;
    }
  } catch (problem) {
    if (asked !== mine) return;
    mine.error = { message: `the device could not be asked: ${problem.message}`, hint: "check the connection and choose the file again" };
  }
  render();
  say(`${$("asked-title").textContent}. ${mine.error ? mine.error.message : ""}`);
}

async function install() {
  const file = asked.file;
  const mine = sending = { over: false, problem: null, before: update && update.session };
  asked = null;
  const form = new FormData();
  form.append("file", file, file.name);
  render();
  try {
    const answer = await fetch("upload?decides=yes", { method: "POST", body: form, credentials: "same-origin" });
    const text = (await answer.text()).trim();
    if (!answer.ok) mine.problem = problem("refused", text.replace(/^Failed to queue command\s*/, "") || `the device answered ${answer.status}`, "");
  } catch {
    mine.problem = problem("failed", "the connection broke while the file was being sent", "check the connection, then send the file again; what runs now is untouched");
  }
  mine.over = true;
  render();
}

const problem = (result, message, hint) => ({ result, exit_code: 1, error: { message, hint }, next: hint });

function restart() {
  $("sure").returnValue = "";
  $("sure").showModal();
}

$("sure").addEventListener("close", async () => {
  if ($("sure").returnValue !== "yes") return;
  const answer = await fetch("restart", { method: "POST", credentials: "same-origin" }).catch(() => null);
  restarting = Boolean(answer && answer.ok);
  if (!restarting) {
    show("trouble", "The device could not be restarted: its post-update command failed, or none is set.");
    say($("trouble").textContent);
  }
  render();
});

$("file").addEventListener("change", () => { choose($("file").files[0]); $("file").value = ""; });
$("install").addEventListener("click", install);
$("drop-it").addEventListener("click", () => { asked = null; render(); });
$("fetch").addEventListener("submit", async (event) => {
  event.preventDefault();
  const told = await ask("api/fetch", { method: "POST", body: new URLSearchParams({ url: $("url").value }) }).catch((problem) => ({ error: problem }));
  show("trouble", told.error ? sentence(`it is not fetched: ${told.error.message}`) : "");
  say(told.error ? $("trouble").textContent : "The device fetches it.");
});
$("cancel").addEventListener("click", async () => {
  const told = await ask("api/cancel", { method: "POST" }).catch((problem) => ({ error: { message: problem.message } }));
  if (told.error) show("cancel-why", sentence(told.error.message));
});
$("another").addEventListener("click", () => {
  dismissed = update ? update.session : null;
  if (dismissed) sessionStorage.setItem("dismissed", dismissed);
  sending = null;
  render();
});
$("restart").addEventListener("click", restart);
$("restart-now").addEventListener("click", restart);
$("log").addEventListener("toggle", renderLog);
$("level").addEventListener("change", renderLog);
$("keep-log").addEventListener("click", () => {
  const text = update.log.map((line) => `${line.time} ${line.level} ${line.text}\n`).join("");
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/plain" })), download: `update-${update.session || "log"}.txt` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
for (const kind of ["dragover", "dragenter", "dragleave", "drop"])
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover" || kind === "dragenter");
    if (kind === "drop" && ["idle", "asked", "ended"].includes(stateNow())) choose(event.dataTransfer.files[0]);
  });
setInterval(() => { if (shown === "working") renderClock(share()); }, 1000);

connect();
render();
