// Charts can be read without this: each place has a tooltip. With it, the values appear at once,
// in the line under the chart.
for (const chart of document.querySelectorAll(".chart")) {
  const read = chart.querySelector(".read");
  const slots = chart.querySelector(".slots");
  if (!read || !slots) continue;
  for (const slot of slots.children) {
    const title = slot.querySelector("title");
    const words = title.textContent;
    title.remove();
    slot.addEventListener("pointerenter", () => (read.textContent = words));
  }
  slots.addEventListener("pointerleave", () => (read.textContent = read.dataset.rest));
}
