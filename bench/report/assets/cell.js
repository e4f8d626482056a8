/* The page of a cell: loads the data files that the address names, and writes texts as text. */
"use strict";

const report = (function () {
  const PREFIX = 2;
  const cells = new Map();
  const loading = new Map();
  const status = document.getElementById("cell-status");
  const choice = document.getElementById("cell-choice");
  const place = document.getElementById("cell");
  const EMPTY = status.textContent;

  function element(name, text, attributes) {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) {
      made.textContent = text;
    }
    Object.entries(attributes || {}).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
  }

  function load(prefix) {
    if (!loading.has(prefix)) {
      loading.set(prefix, new Promise((resolve) => {
        const script = element("script", null, { src: `data/cells/${prefix}.js` });
        script.addEventListener("load", resolve);
        script.addEventListener("error", resolve);
        document.head.append(script);
      }));
    }
    return loading.get(prefix);
  }

  function find(key) {
    return Array.from(cells.values()).find((view) => view.key.startsWith(key));
  }

  /* `#a,b,c` are the cells of a number; `@b` says which one is shown. */
  function address() {
    const [listed, chosen] = window.location.hash.slice(1).split("@");
    const keys = listed.split(",").filter((key) => /^[0-9a-f]{4,64}$/.test(key));
    return { keys, chosen: keys.includes(chosen) ? chosen : keys[0] };
  }

  function scrolling(table, label) {
    const box = element("div", null, { class: "scroll", tabindex: "0", role: "region" });
    box.setAttribute("aria-label", label);
    box.append(table);
    return box;
  }

  function tableOf(title, columns, rows, numeric) {
    const table = element("table", null, { class: "plain" });
    table.append(element("caption", title, { class: "sr" }));
    const head = element("tr");
    columns.forEach((name, i) => {
      head.append(element("th", name, { scope: "col", class: numeric(i) ? "n" : "t" }));
    });
    const top = element("thead");
    top.append(head);
    const body = element("tbody");
    rows.forEach((values) => {
      const row = element("tr");
      values.forEach((value, i) => {
        const made = i === 0 ? element("th", value, { scope: "row" }) : element("td", value);
        made.classList.add(numeric(i) ? "n" : "t");
        row.append(made);
      });
      if (values[values.length - 1] === "changed") {
        row.classList.add("changed");
      }
      body.append(row);
    });
    table.append(top, body);
    return scrolling(table, title);
  }

  function isNumeric(rows, i) {
    return rows.length > 0 && rows.every((row) => /^(-|[-+0-9.,]+)$/.test(row[i]));
  }

  function factsOf(pairs) {
    const list = element("dl", null, { class: "facts" });
    pairs.forEach(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      list.append(pair);
    });
    return list;
  }

  function samplesOf(samples) {
    const box = element("div", null, { class: "samples" });
    samples.forEach((sample) => {
      const title = `${sample.id}: ${sample.score} %`;
      box.append(element("h3", title));
      const columns = ["Probe", "Prompt", "Target", "Before", "After"];
      box.append(tableOf(title, columns, sample.items, () => false));
    });
    return box;
  }

  function sectionOf(section) {
    const made = element("section");
    made.append(element("h2", section.title));
    if (section.facts) {
      made.append(factsOf(section.facts));
    }
    if (section.table) {
      const { columns, rows } = section.table;
      made.append(tableOf(section.title, columns, rows, (i) => i > 0 && isNumeric(rows, i)));
    }
    if (section.samples) {
      made.append(samplesOf(section.samples));
    }
    return made;
  }

  function showChoice(keys, chosen) {
    choice.replaceChildren();
    choice.hidden = keys.length < 2;
    const list = element("ul");
    keys.forEach((key) => {
      const view = find(key);
      const link = element("a", view ? view.short : key, { href: `#${keys.join(",")}@${key}` });
      if (key === chosen) {
        link.setAttribute("aria-current", "true");
      }
      const entry = element("li");
      entry.append(link);
      list.append(entry);
    });
    choice.append(element("p", `The number is the mean of these ${keys.length} cells.`), list);
  }

  async function show() {
    const { keys, chosen } = address();
    if (keys.length === 0) {
      status.textContent = EMPTY;
      place.replaceChildren();
      choice.hidden = true;
      return;
    }
    await Promise.all(keys.map((key) => load(key.slice(0, PREFIX))));
    const view = find(chosen);
    showChoice(keys, chosen);
    place.replaceChildren();
    if (view === undefined) {
      status.textContent = `No cell ${chosen} in this report.`;
      return;
    }
    document.title = `${view.title} - Lifelong editing report`;
    document.querySelector("h1").textContent = view.title;
    status.textContent = `Protocol ${view.protocol}, cell ${view.key.slice(0, 12)}.`;
    place.append(...view.sections.map(sectionOf));
  }

  window.addEventListener("hashchange", show);
  show();
  return { cells: (views) => views.forEach((view) => cells.set(view.key, view)) };
}());
