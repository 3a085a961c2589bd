"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const { element, coloured, show, refresh, add } = window.page;
  const SVG = "http://www.w3.org/2000/svg", WIDTH = 320, HEIGHT = 90, PAD = 4;

  // -- what runs now: one card a slot; every text is text, never markup ------------------------------
  function drawn(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function curves(slot) {
    const all = [["seed", slot.seed_curve], ["parent", slot.parent_curve], ["child", slot.curve]].filter(([, points]) => points && points.length);
    const losses = all.flatMap(([, points]) => points.map((p) => p[1])).sort((a, b) => a - b);
    if (!losses.length) return element("p", "no loss told yet");
    const low = losses[0], high = losses[Math.floor(0.95 * (losses.length - 1))];
    const y = (loss) => PAD + (HEIGHT - 2 * PAD) * (1 - Math.min(1, (loss - low) / (high - low || 1)));
    const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "curves", role: "img", "aria-label": `training loss against progress: ${all.map(([who]) => who).join(", ")}` });
    for (const [who, points] of all) {
      const path = points.map(([p, loss]) => `${(PAD + (WIDTH - 2 * PAD) * Math.min(1, p)).toFixed(1)},${y(loss).toFixed(1)}`);
      if (path.length === 1) path.push(path[0]);
      picture.append(drawn("polyline", { points: path.join(" "), class: who }));
    }
    return picture;
  }

  function duration(seconds) {
    const whole = Math.max(0, Math.round(seconds));
    return whole < 90 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  }

  function card(slot, open) {
    const box = element("article");
    if (!slot.variant) {
      box.append(element("p", `${slot.name}: free`));
      return box;
    }
    const who = element("button", slot.who);
    who.className = "variant";
    who.addEventListener("click", () => show(slot.variant));
    const last = slot.curve.length ? slot.curve[slot.curve.length - 1] : null;
    const state = !last ? "starting" : last[0] >= 1 ? "scoring" : `${Math.round(100 * last[0])} %`;
    const head = element("p", "", who, ` ${slot.purpose}, ${slot.rung}, block ${slot.block} · ${state} · `);
    const time = element("span", duration(Date.now() / 1000 - slot.since));
    time.dataset.since = slot.since;
    head.append(time);
    const meter = element("progress");
    meter.max = 1;
    meter.value = last ? Math.min(1, last[0]) : 0;
    meter.setAttribute("aria-label", `training of ${slot.who}`);
    box.append(element("h3", slot.name), head, meter, curves(slot));
    const told = last ? `loss ${last[1].toFixed(3)} nats, as it tells` : "";
    box.append(element("p", [told, slot.operator, slot.idea].filter(Boolean).join(" · ")));
    if (slot.diff) {
      const more = element("details", "", element("summary", "what it changes"), coloured(slot.diff));
      more.open = open.has(slot.variant);
      more.dataset.of = slot.variant;
      box.append(more);
    }
    return box;
  }

  function now(state) {
    const section = byId("now");
    const open = new Set([...section.querySelectorAll("details[open]")].map((one) => one.dataset.of));
    section.hidden = !state.slots.length;
    const key = element("p", "");
    key.className = "faint";
    key.append("Loss against progress: ", element("span", "this run"), ", ", element("span", "its parent"), ", ", element("span", "the seed"), ".");
    ["child", "parent", "seed"].forEach((who, at) => key.children[at].className = `key ${who}`);
    const cards = element("div", "", ...state.slots.map((slot) => card(slot, open)));
    cards.className = "slots";
    section.replaceChildren(element("h2", `Now: ${state.phase}`), cards, key);
  }
  setInterval(() => {
    for (const one of document.querySelectorAll("[data-since]")) one.textContent = duration(Date.now() / 1000 - one.dataset.since);
  }, 1000);

  // -- what the server tells; the browser connects again by itself ------------------------------------
  let fresh = Promise.resolve();
  const typing = () => byId("parts").contains(document.activeElement) && document.activeElement.matches("input");
  async function reload() {
    const answer = await fetch("parts");
    if (answer.ok && !typing()) refresh(await answer.json());
  }
  const stream = new EventSource(`events?reading=${document.body.dataset.reading}`);
  stream.addEventListener("open", () => { byId("link").textContent = ""; });
  stream.addEventListener("error", () => { byId("link").textContent = "the server does not answer; what you see may be old"; });
  stream.addEventListener("now", (event) => now(JSON.parse(event.data)));
  stream.addEventListener("runs", (event) => add(JSON.parse(event.data)));
  stream.addEventListener("page", () => { fresh = fresh.then(reload).catch(() => {}); });

  // -- steering: only where the server was started for it ---------------------------------------------
  byId("steering")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = Object.fromEntries(new FormData(event.target));
    const answer = await fetch("steer", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(asked) });
    byId("answer").textContent = (await answer.json()).said;
    if (answer.ok) event.target.elements.text.value = "";
  });
})();
