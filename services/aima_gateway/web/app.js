// The page: asks for a key, shows cases as they go on, opens dossiers. No library, no build.

const KEY = "aima-key";
const LIST_MILLISECONDS = 10_000;
const SETTLE_MILLISECONDS = 300;
const MOST_MEDIA = 200;
const MOST_STREAMS = 3;      // browsers hold six connections to one place; the other cases are asked for with the list

const ENDS = new Set(["analysed", "rejected", "failed", "cancelled", "erased"]);
const WORDS = {
  accepted: "waiting", preparing: "preparing", analysing: "analysing", fusing: "putting together",
  analysed: "done", rejected: "rejected", failed: "failed", cancelled: "cancelled", erased: "erased",
};

const find = (id) => document.getElementById(id);
const shown = new Map();     // case id -> {card, version, following, thumbnails}
let key = sessionStorage.getItem(KEY);
let timer = 0;

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { Authorization: `Bearer ${key}`, ...options.headers } });
  if (response.status === 401) {
    leave();
    throw new Error("This key is not known here, or was revoked.");
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Error([problem.detail || `AIMA answered ${response.status}.`, problem.remedy].filter(Boolean).join(" "));
  }
  return response;
}

function notice(text) {
  find("notice").textContent = text;
}

function leave() {
  sessionStorage.removeItem(KEY);
  key = null;
  clearTimeout(timer);
  for (const entry of shown.values()) forget(entry);
  shown.clear();
  find("cases").replaceChildren();
  for (const id of ["cases", "nothing", "leave"]) find(id).hidden = true;
  find("enter").hidden = false;
  find("key").value = "";
  find("key").focus();
}

function forget(entry) {
  entry.following?.abort();
  for (const url of entry.thumbnails.values()) URL.revokeObjectURL(url);
}

async function list() {
  clearTimeout(timer);
  try {
    const { cases } = await (await ask("/v1/cases?limit=50")).json();
    notice("");
    find("enter").hidden = true;
    find("leave").hidden = false;
    find("cases").hidden = cases.length === 0;
    find("nothing").hidden = cases.length > 0;
    for (const one of cases) draw(one);
    for (const one of cases) find("cases").append(shown.get(one.id).card);
  } catch (error) {
    notice(error.message);
  }
  if (key) timer = setTimeout(list, LIST_MILLISECONDS);
}

function draw(one) {
  let entry = shown.get(one.id);
  if (!entry) {
    const card = find("case").content.firstElementChild.cloneNode(true);
    entry = { card, following: null, thumbnails: new Map(), id: one.id };
    shown.set(one.id, entry);
    card.querySelector(".open").addEventListener("click", () => open(one.id));
    card.querySelector("details").addEventListener("toggle", (event) => event.target.open && refresh(entry));
  }
  const { card } = entry;
  const finished = one.counts.items > 0 && one.counts.running === 0;
  const fraction = progress(one, finished);
  card.dataset.case = one.id;
  card.classList.toggle("finished", finished);
  card.querySelector(".name").textContent = one.name;
  card.querySelector(".counts").textContent = counted(one);
  card.querySelector("progress").value = fraction;
  card.querySelector("progress").setAttribute("aria-label", `Progress of ${one.name}`);
  card.querySelector(".percent").textContent = finished ? "done" : `${Math.floor(fraction * 100)} %`;
  card.querySelector(".open").hidden = !one.dossier;
  card.querySelector(".open").setAttribute("aria-label", `Open the dossier of ${one.name}`);
  if (one.media) drawMedia(entry, one.media);
  if (finished || one.state === "cancelled") {
    entry.following?.abort();
    entry.following = null;
  } else if (!entry.following && streams() < MOST_STREAMS) {
    follow(entry);
  }
}

function streams() {
  return [...shown.values()].filter((entry) => entry.following).length;
}

function progress(one, finished) {
  if (finished) return 1;
  if (!one.counts.items) return 0;
  const ended = one.counts.items - one.counts.running;
  const parts = one.progress.parts_total ? one.progress.parts_done / one.progress.parts_total : 0;
  return Math.min(0.99, (ended + one.counts.running * parts) / one.counts.items);
}

function counted(one) {
  const parts = [`${one.counts.items} ${one.counts.items === 1 ? "file" : "files"}`];
  for (const state of ["analysed", "rejected", "failed", "cancelled", "erased", "running"]) {
    if (one.counts[state]) parts.push(`${one.counts[state]} ${state}`);
  }
  return parts.join(" · ");
}

function drawMedia(entry, media) {
  const rows = media.slice(0, MOST_MEDIA).map((medium) => {
    const row = find("medium").content.firstElementChild.cloneNode(true);
    row.classList.add(medium.stage);
    row.querySelector(".file").textContent = medium.file_name;
    row.querySelector(".stage").textContent = stage(medium);
    row.querySelector(".reason").textContent = medium.reason ? medium.reason.reason : "";
    thumbnail(entry, medium, row);
    return row;
  });
  entry.card.querySelector(".media").replaceChildren(...rows);
}

function stage(medium) {
  const word = WORDS[medium.stage] ?? medium.stage;
  return medium.stage === "analysing" && medium.parts_total
    ? `${word} ${medium.parts_done}/${medium.parts_total}` : word;
}

async function thumbnail(entry, medium, row) {
  if (medium.type !== "image" && medium.type !== "video") return;
  try {
    if (!entry.thumbnails.has(medium.medium)) {
      const picture = await (await ask(`/v1/media/${medium.medium}/thumbnail`)).blob();
      entry.thumbnails.set(medium.medium, URL.createObjectURL(picture));
    }
    const image = row.querySelector("img");
    image.src = entry.thumbnails.get(medium.medium);
    image.hidden = false;
    row.querySelector(".blank").hidden = true;
  } catch {
    // There is none yet: the blank stays.
  }
}

async function refresh(entry) {
  try {
    draw(await (await ask(`/v1/cases/${entry.id}`)).json());
  } catch (error) {
    notice(error.message);
  }
}

// Server-sent events by fetch, since EventSource cannot show a key.
async function follow(entry) {
  const ending = new AbortController();
  entry.following = ending;
  let after = 0;
  while (!ending.signal.aborted) {
    try {
      const response = await ask(`/v1/cases/${entry.id}/events?after=${after}`, { signal: ending.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let settling = 0;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        for (const [, id] of value.matchAll(/^id: (\d+)$/gm)) after = Number(id);
        if (!value.includes("event: ")) continue;
        clearTimeout(settling);
        settling = setTimeout(() => refresh(entry), SETTLE_MILLISECONDS);
      }
    } catch {
      // The list is asked for now and then in any case.
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function open(id) {
  try {
    const { url } = await (await ask(`/v1/cases/${id}/dossier/link`, { method: "POST" })).json();
    window.open(url, "_blank", "noopener");
  } catch (error) {
    notice(error.message);
  }
}

find("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  key = find("key").value.trim();
  sessionStorage.setItem(KEY, key);
  list();
});
find("leave").addEventListener("click", leave);
if (key) list(); else leave();
