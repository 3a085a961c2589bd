"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const live = "live" in document.body.dataset;
  let figures = JSON.parse(byId("figures").textContent);
  let variants = JSON.parse(byId("variants").textContent);
  const PER_CHUNK = 100;
  let place = new Map(variants.map((id, at) => [id, at]));
  const opened = new Map();

  // -- figures: drawn when they come into sight, in the colours of the page ------------------------
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout) {
    const ink = colour("--ink"), line = colour("--line");
    const copy = structuredClone(layout);
    copy.uirevision = "kept";  // what was zoomed stays so when new points come
    copy.font = { ...copy.font, color: ink };
    copy.hoverlabel = { bgcolor: colour("--card"), bordercolor: line, font: { color: ink }, align: "left" };
    for (const key of Object.keys(copy)) {
      if (/^[xy]axis\d*$/.test(key)) copy[key] = { gridcolor: line, linecolor: line, tickcolor: line, ...copy[key] };
    }
    return copy;
  }

  const options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

  function draw(element) {
    const figure = figures[element.dataset.figure];
    if (element.dataset.drawn || !figure) return;
    element.dataset.drawn = "yes";
    Plotly.newPlot(element, figure.data, themed(figure.layout), options).then(() => {
      element.on("plotly_click", (event) => {
        const id = event.points[0].customdata;
        if (place.has(id)) show(id);
      });
    });
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "300px" });
  const plots = () => [...document.querySelectorAll(".plot[data-figure]")];
  function redraw() {
    for (const element of plots().filter((one) => one.dataset.drawn)) {
      const figure = figures[element.dataset.figure];
      if (figure) Plotly.react(element, figure.data, themed(figure.layout), options);
    }
  }
  plots().forEach((element) => seen.observe(element));
  addEventListener("beforeprint", () => plots().forEach(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  // -- a live page: new parts take the place of the old ones; zoom, open parts and place are kept ---
  function refresh(parts) {
    figures = parts.figures;
    variants = parts.variants;
    place = new Map(variants.map((id, at) => [id, at]));
    const drawn = new Map(plots().map((one) => [one.dataset.figure, one]));
    const open = new Set([...document.querySelectorAll("#parts details[open] > summary")].map((one) => one.textContent));
    const wanted = byId("wanted")?.value ?? "";
    const made = new DOMParser().parseFromString(parts.content, "text/html").body;
    for (const fresh of made.querySelectorAll(".plot[data-figure]")) {
      const old = drawn.get(fresh.dataset.figure);
      if (!old) continue;
      old.setAttribute("aria-label", fresh.getAttribute("aria-label"));
      old.style.height = fresh.style.height;
      fresh.replaceWith(old);
    }
    for (const one of made.querySelectorAll("details > summary")) one.parentElement.open = open.has(one.textContent);
    const at = scrollY;
    byId("parts").replaceChildren(...made.childNodes);
    byId("subtitle").textContent = parts.subtitle;
    if (byId("wanted")) byId("wanted").value = wanted;
    scrollTo({ top: at, behavior: "instant" });
    plots().filter((one) => !one.dataset.drawn).forEach((one) => seen.observe(one));
    redraw();
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
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
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
    const body = rows.map((row) => element("tr", "", ...row.map((cell) => element("td", cell))));
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
      ["parents", found.parents.map(([one, role]) => link(one, role))], ["standing", found.standing],
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
    const found = wanted ? variants.filter((id) => id.startsWith(wanted)) : [];
    byId("unknown").textContent = found.length === 1 ? "" : found.length ? `${found.length} variants begin so` : "no such variant";
    if (found.length === 1) show(found[0]);
  });
  function named() {  // report.html#1a2b3c4d opens that variant
    const wanted = location.hash.slice(1).toLowerCase();
    const found = /^[0-9a-f]{4,64}$/.test(wanted) ? variants.filter((id) => id.startsWith(wanted)) : [];
    if (found.length === 1) show(found[0]);
  }
  addEventListener("hashchange", named);
  named();
  window.page = { element, coloured, show, refresh };
})();
