"use strict";
const body = document.querySelector("tbody");
const rows = Array.from(body.rows);
const headings = Array.from(document.querySelectorAll("th"));
const read = (row, k) => row.cells[k].dataset.v ?? row.cells[k].textContent;
const compare = (a, b) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  const x = Number(a), y = Number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
};
headings.forEach((heading, k) => {
  if (heading.className === "plain") return;
  heading.addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = rows.map((row) => [read(row, k), row]);
    keyed.sort(([a], [b]) => (a === "" || b === "" ? compare(a, b) : down ? compare(b, a) : compare(a, b)));
    body.append(...keyed.map(([, row]) => row));
  });
});
document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  rows.forEach((row) => { row.hidden = !row.cells[1].textContent.toLowerCase().includes(wanted); });
});
