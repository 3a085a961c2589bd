"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const live = "live" in document.body.dataset;
  let figures = JSON.parse(byId("figures").textContent);  // of a live page: those that came into sight
  const variants = JSON.parse(byId("variants").textContent);
  const PER_CHUNK = 100;
  const place = new Map(variants.map((id, at) => [id, at]));
  const opened = new Map();

  // -- figures: drawn when they come into sight, in the colours of the page ------------------------
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const ink = colour("--ink"), line = colour("--line");
    const copy = structuredClone(layout);
    copy.uirevision = "kept";  // what was zoomed stays so when new points come
    if (innerWidth < 500) copy.margin = { ...copy.margin, l: 40, r: 8 };
    if (matchMedia("(pointer: coarse)").matches) copy.dragmode = false;  // a finger scrolls the page; buttons zoom
    copy.font = { ...copy.font, color: ink };
    copy.hoverlabel = { bgcolor: colour("--card"), bordercolor: line, font: { color: ink }, align: "left" };
    for (const key of Object.keys(copy)) {
      if (/^[xy]axis\d*$/.test(key)) copy[key] = { gridcolor: line, linecolor: line, tickcolor: line, ...copy[key] };
    }
    return copy;
  }

  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

  async function figure(name) {
    if (!figures[name] && live) {
      const answer = await fetch(`figure/${name}`);
      if (answer.ok) figures[name] = await answer.json();
    }
    return figures[name];
  }

  async function draw(element) {
    const found = await figure(element.dataset.figure);
    if (!found) return;
    const first = !element.dataset.drawn;
    element.dataset.drawn = "yes";
    await Plotly.react(element, [...folded(found), ...newDots(element.dataset.figure, found)], themed(found.layout), options);
    offerFolds(element, found);
    if (first) element.on("plotly_click", (event) => clicked(element, event.points[0].customdata));
  }

  function clicked(element, id) {
    if (/^[0-9a-f]{64}$/.test(id)) show(id);
    else if (/^fold /.test(id)) turn(element, id.slice(5));
  }

  // -- dead branches of the tree: folded into a mark with their count until they are asked for --------
  const unfolded = new Set();  // by the variant that they hang from
  const ALL = "all";

  function folded(figure) {
    const folds = figure.layout.meta?.folds ?? [];
    if (!folds.length) return figure.data;
    return figure.data.map((trace) => {
      if (trace.customdata?.[0]?.startsWith("fold ")) {
        const text = trace.customdata.map((id, at) => unfolded.has(id.slice(5)) ? "−" : trace.text[at]);
        return { ...trace, text };
      }
      const inside = trace.meta;
      if (!Array.isArray(inside)) return trace;
      const kept = [...inside.keys()].filter((at) => inside[at] < 0 || unfolded.has(folds[inside[at]][0]));
      const pick = (values) => Array.isArray(values) && values.length === inside.length ? kept.map((at) => values[at]) : values;
      const left = Object.fromEntries(["x", "y", "text", "customdata"].filter((key) => trace[key]).map((key) => [key, pick(trace[key])]));
      if (trace.marker) left.marker = { ...trace.marker, size: pick(trace.marker.size), opacity: pick(trace.marker.opacity) };
      return { ...trace, ...left };
    });
  }

  function turn(element, wanted) {
    const folds = figures[element.dataset.figure].layout.meta.folds;
    const all = folds.map(([id]) => id), open = all.every((id) => unfolded.has(id));
    for (const id of wanted === ALL ? all : [wanted]) {
      if (wanted === ALL ? open : unfolded.has(id)) unfolded.delete(id);
      else unfolded.add(id);
    }
    draw(element);
  }

  function offerFolds(plot, figure) {  // the same by keyboard, and where a finger misses a mark
    const folds = figure.layout.meta?.folds ?? [];
    let box = plot.parentElement.querySelector(".folds");
    if (!folds.length) { box?.remove(); return; }
    if (!box) {
      const list = element("select"), button = element("button");
      list.setAttribute("aria-label", "open or fold a dead branch");
      list.addEventListener("change", () => { if (list.value) turn(plot, list.value); });
      button.addEventListener("click", () => turn(plot, ALL));
      box = element("div", "", list, button);
      box.className = "folds";
      plot.after(box);
    }
    const hidden = folds.filter(([id]) => !unfolded.has(id)).reduce((sum, [, n]) => sum + n, 0);
    const [list, button] = box.children;
    const head = new Option(hidden ? `${hidden.toLocaleString("en")} variants on dead branches are folded` : "dead branches are shown", "");
    list.replaceChildren(head, ...folds.map(([id, , name]) => new Option(unfolded.has(id) ? name.replace("+", "−") : name, id)));
    button.textContent = hidden ? "Open all" : "Fold all";
  }

  // -- a live page: runs that were recorded after the figures were drawn ------------------------------
  let recorded = [];  // [id, place, score, variant, operator, text]
  function newDots(name, figure) {
    if (name !== "progress" || !recorded.length) return [];
    const dots = recorded.filter(([, at, score]) => at !== null && score !== null);
    const hues = Object.fromEntries(figure.data.map((trace) => [trace.name, trace.marker?.color]));
    return [{
      x: dots.map((dot) => dot[1]), y: dots.map((dot) => dot[2]), customdata: dots.map((dot) => dot[3]), text: dots.map((dot) => dot[5]),
      type: "scatter", mode: "markers", hoverinfo: "text", name: "since then",
      marker: { size: 9, color: dots.map((dot) => hues[dot[4]] ?? "#8A8F98"), line: { width: 1.5, color: colour("--ink") } },
    }];
  }

  function add(told) {
    recorded.push(...told.runs);
    byId("since").textContent = told.said;
    const progress = plots().find((one) => one.dataset.figure === "progress" && one.dataset.drawn);
    if (progress) draw(progress);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "300px" });
  const plots = () => [...document.querySelectorAll(".plot[data-figure]")];
  function redraw() {
    plots().filter((one) => one.dataset.drawn).forEach(draw);
  }
  plots().forEach((element) => seen.observe(element));
  addEventListener("beforeprint", () => plots().forEach(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // -- a live page: new parts take the place of the old ones; zoom, open parts and place are kept ---
  function refresh(parts) {
    figures = {};
    recorded = recorded.filter(([id]) => id > parts.last);
    if (!recorded.length) byId("since").textContent = "";
    const drawn = new Map(plots().map((one) => [one.dataset.figure, one]));
    const open = new Set([...document.querySelectorAll("#parts details[open] > summary")].map((one) => one.textContent));
    const wanted = byId("wanted")?.value ?? "";
    const made = new DOMParser().parseFromString(parts.content, "text/html").body;
    for (const fresh of made.querySelectorAll(".plot[data-figure]")) {
      const old = drawn.get(fresh.dataset.figure);
      if (!old) continue;
      old.setAttribute("aria-label", fresh.getAttribute("aria-label"));
      old.style.height = fresh.style.height;
      const folds = old.parentElement.querySelector(".folds");
      fresh.replaceWith(old);
      if (folds) old.after(folds);
    }
    for (const one of made.querySelectorAll("details > summary")) one.parentElement.open = open.has(one.textContent);
    const at = scrollY;
    byId("parts").replaceChildren(...made.childNodes);
    byId("subtitle").textContent = parts.subtitle;
    if (byId("wanted")) byId("wanted").value = wanted;
    scrollTo({ top: at, behavior: "instant" });
    plots().forEach((one) => seen.observe(one));  // those in sight are drawn anew, the others when they come
  }

  // -- one variant: unpacked or fetched when it is asked for; all its texts are text, never markup -------------
  function chunk(number) {
    if (!opened.has(number)) {
      const packed = Uint8Array.from(atob(byId(`chunk-${number}`).textContent.trim()), (c) => c.charCodeAt(0));
      const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
      opened.set(number, new Response(plain).json());
    }
    return opened.get(number);
  }

  async function dossier(id) {
    if (!live) return (await chunk(Math.floor(place.get(id) / PER_CHUNK)))[place.get(id) % PER_CHUNK];
    const answer = await fetch(`variant/${id}`);
    if (!answer.ok) throw new Error(answer.status === 404 ? (await answer.json()).said : `the server answers ${answer.status}`);
    return answer.json();
  }

  function element(name, text, ...children) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    made.append(...children);
    return made;
  }

  function link(id, role) {
    const button = element("button", id.slice(0, 8));
    button.className = "variant";
    button.addEventListener("click", () => show(id));
    return element("span", "", button, role && role !== "parent" ? ` ${role} ` : " ");
  }

  function pairs(rows) {
    const list = element("dl");
    list.className = "pair";
    for (const [name, value] of rows) {
      if (!value || (Array.isArray(value) && !value.length)) continue;
      list.append(element("dt", name), Array.isArray(value) ? element("dd", "", ...value) : element("dd", value));
    }
    return list;
  }

  function coloured(diff) {
    const block = element("pre");
    for (const line of diff.split("\n")) {
      const row = element("span", line);
      if (/^(\+\+\+|---)/.test(line)) row.className = "at";
      else row.className = { "+": "add", "-": "del", "@": "at" }[line[0]] || "";
      block.append(row);
    }
    return block;
  }

  function runs(rows) {
    const head = ["rung", "block", "purpose", "status", "score", "slot time", "what happened"];
    const cell = (text, at) => Object.assign(element("td", text), { title: head[at] });
    const body = rows.map((row) => element("tr", "", ...row.map(cell)));
    const table = element("table", "", element("thead", "", element("tr", "", ...head.map((one) => element("th", one)))), element("tbody", "", ...body));
    const box = element("div", "", table);
    box.className = "scroll";
    return box;
  }

  function curve(points) {
    const box = element("div");
    box.className = "plot";
    const layout = themed({
      height: 240, margin: { l: 52, r: 10, t: 8, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { title: { text: "progress" }, zeroline: false }, yaxis: { title: { text: "loss, as it told (nats)" }, zeroline: false },
    });
    const trace = { x: points.map((p) => p[0]), y: points.map((p) => p[1]), mode: "lines", line: { color: colour("--accent"), width: 2 } };
    queueMicrotask(() => Plotly.newPlot(box, [trace], layout, { ...options, displayModeBar: false }));
    return box;
  }

  function calls(asked) {
    return asked.map((call, at) => {
      const body = [element("h3", "Prompt"), element("pre", call.prompt), element("h3", "Reply"), element("pre", call.reply)];
      return element("details", "", element("summary", `Request ${at + 1} to ${call.model}: ${call.outcome}`), ...body);
    });
  }

  async function show(id) {
    const found = await dossier(id);
    const body = [pairs([
      ["idea", found.idea], ["operator", found.operator], ["by", found.author], ["proposal", String(found.number)],
      ["parents", found.parents.map(([one, role]) => link(one, role))], ["same idea", (found.others ?? []).map((one) => link(one))], ["standing", found.standing],
      ...found.metrics.map(([name, text]) => [name.replaceAll("_", " "), text]),
    ])];
    body.push(element("h3", found.parents.length ? "What it changed in its first parent" : "Its source"), coloured(found.diff || "Nothing but form."));
    if (found.runs.length) body.push(element("h3", "Runs"), runs(found.runs));
    if (found.curve.length > 1) body.push(element("h3", "Learning curve of its first run"), curve(found.curve));
    if (found.log) body.push(element("h3", "The last lines of its log"), element("pre", found.log));
    if (found.calls.length) body.push(element("h3", "What a model was asked"), ...calls(found.calls));
    byId("dossier-title").textContent = found.id.slice(0, 12);
    byId("dossier-body").replaceChildren(...body);
    const dialog = byId("dossier");
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  byId("dossier").addEventListener("click", (event) => { if (event.target === event.currentTarget) event.currentTarget.close(); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-variant]");
    if (button) show(button.dataset.variant);
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "find") return;
    event.preventDefault();
    const wanted = byId("wanted").value.trim().toLowerCase();
    if (live) {
      byId("unknown").textContent = "";
      if (wanted) show(wanted).catch((error) => { byId("unknown").textContent = error.message; });
      return;
    }
    const found = wanted ? variants.filter((id) => id.startsWith(wanted)) : [];
    byId("unknown").textContent = found.length === 1 ? "" : found.length ? `${found.length} variants begin so` : "no such variant";
    if (found.length === 1) show(found[0]);
  });
  function named() {  // report.html#1a2b3c4d opens that variant
    const wanted = location.hash.slice(1).toLowerCase();
    if (live && /^[0-9a-f]{4,64}$/.test(wanted)) show(wanted).catch(() => {});
    const found = /^[0-9a-f]{4,64}$/.test(wanted) ? variants.filter((id) => id.startsWith(wanted)) : [];
    if (found.length === 1) show(found[0]);
  }
  addEventListener("hashchange", named);
  named();
  window.page = { element, coloured, show, refresh, add };
})();
