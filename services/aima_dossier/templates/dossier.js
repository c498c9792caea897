(() => {
  "use strict";
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));

  const clock = (seconds) => {
    const tenths = Math.floor(seconds * 10 + 1e-6);
    const whole = Math.floor(tenths / 10);
    const two = (value) => String(value).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const rest = `${Math.floor(whole / 60) % 60}`;
    const start = hours ? `${hours}:${two(rest)}` : rest;
    return `${start}:${two(whole % 60)}.${tenths % 10}`;
  };

  const NAMES = { speech: "Speech", text: "Text", label: "", face: "", shot: "" };

  /** What is known of a medium at a moment; marks the lines that speak of it. */
  const readOut = (medium, seconds) => {
    const told = new Set();
    all("[data-line].now", medium).forEach((line) => line.classList.remove("now"));
    all("[data-line] a.time", medium).forEach((link) => {
      const start = Number(link.dataset.start);
      const end = Math.max(Number(link.dataset.end), start + 0.25);
      if (seconds < start - 0.001 || seconds >= end) return;
      const line = link.closest("[data-line]");
      line.classList.add("now");
      const said = line.querySelector(".said").textContent;
      const name = NAMES[link.dataset.kind] || "";
      told.add(name ? `${name}: “${said}”` : said);
    });
    return Array.from(told);
  };

  const jump = (medium, seconds) => {
    const duration = Number(medium.dataset.duration);
    if (!(duration > 0)) return;
    const at = Math.min(Math.max(seconds, 0), duration);
    const head = medium.querySelector("[data-playhead]");
    const track = medium.querySelector("[data-track]");
    const readout = medium.querySelector("[data-readout]");
    if (!head) return;
    head.setAttribute("x1", `${(100 * at) / duration}%`);
    head.setAttribute("x2", `${(100 * at) / duration}%`);
    head.classList.add("set");
    const told = readOut(medium, at);
    readout.hidden = false;
    readout.replaceChildren();
    const moment = document.createElement("strong");
    moment.textContent = clock(at);
    readout.append(moment, ` ${told.length ? told.join(" · ") : "nothing was found here"}`);
    track.setAttribute("aria-valuenow", at.toFixed(1));
    track.setAttribute("aria-valuetext", clock(at));
    medium.dataset.at = String(at);
    all(".transcript ol, .list > ul", medium).forEach((list) => {
      const line = list.querySelector("[data-line].now");
      if (line && list.scrollHeight > list.clientHeight) {
        list.scrollTop = line.offsetTop - list.clientHeight / 3;
      }
    });
  };

  const reveal = (medium) => {
    const timeline = medium.querySelector(".timeline");
    const box = timeline.getBoundingClientRect();
    if (box.top < 60 || box.bottom > window.innerHeight) timeline.scrollIntoView({ block: "center" });
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.time");
    if (!link) return;
    const medium = link.closest(".medium");
    if (!medium || !medium.querySelector("[data-playhead]")) return;
    event.preventDefault();
    jump(medium, Number(link.dataset.start));
    reveal(medium);
    history.replaceState(null, "", `#${medium.id}@${link.dataset.start}`);
  });

  all("[data-track]").forEach((track) => {
    const medium = track.closest(".medium");
    const duration = Number(medium.dataset.duration);
    track.tabIndex = 0;
    track.setAttribute("role", "slider");
    track.setAttribute("aria-label", "Moment on the timeline");
    track.setAttribute("aria-valuemin", "0");
    track.setAttribute("aria-valuemax", String(duration));
    track.setAttribute("aria-valuenow", "0");
    const follow = (event) => {
      const box = track.getBoundingClientRect();
      jump(medium, ((event.clientX - box.left) / box.width) * duration);
    };
    track.addEventListener("pointerdown", (event) => {
      follow(event);
      track.setPointerCapture(event.pointerId);
    });
    track.addEventListener("pointermove", (event) => {
      if (event.buttons) follow(event);
    });
    track.addEventListener("keydown", (event) => {
      const now = Number(medium.dataset.at || 0);
      const step = event.shiftKey ? duration / 10 : Math.max(duration / 100, 0.5);
      const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: 0, End: duration }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      jump(medium, to);
    });
  });

  /** "#m3@12.5" and "#medium-<id>@12.5" open a medium at a moment. */
  const follow = () => {
    const [name, moment] = decodeURIComponent(location.hash.slice(1)).split("@");
    const target = name && document.getElementById(name);
    const medium = target && target.closest(".medium");
    if (!medium || moment === undefined) return;
    jump(medium, Number(moment) || 0);
    reveal(medium);
  };
  window.addEventListener("hashchange", follow);
  follow();

  const find = document.getElementById("find");
  const found = document.getElementById("found");
  find.parentElement.hidden = false;
  const plain = (text) => text.normalize("NFKC").toLowerCase();
  const search = () => {
    const words = plain(find.value).split(/\s+/).filter(Boolean);
    let lines = 0;
    document.body.classList.toggle("finding", words.length > 0);
    all(".medium").forEach((medium) => {
      const name = plain(medium.querySelector("h2").textContent);
      let here = words.length > 0 && words.every((word) => name.includes(word)) ? 1 : 0;
      all("[data-line]", medium).forEach((line) => {
        const said = plain(line.querySelector(".said").textContent);
        const fits = words.length > 0 && words.every((word) => said.includes(word));
        line.classList.toggle("hit", fits);
        here += fits ? 1 : 0;
      });
      medium.classList.toggle("miss", words.length > 0 && here === 0);
      const card = document.querySelector(`[data-card="${medium.id.slice(1)}"]`);
      card.classList.toggle("miss", words.length > 0 && here === 0);
      lines += here;
    });
    found.textContent = words.length ? (lines === 1 ? "1 place" : `${lines} places`) : "";
  };
  let timer = 0;
  find.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, 120);
  });
})();
