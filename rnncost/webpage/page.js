// Shows the charts, gives them the page's colours, and lets the slider set the number of steps.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("rnncost-data").textContent);
  const slider = document.getElementById("steps");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = [];

  // As rnncost.units.format_seconds: four digits, without zeros at the end.
  function seconds(value) {
    for (const [scale, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]) {
      if (Math.abs(value) >= scale) {
        return `${Number((value / scale).toPrecision(4))} ${unit}`;
      }
    }
    return `${Number((value / 1e-9).toPrecision(3))} ns`;
  }

  function grouped(count) {
    return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  }

  // A tag of a model names the CSS variable that colours each of its properties.
  function paint(root) {
    const style = getComputedStyle(document.documentElement);
    for (const model of root.references()) {
      const [colours] = model.tags ?? [];
      if (colours === undefined) {
        continue;
      }
      const changes = {};
      for (const [property, variable] of Object.entries(colours)) {
        const colour = style.getPropertyValue(variable.value ?? variable).trim();
        changes[property] = variable.value ? { value: colour } : colour;
      }
      model.setv(changes);
    }
  }

  function at(timeline, steps) {
    const factor = timeline.steps ? steps / timeline.steps : 1;
    let sum = 0;
    const bars = { overhead: empty(), parallel: empty(), steps: empty(), backward: empty() };
    const names = { x: [], y: [], text: [] };
    const times = { x: [], y: [], text: [] };
    timeline.rows.forEach((row, place) => {
      const start = sum;
      const own = Math.max(1, Math.round(row.steps * factor));
      const turns = row.turns > 1 ? `${row.turns} × ` : "";
      const count = `${turns}${grouped(own)} ${own === 1 && !turns ? "step" : "steps"}`;
      const work = row.steps ? `${count} of ${row.step}` : "";
      for (const [kind, whole, scales] of row.parts) {
        const part = scales ? whole * factor : whole;
        const bar = bars[kind];
        bar.left.push(sum / timeline.scale);
        bar.right.push((sum + part) / timeline.scale);
        bar.top.push(place + 0.5);
        bar.bottom.push(place + 0.88);
        bar.name.push(row.whole);
        bar.about.push(`${data.kinds[kind]}: ${seconds(part)}`);
        sum += part;
      }
      names.x.push(0);
      names.y.push(place);
      names.text.push(work ? `${row.name} · ${work}` : row.name);
      times.x.push(timeline.latest / timeline.scale);
      times.y.push(place);
      times.text.push(seconds(sum - start));
    });
    // At the report's own number of steps the latency is the report's own text.
    const latency = steps === timeline.steps || !timeline.steps ? timeline.latency : seconds(sum);
    return { bars, names, times, latency };
  }

  function empty() {
    return { left: [], right: [], top: [], bottom: [], name: [], about: [] };
  }

  function show(steps) {
    for (const { chart, sources } of charts) {
      if (!chart.timeline) {
        continue;
      }
      const { bars, names, times, latency } = at(chart.timeline, steps);
      for (const [kind, columns] of Object.entries(bars)) {
        sources.get(`bars-${kind}`).data = columns;
      }
      sources.get("names").data = names;
      sources.get("times").data = times;
      document.getElementById(`${chart.target}-latency`).textContent = latency;
    }
    if (slider) {
      document.getElementById("steps-shown").textContent = `T = ${grouped(steps)}`;
    }
  }

  async function draw(chart) {
    const views = await Bokeh.embed.embed_item(chart.item, chart.target);
    const root = views.roots[0].model;
    const sources = new Map();
    for (const model of root.references()) {
      if (model.name) {
        sources.set(model.name, model);
      }
    }
    charts.push({ chart, root, sources });
  }

  // A browser prints what is drawn already: a chart in dark colours is inverted by the style.
  function repaint() {
    if (matchMedia("print").matches) {
      return;
    }
    charts.forEach(({ root }) => paint(root));
    document.documentElement.dataset.painted = dark.matches ? "dark" : "light";
  }

  async function start() {
    for (const chart of data.charts) {
      await draw(chart);
    }
    if (slider) {
      slider.addEventListener("input", () => show(slider.valueAsNumber));
    }
    show(slider ? slider.valueAsNumber : 0);
    repaint();
    dark.addEventListener("change", repaint);
    document.documentElement.dataset.ready = "yes";
  }

  start();
})();
