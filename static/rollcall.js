// What JavaScript adds to pages that work without it.
"use strict";

document.documentElement.classList.add("js-on");

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    const said = button.parentElement.querySelector(".copied");
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      said.textContent = "Copied";
    } catch {
      // Only HTTPS and this machine have a clipboard; the text is selected.
      said.textContent = "Selected: press Ctrl+C";
    }
  });
}
