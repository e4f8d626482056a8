/* Interactive figures: panels of series whose groups can be switched off. */
"use strict";

const report = (function () {
  const NARROW = 480;
  const BLACK = "#000000";
  const SYMBOLS = {
    circle: "\u25cf", "circle-open": "\u25cb", square: "\u25a0", "triangle-up": "\u25b2",
    "triangle-down": "\u25bc", "triangle-left": "\u25c0", "triangle-right": "\u25b6",
    diamond: "\u25c6", "diamond-tall": "\u2666", cross: "\u271a", x: "\u2716", star: "\u2605",
    hexagon: "\u2b22", hexagon2: "\u2b23", octagon: "\u2bc3", pentagon: "\u2b1f",
    "cross-thin-open": "+", "x-thin-open": "\u00d7",
  };
  const section = document.querySelector("section.interactive");
  const box = section.querySelector(".panels");
  const fieldset = section.querySelector("fieldset");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const shown = new Map();
  let panels = [];
  let spec = null;

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function own(value) {
    return value === BLACK ? colour("--text") : value;
  }

  function trace(series) {
    const group = spec.groups.find((one) => one.name === series.group);
    const spreads = series.error.some((value) => value !== null);
    const values = series.bare ? "" : "%{x}: %{y:.2f}";
    return {
      type: "scatter",
      mode: series.mode,
      name: series.group,
      x: series.x,
      y: series.y,
      text: series.notes,
      visible: shown.get(series.group),
      hovertemplate: `<b>${series.group}</b><br>${values}<br>%{text}<extra></extra>`,
      error_y: spreads
        ? { array: series.error, visible: true, thickness: 1, width: 2 } : undefined,
      line: { color: own(group.colour), dash: group.dash, width: 1.8 },
      marker: {
        color: own(group.colour), symbol: group.symbol, size: series.bare ? 6 : 8,
        line: { color: own(group.colour), width: 1.2 },
      },
    };
  }

  function axis(said) {
    const made = {
      title: { text: said.title || "" }, color: colour("--text"), gridcolor: colour("--line"),
      zeroline: false, linecolor: colour("--line"), automargin: true, type: said.type || "linear",
    };
    if (said.ticks) {
      made.tickvals = said.ticks;
      made.ticktext = said.ticks.map((value) => Number(value).toLocaleString("en"));
    }
    if (said.step) {
      made.dtick = said.step;
    }
    if (said.range) {
      made.range = said.range;
    }
    return said.bare
      ? Object.assign(made, { showticklabels: false, showgrid: false, title: { text: "" } })
      : made;
  }

  function heightOf(panel) {
    return panel.tall ? 560 : spec.panels.length === 1 ? 420 : 320;
  }

  function layout(panel) {
    const narrow = box.clientWidth < NARROW;
    return {
      height: narrow ? 320 : heightOf(panel),
      margin: { l: 48, r: 12, t: 12, b: 44 },
      showlegend: false,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", size: 13, color: colour("--text") },
      hoverlabel: {
        bgcolor: colour("--raised"), bordercolor: colour("--line"),
        font: { color: colour("--text") }, align: "left",
      },
      hovermode: "closest",
      xaxis: axis(panel.x),
      yaxis: axis(panel.y),
    };
  }

  const OPTIONS = {
    responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false,
    showTips: false,
  };

  function draw() {
    panels.forEach(({ place, panel }) => {
      Plotly.react(place, panel.series.map(trace), layout(panel), OPTIONS);
    });
  }

  function addGroup(group, i) {
    shown.set(group.name, true);
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = true;
    input.id = `group-${i}`;
    label.htmlFor = input.id;
    const swatch = document.createElement("span");
    swatch.className = `swatch ${group.dash}`;
    swatch.style.borderColor = own(group.colour);
    const symbol = document.createElement("span");
    symbol.className = "symbol";
    symbol.style.color = own(group.colour);
    symbol.textContent = SYMBOLS[group.symbol] || "";
    symbol.setAttribute("aria-hidden", "true");
    const words = document.createElement("span");
    words.textContent = plainText(group.name);
    label.append(input, swatch, symbol, words);
    fieldset.append(label);
    input.addEventListener("change", () => {
      shown.set(group.name, input.checked);
      draw();
    });
  }

  /* Names come with the markup characters written out, as the library reads them. */
  function plainText(text) {
    return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  }

  function addPanel(panel) {
    const figure = document.createElement("figure");
    if (panel.title) {
      const title = document.createElement("figcaption");
      title.textContent = panel.title;
      figure.append(title);
    }
    const place = document.createElement("div");
    place.className = "plot";
    figure.append(place);
    box.append(figure);
    panels.push({ place, panel });
  }

  function figure(found) {
    if (typeof Plotly === "undefined") {
      return;
    }
    spec = found;
    section.querySelector("form").hidden = false;
    box.classList.toggle("single", spec.panels.length === 1);
    spec.groups.forEach(addGroup);
    spec.panels.forEach(addPanel);
    draw();
    dark.addEventListener("change", () => {
      fieldset.querySelectorAll(".swatch").forEach((swatch, i) => {
        swatch.style.borderColor = own(spec.groups[i].colour);
        swatch.nextSibling.style.color = own(spec.groups[i].colour);
      });
      draw();
    });
  }

  /* After everything else: the drawing and the numbers are there before the library is. */
  function load(sources) {
    if (sources.length === 0) {
      return;
    }
    const script = document.createElement("script");
    script.src = sources[0];
    script.addEventListener("load", () => load(sources.slice(1)));
    document.head.append(script);
  }

  window.addEventListener("load", () => {
    setTimeout(load, 0, ["assets/plotly.min.js", section.dataset.numbers]);
  });
  return { figure };
}());
