// What JavaScript adds to pages that work without it.
"use strict";

document.documentElement.classList.add("js-on");

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    const said = button.parentElement.querySelector(".copied");
    // A field, or a block of code.
    if (field.select) field.select();
    else getSelection().selectAllChildren(field);
    try {
      await navigator.clipboard.writeText(field.value ?? field.textContent);
      said.textContent = "Copied";
    } catch {
      // Only HTTPS and this machine have a clipboard; the text is selected.
      said.textContent = "Selected: press Ctrl+C";
    }
  });
}

// A part of the page that changes by itself until it is complete: data-live says what it shows, "" that nothing is left.
for (const live of document.querySelectorAll("[data-live]")) {
  let looks = 600;
  const look = async () => {
    if (live.dataset.live === "" || looks <= 0) {
      return;
    }
    if (!document.hidden) {
      looks -= 1;
      try {
        const page = await (await fetch(location.pathname)).text();
        const now = new DOMParser().parseFromString(page, "text/html").getElementById(live.id);
        if (!now) {
          return; // Signed out, or gone.
        }
        if (now.dataset.live !== live.dataset.live) {
          live.replaceChildren(...now.childNodes);
          live.dataset.live = now.dataset.live;
        }
      } catch {
        // The server restarts, or the network does: look again.
      }
    }
    setTimeout(look, 3000);
  };
  setTimeout(look, 3000);
}
