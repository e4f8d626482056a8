/* Sorting, filtering and the published value beside a number. Texts are only ever set as text. */
"use strict";

(function () {
  function numberOf(cell) {
    const value = cell.getAttribute("data-s");
    if (value !== null) {
      const found = Number(value);
      return Number.isNaN(found) ? value : found;
    }
    const text = cell.textContent.trim();
    return text === "-" ? null : text;
  }

  function compare(one, other) {
    if (typeof one === "number" && typeof other === "number") {
      return one - other;
    }
    return String(one).localeCompare(String(other), "en", { numeric: true });
  }

  /* Sort rows by a column; what has no value comes last, whatever the direction. */
  function sortRows(rows, column, direction) {
    const sign = direction === "descending" ? -1 : 1;
    const keyed = rows.map((row, place) => ({ row, place, key: numberOf(row.cells[column]) }));
    keyed.sort((one, other) => {
      if (one.key === null || other.key === null) {
        return (one.key === null) - (other.key === null) || one.place - other.place;
      }
      return sign * compare(one.key, other.key) || one.place - other.place;
    });
    return keyed.map((entry) => entry.row);
  }

  function nextDirection(current, isNumber) {
    const order = isNumber
      ? ["none", "descending", "ascending"]
      : ["none", "ascending", "descending"];
    return order[(order.indexOf(current) + 1) % order.length];
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const original = Array.from(body.rows);
    const heads = Array.from(table.tHead.rows[table.tHead.rows.length - 1].cells);
    heads.forEach((head, column) => {
      const label = head.querySelector(".name");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.textContent = label.textContent;
      label.replaceWith(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const direction = nextDirection(
          head.getAttribute("aria-sort"), head.classList.contains("n"));
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", direction);
        const rows = direction === "none" ? original : sortRows(original, column, direction);
        table.classList.toggle("sorted", direction !== "none");
        body.append(...rows);
      });
    });
  }

  function makeFilters(form) {
    const table = document.getElementById(form.dataset.for);
    const selects = Array.from(form.querySelectorAll("select"));
    const rows = Array.from(table.tBodies[0].rows).map((row) => ({
      row, places: row.dataset.f.split(","),
    }));
    const count = form.querySelector(".count");
    function apply() {
      const wanted = selects.map((select) => select.value);
      let shown = 0;
      rows.forEach(({ row, places }) => {
        row.hidden = wanted.some((value, i) => value !== "" && value !== places[i]);
        shown += row.hidden ? 0 : 1;
      });
      const total = rows.length.toLocaleString("en");
      count.textContent = `${shown.toLocaleString("en")} of ${total} rows`;
    }
    form.addEventListener("change", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector(".reset").addEventListener("click", () => {
      selects.forEach((select) => { select.value = ""; });
      apply();
    });
    form.hidden = false;
    apply();
  }

  /* One tip for all numbers: near the pointer's cell, or that of the focus; Escape puts it away. */
  function makeTip() {
    const tip = document.createElement("div");
    tip.id = "tip";
    tip.setAttribute("role", "tooltip");
    tip.hidden = true;
    document.body.append(tip);
    let owner = null;
    let described = null;
    let touched = false;
    let shownBefore = null;

    function hide() {
      tip.hidden = true;
      if (described !== null) {
        described.removeAttribute("aria-describedby");
      }
      owner = null;
      described = null;
    }

    function place(cell) {
      const box = cell.getBoundingClientRect();
      const own = tip.getBoundingClientRect();
      const wide = document.documentElement.clientWidth;
      const left = Math.min(Math.max(8, box.left), Math.max(8, wide - own.width - 8));
      const above = box.top - own.height - 4;
      tip.style.left = `${left}px`;
      tip.style.top = `${above > 4 ? above : box.bottom + 4}px`;
    }

    function show(cell) {
      const published = cell.querySelector(".pub");
      if (published === null) {
        hide();
        return;
      }
      if (owner === cell) {
        return;
      }
      hide();
      owner = cell;
      tip.textContent = published.textContent.trim() + (touched ? "; tap again for its cells" : "");
      tip.hidden = false;
      place(cell);
      described = cell.querySelector("a, .alone");
      if (described !== null) {
        described.setAttribute("aria-describedby", "tip");
      }
    }

    function cellOf(target) {
      return target instanceof Element ? target.closest("table.data td, table.data th") : null;
    }

    /* A first tap on a number shows the published value, a second one follows the link. */
    document.addEventListener("pointerdown", (event) => {
      touched = event.pointerType === "touch";
      shownBefore = owner;
    });
    document.addEventListener("pointerover", (event) => {
      if (event.pointerType === "touch") {
        return;
      }
      const cell = cellOf(event.target);
      if (cell !== null) {
        show(cell);
      } else if (event.target !== tip && !tip.contains(event.target)) {
        hide();
      }
    });
    document.addEventListener("focusin", (event) => {
      const cell = cellOf(event.target);
      if (cell !== null) {
        show(cell);
      } else {
        hide();
      }
    });
    document.addEventListener("click", (event) => {
      const cell = cellOf(event.target);
      if (cell === null || event.target.closest("button") !== null) {
        return;
      }
      const link = event.target.closest("a");
      if (link === null) {
        show(cell);
      } else if (touched && shownBefore !== cell && cell.querySelector(".pub") !== null) {
        event.preventDefault();
        show(cell);
      }
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        hide();
      }
    });
    /* What has the focus may just have been scrolled into sight. */
    document.addEventListener("scroll", () => {
      if (owner !== null && owner.contains(document.activeElement)) {
        place(owner);
      } else {
        hide();
      }
    }, true);
  }

  document.querySelectorAll("table.data").forEach(makeSortable);
  document.querySelectorAll("form.filters").forEach(makeFilters);
  makeTip();
}());
