"use strict";
// Buttons that copy a stream's addresses. Without https a browser gives a page no clipboard: then the text is shown,
// selected, and copied the old way where that works.

const COPIED = {publish: "publish URL", watch: "watch URL", player: "player snippet"};

async function copyButtons(row, base) {
  const addresses = await ask(`${base}/addresses`);
  showCopyButtons(row, Object.entries(COPIED).map(([name, label]) => [label, addresses[name]]));
}

// `texts`: pairs of what it is called and what is copied.
function showCopyButtons(row, texts) {
  const field = element("input", {readOnly: true, hidden: true, className: "copied"});
  const said = element("span", {className: "dim"});
  said.setAttribute("role", "status");
  const buttons = texts.map(([label, text]) => {
    const button = element("button", {type: "button", className: "quiet"}, `Copy ${label}`);
    button.addEventListener("click", async () => {
      const done = await copy(text, field);
      field.setAttribute("aria-label", label);
      const key = text.includes("KEY") ? "; a key goes where KEY stands" : "";
      said.textContent = (done ? `The ${label} is copied` : "Copy what is selected, with Ctrl+C") + key;
    });
    return button;
  });
  row.replaceChildren(...buttons, field, said);
}

async function copy(text, field) {
  field.hidden = true;
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    field.value = text;
    field.hidden = false;
    field.select();
    return document.execCommand("copy");
  }
}
