// What pages cannot do without a script; all of them work without it.
(function () {
  "use strict";
  var stale = function (yes) {
    var note = document.getElementById("stale");
    if (note && note.hidden === yes) note.hidden = !yes;
  };
  // A live part that could not be fetched stays as it was: say that it is old.
  document.addEventListener("htmx:responseError", function (e) { if (e.detail.xhr.status !== 401) stale(true); });
  document.addEventListener("htmx:sendError", function () { stale(true); });
  document.addEventListener("htmx:timeout", function () { stale(true); });
  document.addEventListener("htmx:afterOnLoad", function (e) { if (e.detail.xhr.status < 400) stale(false); });
  // What somebody opened, or has the focus in, is not taken from under their hands by a fresh copy.
  document.addEventListener("htmx:beforeRequest", function (e) {
    var part = e.target;
    if (!part.id || part.id.indexOf("live-") !== 0) return;
    if (document.hidden || part.querySelector("details[open]") || (part.contains(document.activeElement) && document.activeElement !== part)) e.preventDefault();
  });
  // A filter that is chosen counts at once; a text after Enter, or htmx where the page says so.
  document.addEventListener("change", function (e) {
    var form = e.target.form;
    if (form && form.hasAttribute("data-instant") && e.target.tagName === "SELECT") form.requestSubmit();
  });
  // A form is sent once, also when somebody clicks twice.
  document.addEventListener("submit", function (e) {
    var form = e.target;
    if (form.method !== "post") return;
    if (form.hasAttribute("data-sent")) { e.preventDefault(); return; }
    form.setAttribute("data-sent", "");
    setTimeout(function () { form.removeAttribute("data-sent"); }, 3000);
  });
  // Copies what a button names.
  document.addEventListener("click", function (e) {
    var button = e.target.closest ? e.target.closest("[data-copy]") : null;
    if (!button || !navigator.clipboard) return;
    var from = document.getElementById(button.getAttribute("data-copy"));
    if (!from) return;
    navigator.clipboard.writeText(from.textContent.trim()).then(function () { button.textContent = "Copied"; });
  });
  // Escape closes what was opened to be confirmed, and the menu.
  document.addEventListener("keydown", function (e) {
    if (e.key !== "Escape") return;
    var open = e.target.closest ? e.target.closest("details.confirm[open], details.menu[open]") : null;
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
}());
