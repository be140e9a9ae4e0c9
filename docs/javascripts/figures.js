/* Draws the figures of the notebooks in the colours of the page, and again when the reader changes those. */
(() => {
  const figures = [...document.querySelectorAll(".notebook-figure")].map((place) => ({
    place,
    ...JSON.parse(place.querySelector("script").textContent),
  }));

  function inColours(layout) {
    const colour = getComputedStyle(document.querySelector(".md-typeset")).color;
    const coloured = { ...layout, paper_bgcolor: "transparent", plot_bgcolor: "transparent" };
    coloured.font = { ...layout.font, color: colour };
    coloured.modebar = { bgcolor: "transparent", color: colour };
    for (const name of Object.keys({ xaxis: 0, yaxis: 0, ...layout }).filter((key) => /^[xy]axis\d*$/.test(key))) {
      coloured[name] = { ...layout[name], gridcolor: "rgba(128, 128, 128, 0.25)", zerolinecolor: "rgba(128, 128, 128, 0.5)" };
    }
    return coloured;
  }

  function draw() {
    for (const { place, data, layout } of figures) {
      Plotly.react(place, data, inColours(layout), { responsive: true, displaylogo: false });
    }
  }

  draw();
  new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
})();
