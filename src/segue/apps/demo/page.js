// A phrase and its masks carry the same data-phrase. Pointing at one, or reaching it by Tab, shows the pair
// alone; a click, Enter or Space keeps it so, Escape lets go.
(() => {
  "use strict";
  let pointed = null, kept = null;
  const pairs = () => document.querySelectorAll("[data-phrase]");
  const pairOf = node => node instanceof Element ? node.closest("[data-phrase]") : null;
  const show = () => {
    const all = [...pairs()];
    const there = key => key !== null && all.some(item => item.dataset.phrase === key);
    if (!there(kept)) kept = null;
    const key = there(pointed) ? pointed : kept;
    document.body.classList.toggle("seg-choosing", key !== null);
    for (const item of all) {
      const lit = item.dataset.phrase === key;
      item.classList.toggle("seg-lit", lit);
      item.closest(".seg-layer")?.classList.toggle("seg-lit", lit);
      if (item.hasAttribute("aria-pressed")) item.setAttribute("aria-pressed", String(item.dataset.phrase === kept));
    }
  };
  const point = node => { pointed = pairOf(node)?.dataset.phrase ?? null; show(); };
  const keep = pair => {
    kept = kept === pair.dataset.phrase ? null : pair.dataset.phrase;
    show();
    // On a telephone the picture may be above the screen.
    if (kept !== null && pair.classList.contains("seg-phrase"))
      document.querySelector(`.seg-layer.seg-lit`)?.closest("figure").scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  document.addEventListener("pointerover", event => { if (event.pointerType !== "touch") point(event.target); });
  document.addEventListener("focusin", event => { if (event.target.matches?.(":focus-visible")) point(event.target); });
  document.addEventListener("focusout", () => point(null));
  document.addEventListener("click", event => { const pair = pairOf(event.target); if (pair) keep(pair); });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") { pointed = kept = null; show(); return; }
    const pair = pairOf(event.target);
    if (pair && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); keep(pair); }
  });
  // Marking: while its panel is open, a click in a picture is a point and a drag a box. What is drawn goes, in
  // pixels of the picture itself, to a hidden field that the server reads.
  let drawing = null, drawings = 0;
  const isMarking = () => document.querySelector("#seg-marking")?.offsetParent != null;
  const within = (stack, event) => {
    const box = stack.getBoundingClientRect(), part = (v, low, side) => Math.min(Math.max((v - low) / side, 0), 1);
    return [part(event.clientX, box.left, box.width), part(event.clientY, box.top, box.height)];
  };
  const corners = () => {
    const [[a, b], [c, d]] = [drawing.from, drawing.to];
    return [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];
  };
  const isPoint = () => {
    const box = drawing.stack.getBoundingClientRect(), [left, top, right, bottom] = corners();
    return (right - left) * box.width < 5 || (bottom - top) * box.height < 5;
  };
  const forget = () => { drawing?.shown.remove(); drawing = null; };
  const send = () => {
    const { width, height, image } = drawing.stack.closest("figure").dataset;
    const [left, top, right, bottom] = corners();
    // A point lies on a pixel, the last of which ends at the picture's edge.
    const at = isPoint()
      ? [Math.min(drawing.to[0] * width, width - 1), Math.min(drawing.to[1] * height, height - 1)]
      : [left * width, top * height, right * width, bottom * height];
    const field = document.querySelector("#seg-drawn textarea, #seg-drawn input");
    const value = JSON.stringify({ image: Number(image), at: at.map(v => Math.round(v * 10) / 10), number: ++drawings });
    Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  document.addEventListener("pointerdown", event => {
    const stack = event.target instanceof Element ? event.target.closest(".seg-stack") : null;
    if (!stack || event.button !== 0 || !isMarking() || event.target.closest(".seg-unmark")) return;
    event.preventDefault();
    forget();
    const shown = document.createElement("div");
    shown.className = "seg-marked";
    stack.append(shown);
    drawing = { stack, shown, from: within(stack, event), to: within(stack, event) };
  });
  document.addEventListener("pointermove", event => {
    if (!drawing) return;
    drawing.to = within(drawing.stack, event);
    const [left, top, right, bottom] = corners().map(v => 100 * v);
    drawing.shown.style.cssText = `left: ${left}%; top: ${top}%; width: ${right - left}%; height: ${bottom - top}%`;
  });
  document.addEventListener("pointerup", () => { if (drawing) { send(); forget(); } });
  document.addEventListener("pointercancel", forget);
  document.addEventListener("keydown", event => { if (event.key === "Escape") forget(); });
  document.addEventListener("click", event => {
    if (event.target instanceof Element && event.target.closest(".seg-unmark")) document.querySelector("#seg-unmark").click();
  });
  // Answers grow: what is drawn anew gets the state that the old had.
  let due = false;
  new MutationObserver(() => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      document.body.classList.toggle("seg-is-marking", isMarking());
      show();
    });
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
