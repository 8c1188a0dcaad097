// Confusions: a matrix of the chosen condition, in percent of the true technique and in clips over all seeds.
chooser("matrix-of", data.confusions.map((c) => c.label), (k) => {
  const { label, techniques, counts } = data.confusions[k];
  const head = make("tr", {}, make("th", { scope: "col" }, "True \\ named"), ...techniques.map((t) => make("th", { scope: "col" }, spoken(t))));
  const lines = counts.map((row, r) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count) => {
      const cell = make("td", { className: "heat" }, total && count ? `${percent(count / total)} % (${count})` : "");
      cell.style.setProperty("--share", total ? count / total : 0);
      return cell;
    });
    return make("tr", {}, make("th", { scope: "row" }, spoken(techniques[r])), ...cells);
  });
  const caption = make("caption", {}, `${label}: percent of the true technique's clips, and clips over all seeds`);
  document.getElementById("matrix").replaceChildren(make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...lines)));
});
