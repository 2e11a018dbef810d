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
  // Answers grow: what is drawn anew gets the state that the old had.
  let due = false;
  new MutationObserver(() => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; show(); });
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
