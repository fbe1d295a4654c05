
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button")
    button.append(...head.childNodes)
    head.append(button)
    button.onclick = () => {
      const falls = head.getAttribute("aria-sort") === "ascending"
      table.tHead.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"))
      head.setAttribute("aria-sort", falls ? "descending" : "ascending")
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent
      const order = (one, other) => key(one).localeCompare(key(other), undefined, { numeric: true })
      const number = row => parseFloat(key(row))
      const rows = [...table.tBodies[0].rows]
      const numeric = rows.some(row => row.cells[column].dataset.value !== undefined)
      const less = numeric ? (one, other) => (number(one) || 0) - (number(other) || 0) : order
      rows.sort((one, other) => (falls ? -1 : 1) * less(one, other))
      table.tBodies[0].append(...rows)
    }
  })
}
