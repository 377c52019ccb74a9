// Tables of class "sortable": their headings become buttons that sort the rows of the first body.
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const body = table.tBodies[0];
  const text = (row, place) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
  const number = (row, place) => Number(text(row, place).replaceAll(",", ""));
  const known = (row, place) => !["", "–"].includes(text(row, place));
  const sort = (place) => {
    const rows = [...body.rows].filter((row) => known(row, place));
    const missing = [...body.rows].filter((row) => !known(row, place));
    const numbers = rows.every((row) => isFinite(number(row, place)));
    rows.sort(
      numbers
        ? (a, b) => number(a, place) - number(b, place)
        : (a, b) => text(a, place).localeCompare(text(b, place), "en", { numeric: true }),
    );
    // The first click shows the largest figure, or the first word, at the top.
    const before = heads[place].getAttribute("aria-sort");
    const down = before ? before === "ascending" : numbers;
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[place].setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...(down ? rows.reverse() : rows), ...missing);
  };
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(place));
  });
  const hint = document.createElement("span");
  hint.className = "hidden";
  hint.textContent = " (headings are buttons that sort)";
  table.caption.append(hint);
});

// Paper has no way to open what is folded.
const folded = [];
addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("details:not([open])"));
  folded.forEach((one) => (one.open = true));
});
addEventListener("afterprint", () => folded.splice(0).forEach((one) => (one.open = false)));
